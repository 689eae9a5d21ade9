"""Runs one after another in this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from zslbench import interruption
from zslbench.api.engine import Engine, Listener
from zslbench.records.record import RunRecord
from zslbench.records.store import Busy
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, fulfil
from zslbench.runs.stacking import bundles, fulfil_together, outcome


class Inline(Engine):
    """The simplest engine. A run that another process holds is put off, and waited for at the end."""

    stacks = True

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs in order, those that are to be trained as one together."""
        busy = []
        for some in bundles(runs, setup.stack):
            interruption.check()
            for run, found in fulfil_together(some, setup, listener):
                if isinstance(found, Busy):
                    busy.append(run)
                else:
                    _tell(run, found, listener)
        for run in busy:
            interruption.check()
            _tell(run, outcome(partial(fulfil, run, setup, listener, wait=True)), listener)


def _tell(run: Run, found: RunRecord | Exception | None, listener: Listener) -> None:
    if isinstance(found, Exception):  # a plugin's method may raise anything
        listener.failed(run, found)
    elif found is not None:
        listener.finished(run, found)
