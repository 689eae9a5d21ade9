"""Times how long a store of many runs takes to read: `show`, which lists it, and `compare`, which finds runs by id.

python benchmarks/records.py [--count 3000] [--store FOLDER]    # without a folder: one that is removed afterwards

One run is made; its record and decisions are stored again under other seeds. Imports are timed apart, because they do
not depend on how much is stored.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from zslbench.bench import Bench
from zslbench.records.store import Store
from zslbench.report.detail import runs_table
from zslbench.report.render import print_tables

METHOD, DATASET = "devise:epochs=2", "digits"
REPEATS = 3


def fill(folder: Path, count: int) -> None:
    """Makes one run and stores it under other seeds."""
    [result] = Bench(store=folder, on_event=None).run(METHOD, dataset=DATASET)
    store, record, arrays = Store(folder), result.record, dict(result.arrays())
    for seed in range(1, count):
        spec = record.spec.model_copy(update={"seed": seed})
        spec = type(spec).model_validate(spec.model_dump())
        store.save(record.model_copy(update={"id": spec.id, "spec": spec}), arrays)


def seconds(work: Callable[[], object]) -> float:
    """Returns the shortest of some repetitions, what is printed thrown away."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            work()
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--store", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        store = given.store or Path(folder)
        began = time.perf_counter()
        if not (store / "runs").is_dir() or len(list((store / "runs").iterdir())) < given.count:
            fill(store, given.count)
            print(f"written: {time.perf_counter() - began:.2f} s")
        bench = Bench(store=store, on_event=None)
        records = [result.record for result in bench.records()]
        options = {"dataset": DATASET, "seeds": given.count, "existing": "only-cached"}
        print(f"{len(records)} records")
        print(f"records(): {seconds(bench.records):.2f} s")
        print(f"table of them: {seconds(lambda: print_tables([runs_table(records)], plain=True)):.2f} s")
        print(f"compare(): {seconds(lambda: bench.compare([METHOD], **options)):.2f} s")
        print(f"its tables: {seconds(bench.compare([METHOD], **options).show):.2f} s")


if __name__ == "__main__":
    main()
