"""`zslbench list`: whatever plugins registered, and the plugins themselves; imports none of it."""

from __future__ import annotations

import json as jsonlib
import sys
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

from typer import Argument

from zslbench.cli.options import Json
from zslbench.discovery.plugins import plugins, registry


class What(StrEnum):
    """What can be listed."""

    methods = "methods"
    datasets = "datasets"
    evaluators = "evaluators"
    backbones = "backbones"
    text_encoders = "text-encoders"
    engines = "engines"
    plugins = "plugins"


def list_(what: Annotated[What, Argument(help="What to list.")], json: Json = False) -> None:
    """List what is installed."""
    rows = _plugins() if what is What.plugins else _entries(what)
    if json:
        print(jsonlib.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not rows:
        console.print(f"no {what.value} are installed", highlight=False)
    table = Table(box=None, pad_edge=False)
    rows = [{key: value for key, value in row.items() if key != "problem"} for row in rows]
    for column in rows[0] if rows else ():
        table.add_column(column, overflow="fold", no_wrap=column in ("name", "title", "version"))
    for row in rows:
        cells = (", ".join(value) if isinstance(value, dict | list) else str(value) for value in row.values())
        table.add_row(*map(Text, cells))
    console.print(table)
    for plugin in plugins().problems:
        name = f"{plugin.distribution}:{plugin.name}"
        if what is What.plugins:
            console.print(f"{name} does not work: {plugin.problem}", markup=False, highlight=False, soft_wrap=True)
        else:
            print(f"plugin {name} does not work; see `zslbench list plugins`", file=sys.stderr)


def _entries(what: What) -> list[dict[str, Any]]:
    shown = {
        What.methods: ["title", "input", "setting", "presets", "paper"],
        What.datasets: ["title", "summary", "licence"],
        What.evaluators: ["summary", "paper"],
        What.backbones: ["title", "summary", "paper"],
        What.text_encoders: ["title", "summary", "paper"],
        What.engines: ["summary"],
    }[what]
    return [
        {"name": entry.name, **{key: asdict(entry.card)[key] for key in shown}, "plugin": entry.plugin}
        for entry in registry().entries(what.value.removesuffix("s"))
    ]


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
