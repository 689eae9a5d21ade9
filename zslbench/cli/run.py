"""`zslbench run` and `zslbench compare`: execute what is missing, print what there is."""

from __future__ import annotations

import json
from typing import Annotated

from typer import Argument

from zslbench.cli.options import RunOptions, with_options

METHOD = "NAME, NAME@PRESET or NAME:KEY=VALUE,... (`zslbench list methods`)"


@with_options(RunOptions)
def run(method: Annotated[str, Argument(help=METHOD)], options: RunOptions) -> None:
    """Train one method, evaluate it, and store the record; stored runs are not repeated."""
    _execute([method], options, seeds=1, alone=True)


@with_options(RunOptions)
def compare(methods: Annotated[list[str], Argument(metavar="METHOD...", help=METHOD)], options: RunOptions) -> None:
    """Run several methods and print one table per data set; stored runs are not repeated."""
    _execute(methods, options, seeds=3)


def _execute(methods: list[str], options: RunOptions, seeds: int, *, alone: bool = False) -> None:
    with options.bench() as (bench, display):
        results = bench.compare(methods, **options.request(seeds))
        if alone and not results.errors:
            results.check()  # a method that cannot be run here is one line, not a table
        if options.json:
            print(json.dumps(results.json(), indent=1))
        else:
            results.show(plain=options.plain)
        for label, path in results.draw():
            display.say(f"reconstructions of {label}: {path}")
    results.check()
