"""`zslbench runs`: what is stored as a whole; `zslbench show` has its runs."""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from dataclasses import asdict
from typing import Literal

import typer

from zslbench.cli.options import DEFAULT_STORE, Json, StoreFolder

_PLURALS: dict[Literal["record", "search", "checkpoint"], str] = {
    "record": "records",
    "search": "searches",
    "checkpoint": "checkpoints",
}

app = typer.Typer(no_args_is_help=True, help="Look after the store of runs.")


@app.callback()
def _group() -> None: ...


@app.command()
def verify(store: StoreFolder = DEFAULT_STORE, json: Json = False) -> None:
    """Check that all that is stored is whole, and that metrics follow from the stored decisions.

    What is damaged is set aside, and the command that made it makes it again. The exit status is 1 where something is.
    """
    from zslbench.bench import Bench
    from zslbench.errors import printable

    found = Bench(store=store, on_event=None).verify()
    damaged = [one for one in found if one.problem]
    if json:
        print(jsonlib.dumps([asdict(one) for one in found], indent=1))
        raise typer.Exit(int(bool(damaged)))
    for one in damaged:
        print(printable(f"damaged {one.kind} {one.name}: {one.problem}"))
    for one in found:
        if one.kind == "leftover":
            print(printable(f"leftover {one.name}: nothing reads it; unless a run is under way, it can be deleted"))
    unchecked = Counter(name for one in found for name in one.unchecked)
    for name, count in unchecked.items():
        print(printable(f"{name}: not computed again in {count} records; it needs the model, or its evaluator"))
    counts = Counter(one.kind for one in found)
    kinds = [f"{plural} {counts[kind]}" for kind, plural in _PLURALS.items()]
    print(f"checked: {', '.join(kinds)}; damaged: {len(damaged)}")
    raise typer.Exit(int(bool(damaged)))
