"""The engine interface: where runs execute."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from zslbench.api.progress import Progress

if TYPE_CHECKING:
    from zslbench.records.record import RunRecord
    from zslbench.runs.entrant import Run
    from zslbench.runs.execute import Setup


@dataclass(frozen=True)
class Listener:
    """Callbacks about runs; images that are prepared count as epochs of a step 0."""

    started: Callable[[Run], None] = lambda run: None
    epoch: Callable[[Run, Progress], None] = lambda run, progress: None
    finished: Callable[[Run, RunRecord], None] = lambda run, record: None
    failed: Callable[[Run, Exception], None] = lambda run, error: None


class Engine(ABC):
    """Executes runs somewhere, and tells the listener of each how it ended; `with engine:` closes it.

    An engine does nothing but call `zslbench.runs.execute.fulfil` for each run in this process, or `fulfil_sent` in
    another one to which it sends `run.sent()` and `setup`; the store sees to it that no run is executed twice. It may
    execute as many runs at a time as it has `workers`, whose default it chooses. Where KeyboardInterrupt or
    `zslbench.interruption.Interrupted` is raised in it, it must end its processes, by SIGTERM for one, and let it pass.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    @abstractmethod
    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes runs in any order; one that fails must not stop the others."""

    def close(self) -> None:  # noqa: B027 (most engines keep nothing)
        """Gives back what is kept between calls of `execute`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
