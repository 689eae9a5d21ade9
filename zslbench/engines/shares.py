"""How much of a GPU a run takes on a cluster where runs share GPUs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zslbench.runs.entrant import Run

Kind = tuple[str, str]
"""A method, and the fingerprint of a data set."""
OWN_MB = 600
"""Memory that CUDA takes of a GPU for each process, about."""
SLACK = 1.5
"""How many times the memory that another run took a run is given: its settings are others, and memory is fragmented."""


@dataclass
class Shares:
    """How much of a GPU a run takes: as much as is given, or as was measured.

    A run has a GPU for itself until one of the same method and data set has ended.

    Attributes:
        given: the share of each run, from 0 to 1; 0 to measure it.
        measured: the largest share that runs of a method and a data set need.
    """

    given: float = 0.0
    measured: dict[Kind, float] = field(default_factory=dict)

    def of(self, run: Run) -> float:
        """Returns the share of a run."""
        return self.given or self.measured.get(_kind(run), 1.0)

    def learn(self, run: Run, memory: Mapping[str, Any]) -> None:
        """Takes what a run took, in MB, of how much: `peak_memory_mb` and `device_memory_mb` of its record."""
        if "device_memory_mb" in memory:
            need = (SLACK * memory["peak_memory_mb"] + OWN_MB) / memory["device_memory_mb"]
            known = self.measured.get(_kind(run), 0.0)
            self.measured[_kind(run)] = max(known, min(1.0, math.ceil(100 * need) / 100))

    def take_whole(self, run: Run, had: float) -> bool:
        """Returns whether a run that found no memory is to have a whole GPU, since the measured share was too small."""
        if self.given or had == 1:
            return False
        self.measured[_kind(run)] = 1.0
        return True

    def room(self, waiting: Sequence[Run], free: float) -> int:
        """Returns how many of the waiting runs, the first ones, find room on so many GPUs."""
        total = itertools.accumulate(map(self.of, waiting))
        return sum(1 for share in total if share <= free + 1e-6)


def _kind(run: Run) -> Kind:
    return run.spec.method, run.spec.fingerprint
