"""Times a whole grid of ESZSL and SAE against one fit, in CPU seconds of one thread.

python benchmarks/tuning.py [-d awa1@bow512]      # without data: random features of the given sizes
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from functools import partial

import torch

from zslbench import ClassSet, TrainView
from zslbench.data.folders import data_root
from zslbench.runs.entrant import Entrant
from zslbench.runs.problem import Problem
from zslbench.runs.request import Request
from zslbench.runs.resolve import resolve
from zslbench.training.device import seeded
from zslbench.tuning.sweep import measure

CPU = torch.device("cpu")
POINTS = {
    "eszsl": [{"gamma": 10.0**g, "lam": 10.0**k} for g, k in itertools.product(range(-3, 4), repeat=2)],
    "sae": [{"lam": 10 ** (i / 12 - 2)} for i in range(49)],
}


def cpu_seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """Returns the least of several repeats."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def solve(entrant: Entrant, view: TrainView, points: list[dict[str, float]]) -> None:
    method = entrant.method
    with seeded(0, CPU):
        factors = None
        for point in points:
            embedder = method(method.params_type(**point))
            embedder.build(view.shape)
            factors = embedder.factorize(view) if factors is None else factors
            embedder.assemble(factors)


def random_view(images: int, features: int, attributes: int, classes: int) -> TrainView:
    random = torch.Generator().manual_seed(0)
    semantics = torch.nn.functional.normalize(torch.rand(classes, attributes, generator=random), dim=1)
    names = tuple(map(str, range(classes)))
    y = torch.randint(classes, (images,), generator=random)
    x = torch.randn(images, features, generator=random)
    return TrainView("inductive", x, y, ClassSet(semantics, names, torch.ones(classes, dtype=torch.bool)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--dataset", default="digits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    request = Request(root=data_root().absolute())
    for name, points in POINTS.items():
        [entrant] = resolve([name], [options.dataset], request)
        view = Problem.of(entrant.data, entrant.card.setting, entrant.scaling, (0,)).train
        sizes = {f"{options.dataset}, {view.x.shape[0]} x {view.x.shape[1]}": view}
        sizes["random, 19832 x 2048, as AWA1 with ResNet-101"] = random_view(19832, 2048, 85, 40)
        for size, train in sizes.items():
            one, all_points = (cpu_seconds(partial(solve, entrant, train, p)) for p in (points[:1], points))
            print(f"{name} on {size}: one solution {one:.2f} s, {len(points)} solutions {all_points:.2f} s")
        scored = partial(measure, entrant, fold=(0,), metric="ausuc", device=CPU)
        one, all_points = (cpu_seconds(partial(scored, points=p)) for p in (points[:1], points))
        print(f"{name} on {options.dataset}, scored on validation images: {one:.2f} s, {all_points:.2f} s")


if __name__ == "__main__":
    main()
