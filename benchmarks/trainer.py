"""Times the trainer against a bare torch loop, in CPU seconds of one thread, in one process.

python benchmarks/trainer.py [-d digits awa1@bow512] [-m ale devise spaen] [--epochs 5] [--repeats 5] [--json]

The bare loop permutes the images, gathers batches, and takes steps of torch's fused Adam on the method's losses; it
checks, records and saves nothing. Both are run in turns, and the best of the repeats counts.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

import zslbench
from zslbench import Batch, Embedder, TrainView
from zslbench.runs.fit import fit_new
from zslbench.runs.problem import Problem
from zslbench.runs.resolve import method_class
from zslbench.runs.scaling import own_scaling
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit

CPU = torch.device("cpu")


def batches(view: TrainView, size: int) -> Iterator[Batch]:
    """Yields batches without an end."""
    while True:
        for rows in torch.randperm(len(view.x)).split(size):
            yield Batch(view.x[rows], view.y[rows], view.classes, torch.default_generator)


def bare(embedder: Embedder[Any], view: TrainView) -> None:
    """Trains as a script would that knows nothing but torch and the method's losses."""
    embedder.build(view.shape)
    embedder.solve(view)
    embedder.train()
    params = embedder.params
    for stage in embedder.stages():
        players = []
        for objective in stage.objectives:
            rate = params.lr if objective.lr is None else objective.lr
            optimizer = torch.optim.Adam(objective.parameters, rate, (params.beta1, params.beta2), fused=True)
            players.append((objective, list(objective.parameters), optimizer, batches(view, params.batch_size)))
        for _ in range(stage.epochs * math.ceil(len(view.x) / params.batch_size)):
            for objective, variables, optimizer, drawn in players:
                for _ in range(objective.steps):
                    loss = objective.loss(next(drawn))
                    total = sum(loss.values()) if isinstance(loss, dict) else loss
                    for variable, gradient in zip(variables, torch.autograd.grad(total, variables), strict=True):
                        variable.grad = gradient
                    optimizer.step()


def cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(name: str, dataset: str, epochs: int, repeats: int) -> dict[str, Any]:
    """Returns the CPU time of an epoch, both ways, and their ratio."""
    method = method_class(name)
    kind = method.params_type
    problem = Problem.of(zslbench.load(dataset), "inductive", own_scaling(method), (0,))
    view = problem.train

    def make() -> Embedder[Any]:
        return method(kind(epochs=epochs))

    ours, theirs = [], []
    with seeded(0, CPU):
        for _ in range(repeats + 1):  # the first is for what is imported and tried once
            ours.append(cpu_seconds(lambda: fit_new(make, view, 0, Fit(CPU))))
            theirs.append(cpu_seconds(lambda: bare(make(), view)))
    own, other = (1000 * min(times[1:]) / epochs for times in (ours, theirs))
    figures = {"ms_an_epoch": round(own, 1), "bare_ms_an_epoch": round(other, 1), "ratio": round(own / other, 2)}
    return {"method": name, "dataset": dataset, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--dataset", nargs="+", default=["digits"])
    parser.add_argument("-m", "--methods", nargs="+", default=["ale", "devise", "sje", "latem", "cmt", "spaen"])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for dataset in given.dataset:
        for name in given.methods:
            rows.append(row := measure(name, dataset, given.epochs, given.repeats))
            print(
                f"{name:8} {dataset:12} {row['ms_an_epoch']:8.1f} ms an epoch, {row['bare_ms_an_epoch']:8.1f} bare, "
                f"ratio {row['ratio']:.2f}",
                flush=True,
            )
    if given.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
