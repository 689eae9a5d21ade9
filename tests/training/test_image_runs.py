"""Training on images: half precision, a schedule that falls on a plateau, memory that the data set does not fill."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from toy import train
from toy_images import toy_image_data

from zslbench.api.embedder import Embedder
from zslbench.api.params import Params
from zslbench.api.views import TrainView
from zslbench.training.player import Player
from zslbench_methods.reconstruction import ReconstructionParams
from zslbench_methods.reconstruction_baselines import DirectMap, SAEImage, SplitBranch
from zslbench_methods.spaen_images import SPAENImageParams, SPAENImages

MEMORY = Path(__file__).parents[2] / "benchmarks" / "memory.py"
SMALL: dict[str, Any] = {"width": 0.05, "hidden": 6, "autoencoder_hidden": 6, "batch_size": 32, "phi": "none"}
SPAEN: dict[str, Any] = {**SMALL, "encoder": "conv", "critic_steps": 1, "beta": 0.5}


class Untrained(SPAENImages):
    """With weights that are drawn."""

    def __init__(self, params: SPAENImageParams) -> None:
        super().__init__(params)
        self.pretrained = False


METHODS: dict[str, tuple[type[Embedder[Any]], type[Params], dict[str, Any]]] = {
    "spaen with alexnet": (Untrained, SPAENImageParams, {**SPAEN, "encoder": "alexnet", "phi": "alexnet"}),
    "spaen": (SPAENImages, SPAENImageParams, SPAEN),
    "spaen in two stages": (SPAENImages, SPAENImageParams, {**SPAEN, "training": "two-stage", "autoencoder_epochs": 2}),
    "directmap": (DirectMap, ReconstructionParams, SMALL),
    "sae-image": (SAEImage, ReconstructionParams, SMALL),
    "splitbranch": (SplitBranch, ReconstructionParams, SMALL),
}


def view(folder: Path, size: int) -> TrainView:
    return toy_image_data(folder, size=size).train_view("inductive")


@pytest.mark.parametrize("name", METHODS)
def test_in_half_precision_losses_stay_finite_and_near_those_of_full_precision(name: str, tmp_path: Path) -> None:
    method, kind, values = METHODS[name]
    size, epochs = (64, 1) if "alexnet" in name else (16, 3)
    params = kind(**values, image_size=size, epochs=epochs, lr=1e-4, autoencoder_lr=1e-4)
    images = view(tmp_path, size)
    half, full = (train(method, params, images, precision=precision)[1].losses for precision in ("bf16", "32"))
    assert half != full
    assert all(math.isfinite(value) for losses in half for value in losses.values())
    for mine, other in zip(half, full, strict=True):
        assert mine.keys() == other.keys()
        for term in mine.keys() - {"critic/distance"}:  # a small difference of large numbers
            assert mine[term] == pytest.approx(other[term], rel=0.1, abs=0.02), term


@pytest.mark.parametrize("name", ["spaen", "sae-image"])
def test_on_a_plateau_the_rate_of_every_player_falls_to_a_tenth(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images are noise, of which nothing can be learned but its mean.

    All players follow the reconstruction error, whatever the critic's and E's losses do.
    """
    method, kind, values = METHODS[name]
    starts, borne_at_most = {"embed": 1e-2, "generator": 2e-2, "autoencoder": 2e-2, "critic": 3e-2}, 2
    rates = {"lr": 1e-2, "autoencoder_lr": 2e-2, **({"critic_lr": 3e-2} if name == "spaen" else {})}
    params = kind(**{**values, **rates}, image_size=16, epochs=40, plateau_patience=borne_at_most)
    assert getattr(params, "schedule") == "plateau"  # noqa: B009 (by default)
    seen: dict[str, list[float]] = {}
    end_epoch = Player.end_epoch

    def noted(player: Player, progress: float | None) -> None:
        end_epoch(player, progress)
        seen.setdefault(player.objective.name, []).append(player.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(Player, "end_epoch", noted)
    history = train(method, params, view(tmp_path, 16))[1].losses
    followed = "autoencoder/pixels" if name == "spaen" else "generator/pixels"
    assert set(seen) == ({"critic", "autoencoder", "embed"} if name == "spaen" else {"generator", "embed"})
    for player, rates_seen in seen.items():
        lowest, borne, rate = math.inf, 0, starts[player]
        for loss, found in zip((losses[followed] for losses in history), rates_seen, strict=True):
            borne = 0 if loss < lowest else borne + 1
            lowest = min(lowest, loss)
            if borne > borne_at_most:
                rate, borne = (rate / 10 if rate * 0.9 > 1e-8 else rate), 0  # torch lowers it no further
            assert found == pytest.approx(rate, rel=1e-6)
        assert rate < starts[player] / 9


def peak(task: str, images: int, size: int) -> tuple[float, float]:
    """Returns the memory of a fresh process after its imports, and at the most, in MB.

    Large blocks go back to the system when they are freed: else glibc keeps them in a heap whose gaps grow slowly.
    """
    command = [sys.executable, str(MEMORY), task, str(images), str(size)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    before, most = map(float, ran.stdout.split())
    return before, most


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured otherwise elsewhere")


@pytest.mark.slow
@ON_LINUX
def test_ten_thousand_images_stream_through_reconstruction() -> None:
    """Kept, originals and reconstructions would be 885 MB more for 9,000 images more."""
    (_, few), (before, many) = peak("reconstruct", 1000, 64), peak("reconstruct", 10_000, 64)
    assert 100 < before < many < 2500
    assert many - few < 300


@pytest.mark.slow
@ON_LINUX
def test_training_on_eight_times_the_images_takes_no_more_memory() -> None:
    """Crops of 7,000 more images are 86 MB in bytes, and 344 in float32."""
    (_, few), (_, many) = peak("train", 1000, 64), peak("train", 8000, 64)
    assert many - few < 60
