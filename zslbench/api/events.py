"""Events: what a bench reports about its work, for progress bars, logs and other tools."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zslbench.api.progress import Progress

if TYPE_CHECKING:
    from zslbench.records.record import RunRecord
    from zslbench.runs.entrant import Run


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    `said`: `text` is a line for people. `began`: `total` runs are wanted; if they are `trials` of a search, `text` says
    where the search stands. For a `run`: `started`; `epoch`, with its `progress`; `finished`, with its `record`, which
    may have been `stored` already; `failed`, with the `error`. `ended`: everything that began is done.
    """

    kind: Literal["said", "began", "started", "epoch", "finished", "failed", "ended"]
    text: str = ""
    total: int = 0
    trials: bool = False
    run: Run | None = None
    progress: Progress | None = None
    record: RunRecord | None = None
    stored: bool = False
    error: Exception | None = None


OnEvent = Callable[[Event], None]
