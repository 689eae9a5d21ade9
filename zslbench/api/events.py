"""Events: what a bench tells of its work, for progress bars, logs and other tools."""

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

    Attributes:
        kind: `said`: `text` is a line for people. `began`: `total` runs are wanted, which may be trials. `started`,
            `epoch`, `finished`, `failed`: of a `run`. `ended`: all that began is done.
        text: the line.
        total: how many runs.
        trials: whether they are trials of a search.
        run: the run.
        progress: where its training stands.
        record: what came of it.
        stored: whether it was stored already.
        error: why it failed.
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
