"""Runs one after another in this process."""

from __future__ import annotations

from zslbench.engines.base import Engine, Listener
from zslbench.records.store import Busy
from zslbench.runs.execute import Job, Setup, fulfil


class Inline(Engine):
    """The simplest engine. A run that another process holds is put off, and waited for at the end."""

    def execute(self, jobs: list[Job], setup: Setup, listener: Listener) -> None:
        """Executes the runs in order."""
        busy = [job for job in jobs if not self._try(job, setup, listener, wait=False)]
        for job in busy:
            self._try(job, setup, listener, wait=True)

    def _try(self, job: Job, setup: Setup, listener: Listener, *, wait: bool) -> bool:
        try:
            record = fulfil(job, setup, listener, wait=wait)
        except Busy:
            return False
        except Exception as error:  # a plugin's method may raise anything
            listener.failed(job, error)
        else:
            if record is not None:
                listener.finished(job, record)
        return True
