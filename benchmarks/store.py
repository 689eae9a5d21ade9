"""Times lists of a large store: `zslbench runs` with and without its index, with a filter, and after one new run.

python benchmarks/store.py [--runs 10000]

The store has copies of one run under other seeds, each saved as a run is, but for waiting until it is on the disk.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

from zslbench.bench import Bench
from zslbench.records.listing import INDEX
from zslbench.records.spec import RunSpec
from zslbench.records.store import Store


def fill(root: Path, count: int) -> None:
    """Saves copies of a run with other seeds."""
    [result] = Bench(store=root, on_event=None).run("sae", dataset="digits")
    store, record, decisions = Store(root), result.record, Store(root).decisions(result.record)
    with patch("os.fsync"):
        for seed in range(1, count):
            spec = RunSpec.model_validate({**record.spec.model_dump(), "seed": seed})
            store.put(record.model_copy(update={"id": spec.id, "spec": spec, "model": ""}), decisions)


def listed(root: Path, *options: str) -> tuple[float, float, int]:
    """Lists the store; returns seconds of the clock and of the processor, and how many lines were printed."""
    command = [sys.executable, "-m", "zslbench", "runs", "--store", str(root), *options]
    began, before = time.perf_counter(), os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took, after = time.perf_counter() - began, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return took, spent, len(done.stdout.splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zslbench-store-") as name:
        root = Path(name)
        began = time.perf_counter()
        fill(root, options.runs)
        print(f"{options.runs} runs saved in {time.perf_counter() - began:.1f} s")
        cases = {"without an index": (), "all": (), "filtered and sorted": ("--filter", "seed<100", "--sort", "h")}
        for title, words in cases.items():
            if title == "without an index":
                (root / INDEX).unlink(missing_ok=True)
                time.sleep(0.1)  # so that time stamps are trusted
            took, spent, lines = min(listed(root, *words) for _ in range(1 if title.startswith("without") else 3))
            print(f"{title}: {took:.2f} s, {spent:.2f} s of the processor, {lines} lines")
        Bench(store=root, on_event=None).run("eszsl", dataset="digits")
        took, spent, lines = listed(root)
        print(f"after a new run: {took:.2f} s, {spent:.2f} s of the processor, {lines} lines")
        print(f"index: {(root / INDEX).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
