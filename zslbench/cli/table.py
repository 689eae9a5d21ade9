"""`zslbench table` and `paper`: the whole table of the field, and the counterpart of what a method's paper shows."""

from __future__ import annotations

import json
import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from zslbench.cli.export import ExportOptions
from zslbench.cli.options import RunOptions, with_options
from zslbench.errors import UsageError
from zslbench.files import writable


class Which(StrEnum):
    """Tables that can be made."""

    gbu = "gbu"


@with_options(ExportOptions)
def table(
    which: Annotated[Which, Argument(help="gbu: the protocol of Xian et al., every method on every data set.")],
    options: ExportOptions,
    methods: Annotated[
        list[str] | None,
        Option("--methods", "-m", help="Only these, divided by blanks or commas.", show_default="all"),
    ] = None,
    page: Annotated[Path | None, Option(help="Write a Markdown page with tables and curves to this file.")] = None,
) -> None:
    """Make the table of the field: every method, tuned if you say so, with tests of which rows really differ."""
    options.format()
    if page is not None:
        writable("--page", page)
    if options.on == "validation":
        raise UsageError(f"--on validation: `table {which}` is of test images; `compare` shows validation classes")
    names = [name for given in methods or [] for name in _names(given)]
    with options.bench() as (bench, display):
        results = bench.compare(names or bench.methods(options.input or "features"), **options.request())
        given = [word for text in methods or [] for word in ("--methods", text)]
        path = options.export(
            results,
            ["table", which.value, *given],
            json=lambda: results.text("json"),
            show=lambda: results.show("field", plain=options.plain),
        )
        if path:
            display.say(f"wrote {path}")
        if page is not None:
            from zslbench.report.page import write_page

            command = shlex.join(["zslbench", "table", which.value, *options.words(), *given])
            display.say(
                f"wrote {', '.join(map(str, write_page(page, command, results.rows, bench.store, results.chosen)))}"
            )
    results.check()


def _names(text: str) -> list[str]:
    """Divides names at blanks, and at commas where none of them stands between parameters."""
    return (text if ":" in text else text.replace(",", " ")).split()


@with_options(RunOptions)
def paper(
    method: Annotated[str, Argument(metavar="METHOD", help="Method of the paper (`zslbench list methods`).")],
    options: RunOptions,
    out: Annotated[
        Path | None, Option(help="Folder for figures, tables and a page of them.", show_default="paper-METHOD")
    ] = None,
    exhibit: Annotated[
        list[str] | None,
        Option(help="Make only this one, such as table-2; repeat it for more.", show_default="all"),
    ] = None,
) -> None:
    """Make the figures and tables of a method's paper from run records; runs what is missing."""
    if options.on == "validation":
        raise UsageError("--on validation: papers show test images; `compare` shows validation classes")
    if options.metrics:
        raise UsageError("--metrics: tables of a paper have the metrics of the paper; `compare` takes any")
    request = options.request()
    del request["metrics"]

    from zslbench.report.exhibits import write_index
    from zslbench.runs.request import Asked

    asked = Asked.of(method).for_input(options.input)
    if not asked.card.exhibits:
        raise UsageError(f"the card of method {asked.method!r} declares no exhibits; see docs/guide/methods.md")
    wanted = exhibit or []
    folder = out or Path(f"paper-{asked.method}")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; name a folder")
    with options.bench() as (bench, display):
        made, problems, results = bench.paper(method, folder, exhibits=wanted, **request)
        if not made:
            results.check()
            raise next(iter(problems.values()))
        left_out = {name: str(problems[name]) for name in asked.card.exhibits if name in problems}
        words = [*(["--out", str(out)] if out else []), *(word for name in wanted for word in ("--exhibit", name))]
        command = ["zslbench", "paper", method, *options.words(), *words]
        page = write_index(folder, asked.card, shlex.join(command), made, left_out)
        if options.json:
            written = {name: [str(path) for path in one.files] for name, one in made.items()}
            print(json.dumps({"page": str(page), "made": written, "left_out": left_out}, indent=1))
        else:
            for name, one in made.items():
                print(f"{name}: {', '.join(map(str, one.files))}")
            print(f"page: {page}")
        for name, problem in left_out.items():
            display.say(f"{name} is left out: {problem}")
    results.check()
