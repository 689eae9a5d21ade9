"""`zslbench list` and `describe`: whatever plugins registered, a line each without importing it, or all about one."""

from __future__ import annotations

import json as jsonlib
import sys
from dataclasses import asdict
from typing import Annotated, Any, Literal

from typer import Argument

from zslbench.cli.options import DataRoot, Json
from zslbench.discovery.plugins import plugins, registry
from zslbench.errors import printable

What = Literal["methods", "datasets", "evaluators", "backbones", "text-encoders", "engines", "layouts", "plugins"]
COLUMNS: dict[What, tuple[str, ...]] = {
    "methods": ("name", "title", "input", "presets", "summary"),
    "datasets": ("name", "title", "summary"),
    "evaluators": ("name", "summary"),
    "backbones": ("name", "title", "summary"),
    "text-encoders": ("name", "title", "summary"),
    "engines": ("name", "summary"),
    "layouts": ("name", "summary"),
    "plugins": ("name", "version", "status", "module"),
}
"""What a line shows; `--json` has more."""


def list_(what: Annotated[What, Argument(help="What to list.")], json: Json = False) -> None:
    """List what is installed, a line each; `zslbench describe NAME` says more."""
    if what == "plugins":
        rows = _plugins()
    else:
        entries = registry().entries(what.removesuffix("s"))
        rows = [{"name": entry.name, **asdict(entry.card), "plugin": entry.plugin} for entry in entries]
    if json:
        print(jsonlib.dumps(rows, indent=1))
        return
    from rich.console import Console

    from zslbench.report.table import Cell, Column, Line, Table
    from zslbench.report.terminal import show_lines

    console = Console()
    if rows:
        columns = [Column(name, "left", rank=name == "presets") for name in COLUMNS[what]]
        lines = [Line(tuple(Cell(_cell(row, column.title)) for column in columns)) for row in rows]
        show_lines(Table("", columns, lines), console)
    else:
        print(f"no {what} are installed")
    for plugin in plugins().problems:
        name = f"{plugin.distribution}:{plugin.name}"
        if what == "plugins":
            print(printable(f"{name} does not work: {plugin.problem}"))
        else:
            print(printable(f"plugin {name} does not work; see `zslbench list plugins`"), file=sys.stderr)
    if rows and console.is_terminal and what != "plugins":
        console.print("`zslbench describe NAME` says more", style="dim")


def _cell(row: dict[str, Any], column: str) -> str:
    """Returns a cell; a method's input comes with its setting, unless that is the usual one."""
    value = row[column]
    text = ", ".join(value) if isinstance(value, dict | list) else str(value)
    if column == "input" and row["setting"] != "inductive":
        text += f", {row['setting']}"
    return " ".join(text.split()) or "-"


def _plugins() -> list[dict[str, Any]]:
    return [
        {
            "name": f"{plugin.distribution}:{plugin.name}",
            "version": plugin.version,
            "module": plugin.module,
            "status": "broken" if plugin.problem else "ok",
            "problem": plugin.problem,
        }
        for plugin in plugins().loaded
    ]


def describe(
    name: Annotated[
        str,
        Argument(
            metavar="NAME",
            help="A method, data set, evaluator, backbone, text encoder, engine or layout, or the file of a method.",
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
    from zslbench.report import description as report

    found = [report.describe(entry, folder(data_root)) for entry in registry().find(adopted(name))]
    if json:
        print(jsonlib.dumps([description.as_json for description in found], indent=1))
        return
    console = Console()
    for i, description in enumerate(found):
        print("\n" * bool(i), end="")
        report.print_description(description, console)
