"""Runs one after another in this process."""

from __future__ import annotations

from collections.abc import Sequence

from zslbench.api.engine import Engine, Listener
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup
from zslbench.runs.stacking import bundles, fulfil_all


class Inline(Engine):
    """The simplest engine. A run that another process holds is put off, and waited for at the end."""

    stacks = True

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs in order, those that are to be trained as one together."""
        for run, found in fulfil_all(bundles(runs, setup.stack), setup, listener):
            if isinstance(found, Exception):  # a plugin's method may raise anything
                listener.failed(run, found)
            elif found is not None:
                listener.finished(run, found)
