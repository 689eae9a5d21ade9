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

    from zslbench.bench import Bench
    from zslbench.report.detail import runs_table
    from zslbench.report.render import show as show_tables

    bench = Bench(store=store)
    if run is None:
        found = [result.record for result in bench.records()]
        if json:
            print("[" + ",\n".join(record.model_dump_json(indent=1) for record in found) + "]")
        else:
            console = Console(no_color=plain)
            show_tables([runs_table(found)], console, plain=plain or not console.is_terminal)
        return
    result = bench.record(run)
    if curve is not None:
        points = result.curve().rename(columns={"gamma": "gamma_from"})
        points.insert(1, "gamma_to", points["gamma_from"].shift(-1, fill_value=float("inf")))
        try:
            points.to_csv(curve, index=False)
        except OSError as error:
            raise UsageError(f"--curve {curve}: cannot be written ({error.strerror}); name another file") from error
    if json:
        print(result.record.model_dump_json(indent=1))
    else:
        result.show(plain=plain)
