"""Runs one after another in this process."""

from __future__ import annotations

from collections.abc import Sequence

from zslbench import interruption
from zslbench.api.engine import Engine, Listener
from zslbench.records.store import Busy
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, fulfil


class Inline(Engine):
    """The simplest engine. A run that another process holds is put off, and waited for at the end."""

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs in order."""
        busy = [run for run in runs if not self._try(run, setup, listener, wait=False)]
        for run in busy:
            self._try(run, setup, listener, wait=True)

    def _try(self, run: Run, setup: Setup, listener: Listener, *, wait: bool) -> bool:
        interruption.check()
        try:
            record = fulfil(run, setup, listener, wait=wait)
        except Busy:
            return False
        except Exception as error:  # a plugin's method may raise anything
            listener.failed(run, error)
        else:
            if record is not None:
                listener.finished(run, record)
        return True
