"""How tests interrupt a training, and tell whether two trainings came to the same."""

from __future__ import annotations

from typing import Any

from toy import same, weights

from zslbench.api.embedder import Embedder
from zslbench.training.trainer import Fitted


class Killed(Exception):
    pass


class Killer:
    """Lets a number of calls pass, then raises."""

    def __init__(self, passes: int) -> None:
        self.passes = passes

    def __call__(self, *arguments: Any) -> None:
        self.passes -= 1
        if self.passes < 0:
            raise Killed


def agree(a: tuple[Embedder[Any], Fitted], b: tuple[Embedder[Any], Fitted]) -> bool:
    return same(weights(a[0]), weights(b[0])) and a[1].losses == b[1].losses and a[1].epochs == b[1].epochs
