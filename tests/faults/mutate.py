"""Damages every kind of stored and read file, and judges what the product makes of it.

    python -m tests.faults.mutate KIND --count 1000
    python -m tests.faults.mutate --all --count 300 --seed 1 --jobs 2

A damaged file may give the same result, be reported and made again, or end in one error of one line. Exit status 1 if
one ever gives another number, another exception, a signal, more than 1 GB, or no end within a minute; the command that
repeats such a case is printed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pickle
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # a fork of a process with threads could wait for ever
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # its own reserves a gigabyte, which would count
sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.imports import IMPORTS
from faults.kinds import compared, write_toy
from faults.sources import SOURCES
from faults.stored import METHODS, STORED
from faults.trial import BAD, GOOD, Case, Trials

KINDS = {kind.name: kind for kind in [*STORED, *SOURCES, *IMPORTS]}
SHOWN = 5
"""So many bad cases of a kind and verdict are printed."""


@cache
def warm_up() -> None:
    """Imports what runs import, once, so that not every child has to."""
    below = Path(tempfile.mkdtemp(prefix="zslbench-faults-"))
    try:
        write_toy(below)
        compared(below, METHODS)
        for name in (
            "torchvision",
            "timm",
            "zslbench.cli",
            "zslbench.preparation.build",
            "zslbench.preparation.importwrite",
        ):
            importlib.import_module(name)
    finally:
        shutil.rmtree(below)


def mutations(name: str, indices: Sequence[int], seed: int = 0, folder: Path | None = None) -> list[Case]:
    """Makes mutations of one kind, each by its index, and returns what came of them; call `warm_up` before."""
    below = Path(tempfile.mkdtemp(prefix=f"zslbench-faults-{name}-", dir=folder))
    try:
        trials = Trials(KINDS[name], below, seed)
        return [trials.run(index) for index in indices]
    finally:
        shutil.rmtree(below, ignore_errors=True)


def repeat(case: Case, seed: int) -> str:
    """Returns the command that repeats a case."""
    return f"python -m tests.faults.mutate {case.kind} --seed {seed} --only {case.index}"


def _parallel(name: str, indices: list[int], seed: int, jobs: int) -> list[Case]:
    """Divides the mutations of a kind among processes."""
    parts, children = [indices[i::jobs] for i in range(jobs)], []
    for part in filter(None, parts):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.close(reading)
                with os.fdopen(writing, "wb") as pipe:
                    pickle.dump(mutations(name, part, seed), pipe)
                status = 0
            except Exception:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(writing)
        children.append((child, reading))
    found: list[Case] = []
    for child, reading in children:
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
        assert os.waitpid(child, 0)[1] == 0, f"{name}: a worker failed"
        found += pickle.loads(content)  # noqa: S301 (from this process's own child)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--all", action="store_true", help="every kind")
    parser.add_argument("--count", type=int, default=100, help="mutations of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the one mutation of this number, with what came of it")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    options = parser.parse_args()
    names = list(KINDS) if options.all else options.kinds
    if not names or (strange := [name for name in names if name not in KINDS]):
        parser.error(f"unknown kind {strange[0]!r}; there are {', '.join(KINDS)}" if names else "name kinds, or --all")
    print(f"{'kind':24}" + "".join(f"{verdict:>18}" for verdict in (*GOOD, *BAD)) + f"{'seconds':>9}", flush=True)
    total: Counter[str] = Counter()
    warm_up()
    for name in names:
        started = time.monotonic()
        indices = [options.only] if options.only is not None else list(range(options.count))
        cases = _parallel(name, indices, options.seed, options.jobs)
        counts = Counter(case.verdict for case in cases)
        total += counts
        _print_counts(name, counts, time.monotonic() - started)
        _print_bad(cases, options.seed, everything=options.only is not None)
    if len(names) > 1:
        _print_counts(f"all, {sum(total.values())}", total)
    return int(any(total[verdict] for verdict in BAD))


def _print_counts(name: str, counts: Counter[str], seconds: float | None = None) -> None:
    took = "" if seconds is None else f"{seconds:9.0f}"
    print(f"{name:24}" + "".join(f"{counts[verdict] or '.':>18}" for verdict in (*GOOD, *BAD)) + took, flush=True)


def _print_bad(cases: list[Case], seed: int, *, everything: bool) -> None:
    shown: Counter[str] = Counter()
    for case in cases:
        if everything or case.verdict in BAD:
            shown[case.verdict] += 1
            if shown[case.verdict] <= SHOWN:
                detail = ascii(" ".join(case.detail.split()))[1:300]
                print(f"  {case.verdict}: {case.what}: {detail}\n    {repeat(case, seed)}")


if __name__ == "__main__":
    sys.exit(main())
