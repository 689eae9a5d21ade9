"""`zslbench show`: everything that is known about one stored run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from zslbench.cli.options import DEFAULT_STORE, Json, Plain, StoreFolder
from zslbench.errors import UsageError


def show(
    run: Annotated[
        str | None, Argument(help="Run id, or its first characters; without it, all runs are listed.")
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    curve: Annotated[Path | None, Option(help="Write the seen-unseen curve to this CSV file.")] = None,
    json: Json = False,
    plain: Plain = False,
) -> None:
    """Show a stored run: settings, metrics with intervals, curve, classes, provenance."""
    from rich.console import Console

    from zslbench.records.store import Store
    from zslbench.report.detail import print_record, runs_table, write_curve
    from zslbench.report.render import show as show_tables

    opened = Store(store, create=False)
    console = Console(no_color=plain)
    if run is None:
        records = list(opened.records())
        if json:
            print("[" + ",\n".join(record.model_dump_json(indent=1) for record in records) + "]")
        else:
            show_tables([runs_table(records)], console, plain=plain or not console.is_terminal)
        return
    record = opened.lookup(run)
    if curve is not None:
        try:
            write_curve(opened.arrays(record), curve)
        except OSError as error:
            raise UsageError(f"--curve {curve}: cannot be written ({error.strerror}); name another file") from error
    if json:
        print(record.model_dump_json(indent=1))
    else:
        print_record(record, opened.arrays(record), console, plain=plain)
