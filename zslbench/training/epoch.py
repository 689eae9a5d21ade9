"""An epoch of training: the players of a stage take turns, each on batches of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from zslbench import interruption
from zslbench.api.embedder import Embedder, Stage
from zslbench.training.batches import Batches
from zslbench.training.player import Player

History = dict[str, Tensor]
"""Each loss by name in each turn, `(turns,)`."""
TURNS_BETWEEN_CHECKS = 200
"""How many turns may pass before a NaN is noticed; a check makes a GPU wait."""


@dataclass(frozen=True)
class Epoch:
    """What is to be played.

    Attributes:
        embedder: what is trained.
        stage: whose epoch it is.
        players: those of the stage.
        batches: where batches come from.
        turns: how often each player has its turn.
        size: images in a batch, but for the last one of a pass.
        precision: that of losses.
        settled: whether an interruption may end it at once, because all that was trained before is kept.
        behind: whether what was trained before is kept at its end alone.
        examine: called with the losses so far; raises a RunError where one is not finite.
        waited: told how many seconds others took, and for how many fits the epoch was played as one.
    """

    embedder: Embedder[Any]
    stage: Stage
    players: list[Player]
    batches: Batches
    turns: int
    size: int
    precision: Literal["32", "bf16"]
    settled: bool
    behind: bool
    examine: Callable[[History], None]
    waited: Callable[[float, int], None]

    def play(self) -> History:
        """Takes all turns, and returns the losses; of several steps in one turn, those of the last."""
        drawn = [self.batches.draw(self.size, self.turns * player.objective.steps) for player in self.players]
        history: dict[str, list[Tensor]] = {}
        for turn in range(1, self.turns + 1):
            if self.settled:
                interruption.check()
            for player, batches in zip(self.players, drawn, strict=True):
                for _ in range(player.objective.steps):
                    losses = player.step(next(batches), self.precision)
                for name, value in losses.items():
                    history.setdefault(name, []).append(value)
            if turn % TURNS_BETWEEN_CHECKS == 0 and turn < self.turns:
                self.examine({name: torch.stack(values) for name, values in history.items()})
        return {name: torch.stack(values) for name, values in history.items()}
