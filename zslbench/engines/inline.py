"""Runs one after another in this process."""

from __future__ import annotations

from collections.abc import Sequence

from zslbench import interruption
from zslbench.api.engine import Engine, Listener
from zslbench.records.store import Busy
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, fulfil
from zslbench.runs.stacking import bundles, fulfil_together


class Inline(Engine):
    """The simplest engine. A run that another process holds is put off, and waited for at the end."""

    stacks = True

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs in order, those that are to be trained as one together."""
        busy = []
        for some in bundles(runs, setup.stack):
            busy += self._together(some, setup, listener) if len(some) > 1 else self._alone(some[0], setup, listener)
        for run in busy:
            self._alone(run, setup, listener, wait=True)

    def _alone(self, run: Run, setup: Setup, listener: Listener, *, wait: bool = False) -> list[Run]:
        interruption.check()
        try:
            record = fulfil(run, setup, listener, wait=wait)
        except Busy:
            return [run]
        except Exception as error:  # a plugin's method may raise anything
            listener.failed(run, error)
        else:
            if record is not None:
                listener.finished(run, record)
        return []

    def _together(self, runs: list[Run], setup: Setup, listener: Listener) -> list[Run]:
        interruption.check()
        busy = []
        for run, found in fulfil_together(runs, setup, listener):
            if isinstance(found, Busy):
                busy.append(run)
            elif isinstance(found, Exception):
                listener.failed(run, found)
            elif found is not None:
                listener.finished(run, found)
        return busy
