"""Runs sent to other machines: each is answered once, and a lost worker costs nothing but time."""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from outside import CHEAP, start
from planned import plan

from zslbench import interruption
from zslbench.api.engine import Listener
from zslbench.engines.messages import Message, answer, spaced
from zslbench.engines.ray import Ray
from zslbench.engines.sending import RETRIES, Place, fulfil_at
from zslbench.errors import UsageError
from zslbench.records.store import Store
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup
from zslbench.runs.request import Request

STARTING = """
import os, signal, sys

def is_initialized():
    return False

def init(**options):
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
    os.kill(os.getpid(), signal.SIGTERM)
"""
"""A Ray that is told to end while it starts."""


class Here(Place):
    """A cluster in this process, which executes a job when it is waited for; `deaths` says which jobs die, and when."""

    def __init__(self, store: Path, size: int = 1, room: int = 2, deaths: Mapping[int, int] | None = None) -> None:
        self.setup, self.job_size, self._room, self.deaths = Setup(store=store, device="cpu"), size, room, deaths or {}
        self.jobs: dict[int, Sequence[Run]] = {}
        self.sent: list[list[str]] = []
        self.kept: list[tuple[int, str, Message]] = []
        self.most, self.cancelled, self.interrupt = 0, list[int](), False

    def room(self, waiting: Sequence[Run], jobs: Sequence[int]) -> int:
        return max(0, self._room - len(jobs)) * self.job_size

    def send(self, jobs: Sequence[Sequence[Run]]) -> list[int]:
        handles = list(range(len(self.sent), len(self.sent) + len(jobs)))
        self.jobs |= dict(zip(handles, jobs, strict=True))
        self.sent += [[run.id for run in job] for job in jobs]
        self.most = max(self.most, len(self.jobs))
        return handles

    def ended(self, jobs: Sequence[int]) -> Mapping[int, str]:
        """Executes the first job; one that dies does so in the middle of a run, or before the first one."""
        if self.interrupt:
            raise KeyboardInterrupt
        handle = jobs[0]
        for number, run in enumerate(self.jobs.pop(handle)):
            if self.deaths.get(handle, len(self.sent)) < 0:
                break
            if number == self.deaths.get(handle):
                self.kept.append((handle, run.id, {"event": "started", "where": f"node {handle}"}))
                break
            last = answer(run.sent(), self.setup, lambda message, id=run.id: self.kept.append((handle, id, message)))  # type: ignore[misc]
            self.kept.append((handle, run.id, last))
        return {handle: "out of memory"}

    def messages(self, jobs: Sequence[int]) -> Iterator[tuple[int, str, Message]]:
        kept, self.kept = self.kept, []
        yield from json.loads(json.dumps(kept))  # as another process gets them

    def cancel(self, jobs: Sequence[int]) -> None:
        self.cancelled += jobs


def runs(count: int) -> list[Run]:
    [row] = plan(["devise:epochs=1"], ["digits"], Request(root=Path(), seeds=tuple(range(count)), calibrated=False))
    return row.runs


