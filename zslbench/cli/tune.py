"""`zslbench tune`: search a method's hyper-parameters on validation classes, and keep the result as a tuned preset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from typer import Argument

from zslbench.cli.options import Options, with_options
from zslbench.cli.run import METHOD

if TYPE_CHECKING:
    from zslbench.records.search import Search


@with_options(Options)
def tune(method: Annotated[str, Argument(help=METHOD)], options: Options) -> None:
    """Choose hyper-parameters on validation classes; `run --tuned` and `compare --tuned` use the result."""
    from rich.console import Console

    from zslbench.report.builders import search_table
    from zslbench.report.render import show
    from zslbench.runs.request import Asked

    with options.bench() as (bench, _):
        searches = bench.tune(method, **options.request())
    if options.json:
        print(json.dumps([_json(search) for search in searches], indent=1))
    else:
        label = Asked.of(method).for_input(options.input).label
        show([search_table(search, label) for search in searches], Console(), plain=True)


def _json(search: Search) -> dict[str, object]:
    return {"id": search.id, "tuned": search.tuned, "value": search.best.value, **search.model_dump(mode="json")}
