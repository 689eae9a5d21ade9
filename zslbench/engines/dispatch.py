"""The dispatcher: it finds stored runs, hands the rest to an engine, and reports what happens."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from zslbench.api.engine import Engine, Listener
from zslbench.api.events import Event, OnEvent
from zslbench.api.params import read_pairs
from zslbench.api.progress import Progress
from zslbench.discovery.plugins import registry
from zslbench.errors import UsageError, ZSLBenchError, located
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, find
from zslbench.runs.provenance import outdated
from zslbench.runs.request import Existing
from zslbench.training import together

Outcomes = dict[str, RunRecord | Exception]


class Dispatcher:
    """Executes runs on one engine, and in this process what no other can find by its name."""

    def __init__(self, engine: str, jobs: int | None, on_event: OnEvent | None, setup: Setup) -> None:
        """Starts no process yet."""
        self._engine = _engine(engine, jobs)
        self._inline: Engine = registry().resolve("engine", "inline", Engine)(1)
        self._on_event, self._setup = on_event, setup
        self._out: TextIO | None = None

    @property
    def stacks(self) -> bool:
        """Whether trials may be trained as one."""
        return self._setup.stack != 1 and self._engine.stacks

    def close(self) -> None:
        """Ends the processes that the engine keeps."""
        with redirect_stdout(sys.stderr):
            self._engine.close()

    def execute(
        self,
        runs: list[Run],
        status: str = "",
        *,
        store: Store,
        existing: Existing,
        errors: dict[str, Exception] | None = None,
        evaluators: tuple[str, ...] = (),
    ) -> Outcomes:
        """Executes runs, and returns what came of each by id; nothing for those that were only wanted if stored.

        Failures are added to `errors`; where there are none, these are trials, whose failures their search's log tells,
        and `status` says where that stands. `evaluators` are those wanted that measure on request alone.
        """
        outcomes: Outcomes = {}
        stored: list[RunRecord] = []
        trials, errors = errors is None, {} if errors is None else errors
        changes: dict[str, Any] = {"store": store.root.absolute(), "folder": Path.cwd()}
        changes |= {"existing": existing, "evaluators": evaluators}
        if self._setup.stack == "auto" and not trials:
            changes["stack"] = 1  # final runs are alone unless asked otherwise
        setup = self._setup.model_copy(update=changes)
        distinct = list({run.id: run for run in runs}.values())

        def finished(run: Run, record: RunRecord, stored: bool = False) -> None:
            outcomes[run.id] = record
            self._tell(Event("finished", run=run, record=record, stored=stored))

        def failed(run: Run, error: Exception) -> None:
            kept = error if isinstance(error, ZSLBenchError) else _wrapped(error, run)
            outcomes[run.id] = errors[str(run) if str(run) not in errors else f"{run} ({run.id})"] = kept
            self._tell(Event("failed", run=run, error=error))

        def epoch(run: Run, progress: Progress) -> None:
            self._tell(Event("epoch", run=run, progress=progress))

        self._tell(Event("began", text=status, total=len(distinct), trials=trials))
        self._out = sys.stdout
        try:
            with redirect_stdout(sys.stderr):  # methods and engines may print
                for run in distinct:  # what is stored needs no engine, whose processes take seconds to start
                    if record := find(run, setup):
                        stored.append(record)
                        finished(run, record, stored=True)
                missing = [run for run in distinct if run.id not in outcomes and existing != "only-cached"]
                if missing:
                    store.prepare()
                listener = Listener(lambda run: self._tell(Event("started", run=run)), epoch, finished, failed)
                for engine, own in self._engines(missing).items():
                    engine.execute(own, setup, listener)
        finally:
            self._out = None
            self._tell(Event("ended", total=len(distinct), trials=trials))
        if stored and not trials:
            self.say(f"{len(stored)} of {len(distinct)} runs were stored already")
        self.say(*outdated(stored))
        return outcomes

    def _engines(self, runs: list[Run]) -> dict[Engine, list[Run]]:
        """Returns which engine executes which runs: other processes cannot find what exists in this one alone."""
        named = [run for run in runs if run.entrant.named]
        own = [run for run in runs if not run.entrant.named]
        if together.launched_together() and own:
            raise UsageError("processes that train together find methods and data sets by their names alone")
        return {engine: some for engine, some in ((self._engine, named), (self._inline, own)) if some}

    def say(self, *lines: str) -> None:
        """Tells lines for people."""
        for line in lines:
            self._tell(Event("said", text=line))

    def _tell(self, event: Event) -> None:
        if self._on_event is not None:
            with redirect_stdout(self._out or sys.stdout):  # what the listener prints is meant to be seen
                self._on_event(event)


def _engine(asked: str, jobs: int | None) -> Engine:
    """Returns the engine that is asked for as `NAME` or `NAME:OPTION=VALUE,...`."""
    name, colon, tail = asked.partition(":")
    kind = registry().resolve("engine", name, Engine)
    engine: Engine = kind() if jobs is None else kind(jobs)
    if colon:
        owner = f"engine {name!r}"
        values = read_pairs(tail.split(","), f"{owner}: option")
        engine.options = type(engine.options).parse(values, owner, "option")
    return engine


def _wrapped(error: Exception, run: Run) -> ZSLBenchError:
    method = run.entrant.entry.file or run.spec.method
    hint = f" (--debug shows where; `zslbench check {method}` may too)" if run.entrant.entry.given is None else ""
    wrapped = ZSLBenchError(f"{located(error)}{hint}")
    wrapped.__cause__ = error
    return wrapped
