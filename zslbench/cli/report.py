"""`zslbench report`: one page of all that stores hold."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

from typer import Option

from zslbench.cli.options import DEFAULT_STORE
from zslbench.errors import UsageError


def report(
    store: Annotated[
        list[Path] | None,
        Option(help="Folder of run records; again for more.", show_default="ZSLBENCH_STORE, or zslbench-runs"),
    ] = None,
    method: Annotated[
        list[str] | None, Option("--method", "-m", help="Only this one, by name or title; again for more.")
    ] = None,
    dataset: Annotated[
        list[str] | None, Option("--dataset", "-d", help="Only this one, by name or folder; again for more.")
    ] = None,
    metrics: Annotated[
        list[str] | None,
        Option(
            metavar="NAME,...",
            help="Columns of tables, by name or title; again for more.",
            show_default="those that evaluators show",
        ),
    ] = None,
    out: Annotated[Path, Option(help="The file; .md, .tex, .csv, .json and .txt have the tables alone.")] = Path(
        "report.html"
    ),
) -> None:
    """Write one page of all stored runs: tables, curves, classes, searches, training, provenance; nothing is run."""
    from zslbench.files import expanded
    from zslbench.report.render import format_of
    from zslbench.report.stored import stored

    format_of(expanded(out), "--out")
    stores = store or [Path(os.environ.get("ZSLBENCH_STORE") or DEFAULT_STORE)]
    given = {"--store": store, "--method": method, "--dataset": dataset, "--metrics": metrics}
    words = [word for option, values in given.items() for value in values or [] for word in (option, str(value))]
    results = stored(*stores, method=method, dataset=dataset, metrics=metrics)
    if not results.rows:
        raise UsageError("no stored run is of these methods on these data sets; leave out --method or --dataset")
    path = results.save(out, command=shlex.join(["zslbench", "report", *words, "--out", str(out)]))
    runs, searches = len(results), len(results.searches)
    counts = [f"{runs} run{'s' * (runs != 1)}", f"{searches} search{'es' * (searches != 1)}"]
    print(f"wrote {path}: {', '.join(counts)}, {path.stat().st_size / 1e6:.1f} MB")
