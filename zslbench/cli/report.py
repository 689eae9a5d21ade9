"""`zslbench report`: one page of all that stores hold."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from typer import Option

from zslbench.cli.options import DEFAULT_STORE, Metrics
from zslbench.errors import DataError, UsageError, printable


def report(
    store: Annotated[
        list[Path] | None,
        Option(help="Folder of run records; repeat it for more.", show_default="ZSLBENCH_STORE, or zslbench-runs"),
    ] = None,
    source: Annotated[
        list[Path] | None,
        Option("--from", help="Export file or folder of them, in place of --store; its runs are checked first."),
    ] = None,
    method: Annotated[
        list[str] | None, Option("--method", "-m", help="Only this one, by name or title; repeat it for more.")
    ] = None,
    dataset: Annotated[
        list[str] | None, Option("--dataset", "-d", help="Only this one, by name or folder; repeat it for more.")
    ] = None,
    metrics: Metrics = None,
    out: Annotated[Path, Option(help="The file; .md, .tex, .csv, .json and .txt have the tables alone.")] = Path(
        "report.html"
    ),
) -> None:
    """Write one page of all stored runs: tables, curves, classes, searches, training, provenance; nothing is run."""
    from zslbench.files import expanded
    from zslbench.report.render import format_of
    from zslbench.report.stored import stored

    format_of(expanded(out), "--out")
    given = {"--store": store, "--from": source, "--method": method, "--dataset": dataset, "--metrics": metrics}
    words = [word for option, values in given.items() for value in values or [] for word in (option, str(value))]
    with _stores(store, source) as (stores, refused):
        results = stored(*stores, method=method, dataset=dataset, metrics=metrics)
        if not results.rows:
            raise UsageError("no stored run is of these methods on these data sets; leave out --method or --dataset")
        path = results.save(out, command=shlex.join(["zslbench", "report", *words, "--out", str(out)]))
    runs, searches = len(results), len(results.searches)
    counts = [f"{runs} run{'s' * (runs != 1)}", f"{searches} search{'es' * (searches != 1)}"]
    print(f"wrote {path}: {', '.join(counts)}, {path.stat().st_size / 1e6:.1f} MB")
    if refused:
        raise DataError(f"{refused} of the runs above were left out, because they do not stand the checks")


@contextmanager
def _stores(stores: list[Path] | None, sources: list[Path] | None) -> Iterator[tuple[list[Path], int]]:
    """Gives the stores to report on, and how many runs of export files were refused; each of these is named."""
    if not sources:
        yield stores or [Path(os.environ.get("ZSLBENCH_STORE") or DEFAULT_STORE)], 0
        return
    from zslbench.records.exchange import collected

    if stores:
        raise UsageError("--store and --from: give one of them; `runs export` makes an export file of a store")
    files = [file for one in sources for file in (sorted(one.glob("*.zip")) if one.is_dir() else [one])]
    if not files:
        raise UsageError(f"--from {sources[0]}: there is no export file (.zip) in this folder")
    with collected(files) as (store, found):
        bad = [(file, one) for file, own in found.items() for one in own if one.state in ("conflict", "damaged")]
        for file, one in bad:
            print(printable(f"{file}: {one.kind} {one.id}: {one.problem}"), file=sys.stderr)
        yield [store.root], len(bad)
