"""Times what is checked whenever it is read: cached features, checkpoints, and the records of a store.

python benchmarks/checking.py [--images 12000] [--records 3000]

All files are made anew in a temporary folder. Run it before and after a change to see what a check costs.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import scipy.io
import torch

from zslbench import Bench, load
from zslbench.records.store import Store
from zslbench.training.checkpoint import load_checkpoint, save_checkpoint

REPEATS = 5
FEATURES, CLASSES, ATTRIBUTES = 2048, 50, 85
SETTLED = 2.1
"""Seconds after which the time stamps of a file are trusted on any file system."""


def timed(work: Callable[[], object], repeats: int = REPEATS) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return median(seconds)


def write_features(folder: Path, images: int) -> float:
    """Writes a data set of noise in the xlsa17 layout; returns the size of its features as float32, in MB."""
    random = np.random.default_rng(0)
    labels = np.arange(images) % CLASSES
    names = np.empty((CLASSES, 1), dtype=object)
    names[:, 0] = [f"class {c}" for c in range(CLASSES)]
    unseen, tested = labels >= CLASSES - 10, np.arange(images) // CLASSES % 5 == 4
    parts = {"trainval_loc": ~unseen & ~tested, "test_seen_loc": ~unseen & tested, "test_unseen_loc": unseen}
    split = {name: np.flatnonzero(rows)[:, None] + 1.0 for name, rows in parts.items()}
    att = random.random((ATTRIBUTES, CLASSES)) + 0.05
    folder.mkdir()
    scipy.io.savemat(folder / "att_splits.mat", {"att": att, "original_att": att, "allclasses_names": names, **split})
    features = random.random((FEATURES, images), dtype=np.float32)
    scipy.io.savemat(folder / "res101.mat", {"features": features, "labels": labels[:, None] + 1.0})
    return features.nbytes / 1e6


def fill(folder: Path, count: int) -> None:
    """Stores as many runs, all but their seeds those of one that was trained."""
    with Bench(store=folder, device="cpu", on_event=None) as bench:
        [result] = bench.run("eszsl", dataset="digits")
        store, record, arrays = bench.store, result.record, result.arrays()
    for seed in range(1, count):
        spec = type(record.spec).model_validate({**record.spec.model_dump(), "seed": seed})
        store.save(record.model_copy(update={"id": spec.id, "spec": spec}), arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12000, help=f"of {FEATURES} features each")
    parser.add_argument("--records", type=int, default=3000)
    options = parser.parse_args()
    lines: list[tuple[str, float]] = []
    with TemporaryDirectory() as name:
        below = Path(name)
        os.environ["ZSLBENCH_CACHE"] = str(below / "cache")
        size = write_features(below / "noise", options.images)
        time.sleep(SETTLED)
        lines.append((f"features, {size:.0f} MB: first load", timed(lambda: load(below / "noise"), 1)))
        time.sleep(SETTLED)
        load(below / "noise")
        lines.append((f"features, {size:.0f} MB: load from the cache", timed(lambda: load(below / "noise"))))

        state = {"weights": {str(i): torch.randn(1024, 1024) for i in range(25)}, "epoch": 3}
        path = below / "checkpoint.safetensors"
        lines.append(("checkpoint, 105 MB: save", timed(lambda: save_checkpoint(path, state))))
        lines.append(("checkpoint, 105 MB: load", timed(lambda: load_checkpoint(path))))

        store, count = below / "store", options.records
        fill(store, count)
        lines.append((f"{count} records: read all", timed(lambda: list(Store(store, create=False).records()))))
        with Bench(store=store, device="cpu", on_event=None) as bench:
            compare = lambda: bench.compare(["eszsl"], dataset="digits", seeds=count, existing="only-cached")  # noqa: E731
            lines.append((f"{count} records: compare", timed(compare)))
    for what, seconds in lines:
        print(f"{what:44} {seconds:8.3f} s")


if __name__ == "__main__":
    main()
