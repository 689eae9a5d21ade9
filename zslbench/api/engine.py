"""The engine interface: where runs execute."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from zslbench.api.params import Params
from zslbench.api.progress import Progress

if TYPE_CHECKING:
    from zslbench.records.record import RunRecord
    from zslbench.runs.entrant import Run
    from zslbench.runs.execute import Setup


@dataclass(frozen=True)
class Listener:
    """Callbacks about runs; prepared images count as epochs of step 0."""

    started: Callable[[Run], None] = lambda run: None
    epoch: Callable[[Run, Progress], None] = lambda run, progress: None
    finished: Callable[[Run, RunRecord], None] = lambda run, record: None
    failed: Callable[[Run, Exception], None] = lambda run, error: None


class Engine(ABC):
    """Executes runs somewhere and reports to the listener how each ended; `with engine:` closes it.

    For each run, an engine only calls `zslbench.runs.execute.fulfil` in this process, or `fulfil_sent` in another
    process, to which it sends `run.sent()` and `setup`. The store ensures that no run is executed twice. An engine may
    execute as many runs at a time as it has `workers`, and chooses their default number. If KeyboardInterrupt or
    `zslbench.interruption.Interrupted` is raised in it, it must end its processes, for example by SIGTERM, and
    re-raise the exception.

    Class attributes:
        options: what a user may choose after its name, as in `--engine NAME:KEY=VALUE`. An engine with options sets the
            defaults, an instance of its own subclass of `Params`.
        stacks: whether it hands runs that may be trained as one to `zslbench.runs.stacking.fulfil_all`.
    """

    options: Params = Params()
    stacks: ClassVar[bool] = False

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    @abstractmethod
    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes runs in any order; one that fails must not stop the others."""

    def close(self) -> None:  # noqa: B027 (most engines keep nothing)
        """Releases what the engine keeps between calls of `execute`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
