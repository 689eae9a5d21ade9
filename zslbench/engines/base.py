"""The engine interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from zslbench.records.record import RunRecord
from zslbench.runs.execute import Job, Setup, Watcher


@dataclass(frozen=True)
class Listener(Watcher):
    """Callbacks about many runs."""

    finished: Callable[[Job, RunRecord], None] = field(default=lambda job, record: None)
    failed: Callable[[Job, Exception], None] = field(default=lambda job, error: None)


class Engine(ABC):
    """Executes runs somewhere, and tells the listener of each how it ended; `with engine:` closes it.

    Attributes:
        workers: how many runs it may execute at a time.
    """

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers

    @abstractmethod
    def execute(self, jobs: list[Job], setup: Setup, listener: Listener) -> None:
        """Executes runs in any order; one that fails must not stop the others."""

    def close(self) -> None:  # noqa: B027 (most engines keep nothing)
        """Gives back what is kept between calls of `execute`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
