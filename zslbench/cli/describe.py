"""`zslbench describe`: all that is known about a method, a data set or anything else that plugins register."""

from __future__ import annotations

import json as jsonlib
from typing import Annotated

from typer import Argument

from zslbench.cli.options import DataRoot, Json


def describe(
    name: Annotated[
        str,
        Argument(
            metavar="NAME",
            help="A method, data set, evaluator, backbone, text encoder or engine, or the file of a method.",
        ),
    ],
    data_root: DataRoot = None,
    json: Json = False,
) -> None:
    """Show what there is to know about a name: paper, parameters, presets, published numbers, metrics, files."""
    from rich.console import Console

    from zslbench.data.folders import data_root as folder
    from zslbench.discovery.plugins import registry
    from zslbench.discovery.single_file import adopted
    from zslbench.report.description import describe as described
    from zslbench.report.description import print_description

    found = [described(entry, folder(data_root)) for entry in registry().find(adopted(name))]
    if json:
        print(jsonlib.dumps([description.as_json for description in found], indent=1))
        return
    console = Console()
    for i, description in enumerate(found):
        print("\n" * bool(i), end="")
        print_description(description, console)
