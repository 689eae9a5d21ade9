"""Times a turn of SP-AEN's training on images, with cached features of the crops and with ResNet-101 run on them.

python benchmarks/images.py [--network small]      # without it: small and full, those of `CASES`

A turn is a step of every player: five of the critic, one of F and G, one of E. Both ways compute the same but for the
backbone, which runs on the crops of each batch whose features a player looks at (F and G look at pixels alone). They
take turns, in an order that alternates, on one thread, as runs on a CPU do; weights are random, which costs the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from zslbench import Batch, ClassSet, TrainView
from zslbench.api.images import Pixels, square_side
from zslbench.preparation.backbones import load_backbone
from zslbench.runs.provenance import peak_memory
from zslbench.training.batches import Batches
from zslbench.training.device import seeded
from zslbench.training.player import Player
from zslbench_methods.image_networks import Standardize
from zslbench_methods.spaen_images import SPAENImageParams, SPAENImages

CPU = torch.device("cpu")
IMAGES, CROPS, CLASSES, ATTRIBUTES, FEATURES, INPUT = 256, 2, 40, 85, 2048, 224


@dataclass(frozen=True)
class Case:
    """A network, and how often both ways are timed."""

    params: SPAENImageParams
    repeats: int


CASES = {
    "small": Case(
        SPAENImageParams(
            image_size=64,
            crops=2,
            encoder="conv",
            width=0.25,
            phi="none",
            batch_size=32,
            hidden=256,
            autoencoder_hidden=256,
        ),
        repeats=3,
    ),
    "full": Case(SPAENImageParams(crops=2, batch_size=8), repeats=3),
    "full-32": Case(SPAENImageParams(crops=2, batch_size=32), repeats=2),
}


def random_view(folder: Path, size: int) -> TrainView:
    """Noise in place of images and of the features of their crops."""
    random = np.random.default_rng(0)
    side = square_side(size)
    random.integers(0, 256, (IMAGES, 3, side, side), dtype=np.uint8).tofile(folder / "squares")
    return TrainView(
        setting="inductive",
        x=torch.nn.functional.normalize(torch.rand(IMAGES, CROPS, FEATURES), dim=-1),
        y=torch.arange(IMAGES) % CLASSES,
        classes=ClassSet(
            torch.rand(CLASSES, ATTRIBUTES), tuple(map(str, range(CLASSES))), torch.ones(CLASSES, dtype=torch.bool)
        ),
        pixels=Pixels(folder / "squares", np.arange(IMAGES), size, CROPS),
    )


def with_features(backbone: Callable[[Tensor], Tensor], batch: Batch) -> Batch:
    """Computes the features of a batch's crops, scaled to what ResNet-101 takes."""
    assert batch.pixels is not None
    with torch.no_grad():
        crops = torch.nn.functional.interpolate(batch.pixels, size=(INPUT, INPUT), mode="bilinear")
        return replace(batch, x=torch.nn.functional.normalize(backbone(Standardize()(crops)), dim=-1))


def turn(players: list[Player], batches: Iterator[Batch], prepare: Callable[[Batch], Batch]) -> float:
    """Takes a step of every player; returns the seconds."""
    start = time.perf_counter()
    for player in players:
        for _ in range(player.objective.steps):
            batch = next(batches)
            player.step(batch if player.objective.name == "autoencoder" else prepare(batch), "32")
    return time.perf_counter() - start


def measure(case: Case) -> tuple[list[float], list[float], int]:
    """Returns the seconds of each turn with cached features, those with the backbone, and the number of parameters."""
    backbone = load_backbone("resnet101", pretrained=False).backbone
    with TemporaryDirectory() as folder, seeded(0, CPU):
        view = random_view(Path(folder), case.params.image_size)
        model = SPAENImages(case.params)
        model.pretrained = False
        model.build(view.shape)
        model.train()
        (stage,) = model.stages()
        players = [Player(objective, case.params, stage.epochs) for objective in stage.objectives]
        generator = torch.Generator().manual_seed(0)
        batches = Batches(view, generator, generator).draw(case.params.batch_size, 10**9)
        ways = [partial(turn, players, batches, lambda batch: batch)]
        ways.append(partial(turn, players, batches, partial(with_features, backbone)))
        seconds: tuple[list[float], list[float]] = ([], [])
        for way in ways:
            way()  # the optimisers' memory is allocated in the first step
        for repeat in range(case.repeats):
            for i in (0, 1) if repeat % 2 == 0 else (1, 0):
                seconds[i].append(ways[i]())
    return *seconds, sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=CASES, action="append")
    options = parser.parse_args()
    print("network  images   batch  parameters  cached s  ResNet-101 s  ratio (least to most)  peak MB")
    for name in options.network or CASES:
        case = CASES[name]
        cached, computed, parameters = measure(case)
        ratios = np.array(computed) / np.array(cached)
        size = f"{case.params.image_size}x{case.params.image_size}"
        spread = f"{np.median(ratios):.1f} ({ratios.min():.1f} to {ratios.max():.1f})"
        print(
            f"{name:8} {size:8} {case.params.batch_size:5}  {parameters / 1e6:8.1f} M  {np.median(cached):8.2f}"
            f"  {np.median(computed):12.2f}  {spread:>21}  {peak_memory(CPU):7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
