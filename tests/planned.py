"""Runs as a request plans them, and one run executed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zslbench.api.cards import Setting
from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.engine import Listener
from zslbench.api.progress import Progress
from zslbench.discovery.objects import class_name
from zslbench.records.record import RunRecord
from zslbench.runs.entrant import Entrant, Run
from zslbench.runs.execute import Arrays, Execution, Setup
from zslbench.runs.request import Asked, Request
from zslbench.runs.resolve import resolve
from zslbench.runs.row import Row


def plan(methods: Sequence[Any], datasets: Sequence[Any], request: Request) -> list[Row]:
    """Returns a row for each method and data set; nothing has run yet."""
    return [Row.of(entrant) for entrant in resolve(methods, datasets, request)]


def execute(
    run: Run, checkpoints: Path | None = None, on_epoch: Callable[[Progress], None] = lambda progress: None
) -> tuple[RunRecord, Arrays]:
    """Executes a run on the CPU; returns its record and what is stored beside it."""
    listener = Listener(epoch=lambda run, progress: on_epoch(progress))
    return Execution(run, Setup(store=Path("none"), device="cpu"), checkpoints, listener).whole()


def entrant_of(
    method: type[Embedder[Any]],
    data: ZSLData,
    name: str,
    values: dict[str, Any],
    setting: Setting = "inductive",
    **request: Any,
) -> Entrant:
    """Returns a class of this process on data in memory, under a name and a setting of one's own."""
    asked = Asked(name, class_name(method), "", values)
    [entrant] = resolve([asked], [data], Request(root=Path(), **request))
    entry = entrant.entry
    return replace(entrant, entry=replace(entry, name=name, code="", card=replace(entry.card, setting=setting)))
