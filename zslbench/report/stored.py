"""Results of what stores hold: nothing is run, and neither data sets nor methods need be there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zslbench.errors import UsageError, near_misses
from zslbench.files import expanded
from zslbench.records.store import Store
from zslbench.report.results import Results
from zslbench.runs.row import Row
from zslbench.runs.stored import Stored

Names = Sequence[str] | str | None


def stored(*stores: str | Path, method: Names = None, dataset: Names = None, metrics: Names = None) -> Results:
    """Returns the results of all runs on test images that stores hold, and their searches; nothing is run.

    Runs that differ in their seeds alone are one row. Of a run that two stores have, the first one's counts.

    Args:
        stores: folders of run records, at least one.
        method: only these, by name or title; by default all.
        dataset: only these, by name or folder; by default all.
        metrics: which the tables show; by default those that say so themselves.

    Raises:
        UsageError: there is no such store, method, data set or metric, or the stores hold no run on test images.
        DataError: a file of a run is damaged.
    """
    if not stores:
        raise UsageError("no store is named; give the folder of some run records")
    found = Stored([Store(expanded(Path(one)), create=False) for one in stores])
    rows = found.rows()
    if not rows:
        raise UsageError(f"--store {stores[0]}: it holds no run on test images; `zslbench show` lists what there is")
    kept = _chosen("method", method, rows, lambda row: (row.records[0].spec.method, row.title))
    kept = _chosen("dataset", dataset, kept, lambda row: (row.dataset_title, row.dataset, Path(row.dataset).name))
    results = Results(kept, found.homes, metrics)
    shown = {(row.records[0].spec.method, row.dataset_title) for row in kept}
    every = not (method or dataset)
    results.searches = [one for one in found.searches if every or (one.method, one.dataset) in shown]
    return results


def _chosen(option: str, wanted: Names, rows: list[Row], names: Callable[[Row], Iterable[str]]) -> list[Row]:
    """Returns the rows that go by one of the wanted names, in any case; all where none is given."""
    if not wanted:
        return rows
    texts = [wanted] if isinstance(wanted, str) else wanted
    known = {name.casefold(): name for row in rows for name in names(row)}
    for text in texts:
        if text.casefold() not in known:
            raise UsageError(f"--{option} {text}: no stored run is of it{near_misses(text, known.values())}")
    chosen = {text.casefold() for text in texts}
    return [row for row in rows if chosen & {name.casefold() for name in names(row)}]