class Heard(Listener):
    """What a listener heard, in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []

        def hear(kind: str, run: Run, what: object) -> None:
            self.events.append((kind, f"{what}" if kind == "failed" else run.id))

        super().__init__(
            started=lambda run: hear("started", run, None),
            epoch=lambda run, progress: hear("epoch", run, progress),
            finished=lambda run, record: hear("finished", run, record),
            failed=lambda run, error: hear("failed", run, error),
        )

    def of(self, kind: str) -> list[str]:
        return [what for event, what in self.events if event == kind]


def test_each_run_begins_goes_on_and_ends_once_and_no_more_jobs_are_under_way_than_there_is_room_for(
    store: Path,
) -> None:
    place, wanted, heard = Here(store, room=3), runs(5), Heard()
    fulfil_at(place, wanted, heard)
    for kind in ("started", "epoch", "finished"):
        assert sorted(heard.of(kind)) == sorted(run.id for run in wanted)
    assert place.most == 3
    assert sorted(Store(store).ids()) == sorted(run.id for run in wanted)


def test_a_run_whose_worker_is_lost_is_sent_again_and_the_worker_is_named(store: Path) -> None:
    place, [run], heard = Here(store, deaths={0: 0, 1: 0}), runs(1), Heard()
    with pytest.warns(UserWarning) as told:
        fulfil_at(place, [run], heard)
    assert [str(one.message) for one in told] == [
        f"{run}: its worker was lost on node {job}: out of memory; it is sent again, time {job + 1} of at most 2"
        for job in (0, 1)
    ]
    assert (heard.of("finished"), heard.of("failed")) == ([run.id], [])


def test_a_run_that_loses_every_worker_fails_and_names_them(store: Path) -> None:
    place, heard = Here(store, deaths=dict.fromkeys(range(9), 0)), Heard()
    with pytest.warns(UserWarning, match="it is sent again"):
        fulfil_at(place, runs(1), heard)
    assert len(place.sent) == 1 + RETRIES
    assert heard.of("failed") == ["its worker was lost 3 times (node 0; node 1; node 2): out of memory"]


def test_of_the_runs_of_a_lost_job_only_the_one_under_way_counts_as_lost(store: Path) -> None:
    place, wanted, heard = Here(store, size=4, deaths=dict.fromkeys(range(RETRIES + 1), 1)), runs(4), Heard()
    with pytest.warns(UserWarning, match="it is sent again") as told:
        fulfil_at(place, wanted, heard)
    first, *others = (run.id for run in wanted)
    assert place.sent[:2] == [[first, *others], others]
    assert len(heard.of("finished")) == 4
    assert {str(one.message).split(":")[0] for one in told} <= {str(run) for run in wanted[1:]}


def test_a_job_lost_before_it_began_is_sent_again_at_most_twice(store: Path) -> None:
    place, heard = Here(store, size=2, deaths=dict.fromkeys(range(9), -1)), Heard()
    with pytest.warns(UserWarning, match="lost before it began"):
        fulfil_at(place, runs(2), heard)
    assert len(place.sent) == 3
    assert len(heard.of("failed")) == 2
    assert re.fullmatch(r"its worker was lost 3 times \(before .*\): out of memory", heard.of("failed")[0])


def test_interruption_cancels_the_jobs_under_way(store: Path) -> None:
    place = Here(store)
    place.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        fulfil_at(place, runs(4), Heard())
    assert place.cancelled == [0, 1]


def test_what_fails_or_warns_elsewhere_is_told_here(store: Path) -> None:
    [run] = runs(1)
    sent = json.loads(run.sent())
    sent["spec"]["fingerprint"] = "other"
    message = answer(json.dumps(sent), Setup(store=store, device="cpu"), lambda message: None)
    assert message["event"] == "failed"
    assert "changed between planning and running" in message["text"]
    assert warnings.showwarning.__module__ != "zslbench.engines.messages"


def test_epochs_are_left_out_that_follow_too_soon_and_nothing_else_is() -> None:
    told: list[Message] = []
    send = spaced(told.append, 1000)
    for event in ("started", "epoch", "epoch", "warning", "epoch", "finished"):
        send({"event": event})
    assert [message["event"] for message in told] == ["started", "epoch", "warning", "finished"]


def test_an_engine_that_is_not_installed_is_one_line(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"Ray is not installed; pip install 'zslbench\[ray\]'"):
        Ray().execute([], Setup(store=store), Listener())


def test_sigterm_while_ray_starts_which_makes_its_own_of_it_has_its_status(store: Path, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text(STARTING)
    process = start("run", "eszsl", *CHEAP, "--engine", "ray", path=tmp_path)
    assert process.communicate(timeout=60) == ("", f"zslbench: {interruption.MESSAGE}\n")
    assert process.returncode == 143
