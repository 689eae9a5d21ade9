"""Times fits that are trained as one against fits alone, in CPU seconds of one thread, in one process.

python benchmarks/stacking.py [-d digits] [-m ale devise spaen] [--members 1 8 32 128] [--epochs 5] [--json]
python benchmarks/stacking.py --fixed      # what a fit costs beside its epochs: the first in a process, and the next

Members differ in learning rate and seed. Both ways are run in turns, and the best of three counts. `--members 1` is a
fit alone in lockstep. Operations are those that torch.profiler counts, for each member and epoch.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import zslbench
from zslbench.runs.fit import fit_new
from zslbench.runs.problem import Problem
from zslbench.runs.resolve import method_class
from zslbench.runs.scaling import own_scaling
from zslbench.training.device import seeded
from zslbench.training.lockstep import in_lockstep
from zslbench.training.trainer import Fit

CPU = torch.device("cpu")
Work = Callable[[], Any]


def cpu_seconds(work: Work) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def operations(work: Work) -> int:
    with profile(activities=[ProfilerActivity.CPU]) as found:
        work()
    return sum(event.count for event in found.key_averages())


def fits(name: str, problem: Problem, count: int, epochs: int) -> list[Work]:
    """Returns so many fits of a method, each with a learning rate and a seed of its own."""
    method = method_class(name)
    rate = method.params_type().lr

    def make(which: int) -> Any:
        return method(method.params_type(epochs=epochs, lr=rate * (1 + 0.005 * which)))

    return [partial(fit_new, partial(make, which), problem.train, which, Fit(CPU)) for which in range(count)]


def together(works: list[Work], most: int | None) -> list[Any]:
    with seeded(0, CPU):
        found = in_lockstep(works, CPU, most)
    for one in found:
        if isinstance(one, Exception):
            raise one
    return found


def measure(name: str, dataset: str, members: list[int], epochs: int, repeats: int) -> list[dict[str, Any]]:
    """Returns the CPU time per member, stacked and alone, and the operations of both."""
    problem = Problem.of(zslbench.load(dataset), "inductive", own_scaling(method_class(name)), (0,))
    works = fits(name, problem, max(members), epochs)
    alone = [partial(work) for work in works[:4]]
    together(works[:4], 2)  # imports and tries what the first stack of a process must
    rows = []
    for count in members:
        own, times, single = works[:count], [], []
        for _ in range(repeats):  # in turns, so that what else the machine does falls on both
            single.append(sum(map(cpu_seconds, alone)) / len(alone))
            times.append(cpu_seconds(lambda own=own: together(own, None)) / count)
        most = max(one[1].stacked for one in together(own, None))
        counted = operations(lambda own=own: together(own, None)) / count / epochs
        rows.append(
            {
                "method": name,
                "dataset": dataset,
                "members": count,
                "stacked": most,
                "alone_ms": round(1000 * min(single), 1),
                "stacked_ms": round(1000 * min(times), 1),
                "ratio": round(min(times) / min(single), 2),
                "operations_alone": round(operations(alone[0]) / epochs),
                "operations": round(counted),
            }
        )
        print_row(rows[-1])
    return rows


def print_row(row: dict[str, Any]) -> None:
    print(
        f"{row['method']:8} {row['dataset']:12} {row['members']:4} members, {row['stacked']:3} as one: "
        f"{row['stacked_ms']:8.1f} ms each, {row['alone_ms']:8.1f} alone, ratio {row['ratio']:.2f}; "
        f"operations an epoch {row['operations']:6}, {row['operations_alone']:6} alone",
        flush=True,
    )


def fixed(dataset: str) -> None:
    """Prints what a fit of one epoch costs: the first in the process, and the best of the next ten."""
    data, method = zslbench.load(dataset), method_class("devise")

    def once() -> None:
        problem = Problem.of(data, "inductive", own_scaling(method), (0,))
        fit_new(lambda: method(method.params_type(epochs=1)), problem.train, 0, Fit(CPU))

    first = cpu_seconds(once)
    print(f"devise on {dataset}, one epoch: first {1000 * first:.1f} ms, ", end="")
    print(f"then {1000 * min(cpu_seconds(once) for _ in range(10)):.1f} ms of CPU time")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--dataset", nargs="+", default=["digits"])
    parser.add_argument("-m", "--methods", nargs="+", default=["ale", "devise", "latem", "cmt", "sse", "spaen"])
    parser.add_argument("--members", nargs="+", type=int, default=[1, 8, 32, 128])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fixed", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.fixed:
        for dataset in options.dataset:
            fixed(dataset)
        return
    rows = [
        row
        for dataset in options.dataset
        for name in options.methods
        for row in measure(name, dataset, options.members, options.epochs, options.repeats)
    ]
    if options.json:
        print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
