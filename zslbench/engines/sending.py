"""Sending runs to other machines, and again to others where a worker is lost: what Ray and Slurm have in common."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zslbench import interruption
from zslbench.api.engine import Listener
from zslbench.engines.messages import Message, tell
from zslbench.errors import RunError
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup

RETRIES = 2
"""How often a run is sent again whose worker was lost."""
Handle = Any
"""What a place calls the job that it was sent: anything that can be the key of a dictionary."""


def elsewhere(setup: Setup) -> Setup:
    """Returns how runs are executed elsewhere: a worker sees one GPU, whatever its number here."""
    return setup.model_copy(update={"store": setup.store.absolute(), "device": setup.device.partition(":")[0]})


class Place(ABC):
    """Where jobs execute: a cluster, while an engine uses it. A job is some runs, one after another."""

    job_size = 1
    """How many runs a job has at most."""

    @abstractmethod
    def room(self, waiting: Sequence[Run], jobs: Sequence[Handle]) -> int:
        """Returns how many of the waiting runs may be sent now, the first ones, while these jobs are under way."""

    @abstractmethod
    def send(self, jobs: Sequence[Sequence[Run]]) -> list[Handle]:
        """Sends jobs."""

    @abstractmethod
    def ended(self, jobs: Sequence[Handle]) -> Mapping[Handle, str]:
        """Returns which of these jobs ended, after a moment, and why, should an answer be missing."""

    @abstractmethod
    def messages(self, jobs: Sequence[Handle]) -> Iterable[tuple[Handle, str, Message]]:
        """Returns what came since the last call: from which job, about the run of which id, and what."""

    @abstractmethod
    def cancel(self, jobs: Sequence[Handle]) -> None:
        """Interrupts jobs, and gives them the time to write their checkpoints."""


@dataclass
class _Job:
    """A job under way: its runs without an answer yet, and where which of them began."""

    runs: dict[str, Run]
    began: dict[str, str] = field(default_factory=dict)


def fulfil_at(place: Place, runs: Sequence[Run], listener: Listener) -> None:
    """Has runs executed at a place. One whose worker is lost is sent again, `RETRIES` times at most."""
    waiting, lost = list(runs), defaultdict[str, list[str]](list)
    jobs: dict[Handle, _Job] = {}
    try:
        while waiting or jobs:
            interruption.check()
            room = max(place.room(waiting, list(jobs)), 0 if jobs else place.job_size)
            waiting, now = waiting[room:], waiting[:room]
            groups = [now[start : start + place.job_size] for start in range(0, len(now), place.job_size)]
            for handle, group in zip(place.send(groups) if groups else [], groups, strict=True):
                jobs[handle] = _Job({run.id: run for run in group})
            ended = place.ended(list(jobs))  # before messages are read, of which none must be missed
            for handle, id, message in place.messages(list(jobs)):
                _hear(jobs[handle], id, message, listener)
            for handle, cause in ended.items():
                waiting += _again(jobs.pop(handle), cause, lost, listener)
    except (interruption.Interrupted, KeyboardInterrupt):
        if jobs:
            place.cancel(list(jobs))
        raise


def _hear(job: _Job, id: str, message: Message, listener: Listener) -> None:
    run = job.runs.get(id)
    if run is None:  # a job that goes on after an interruption tells again of what it had done
        return
    if message["event"] == "started":
        again = id in job.began
        job.began[id] = message["where"]
        if again:
            return
    if tell(message, run, listener):
        del job.runs[id]


def _again(job: _Job, cause: str, lost: dict[str, list[str]], listener: Listener) -> list[Run]:
    """Returns the runs of a lost job that are to be sent again; those that were lost too often have failed."""
    again = []
    for id, run in job.runs.items():
        if id in job.began or not job.began:  # of others it was no fault
            lost[id].append(job.began.get(id, "before it began"))
        if len(lost[id]) > RETRIES:
            places = "; ".join(lost[id])
            listener.failed(run, RunError(f"its worker was lost {len(lost[id])} times ({places}): {cause}"))
            continue
        if id in job.began or not job.began:
            where = f"on {job.began[id]}" if id in job.began else "before it began"
            count = f"time {len(lost[id])} of at most {RETRIES}"
            warnings.warn(f"{run}: its worker was lost {where}: {cause}; it is sent again, {count}", stacklevel=2)
        again.append(run)
    return again
