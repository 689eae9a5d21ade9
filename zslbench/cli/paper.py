"""`zslbench paper`: the counterpart of every figure and table of a method's paper."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from zslbench.cli.options import RunOptions, with_options
from zslbench.errors import UsageError


@with_options(RunOptions)
def paper(
    method: Annotated[str, Argument(metavar="METHOD", help="NAME (`zslbench list methods`), whose card says what.")],
    options: RunOptions,
    out: Annotated[
        Path | None, Option(help="Folder for figures, tables and a page of them.", show_default="paper-METHOD")
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
    folder = out or Path(f"paper-{asked.method}")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; name a folder")
    with options.bench() as (bench, display):
        made, problems, results = bench.paper(method, folder, **request)
        if not made:
            results.check()
            raise next(iter(problems.values()))
        left_out = {name: str(problems[name]) for name in asked.card.exhibits if name in problems}
        command = ["zslbench", "paper", method, *options.words(), *(["--out", str(out)] if out else [])]
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
