"""Progress on standard error: a moving bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from zslbench.api.progress import Progress
from zslbench.engines.base import Listener
from zslbench.errors import ZSLBenchError, one_line
from zslbench.records.record import RunRecord
from zslbench.report.summary import shown_metrics
from zslbench.runs.execute import Job

SECONDS_BETWEEN_LINES = 5.0


class Display:
    """Shows runs as they go, and keeps what came of them."""

    def __init__(self, *, plain: bool) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.moving = not plain and sys.stderr.isatty()
        self.records: dict[str, RunRecord] = {}
        self.errors: dict[str, Exception] = {}

    def say(self, line: str) -> None:
        """Prints one line."""
        self.console.print(line, markup=False)

    @contextmanager
    def over(self, jobs: list[Job], *, quiet: bool = False) -> Iterator[Listener]:
        """Shows the progress of these runs while the context lasts; if `quiet`, by bars alone."""
        view = _Bars(self.console, len(jobs), quiet) if self.moving else _Lines(self, len(jobs), quiet)
        begun: set[str] = set()

        def started(job: Job) -> None:
            begun.add(job.spec.id)
            view.started(_name(job))

        def finished(job: Job, record: RunRecord) -> None:
            self.records[job.spec.id] = record
            self.errors.pop(job.spec.id, None)
            view.ended(_name(job), _result(record) if job.spec.id in begun else "")

        def failed(job: Job, error: Exception) -> None:
            text = one_line(error)
            self.errors[job.spec.id] = error if isinstance(error, ZSLBenchError) else _wrapped(text, error, job)
            view.ended(_name(job), f"failed: {text}")

        with view:
            yield Listener(started, lambda job, progress: view.epoch(_name(job), progress), finished, failed)
        reused = sum(job.spec.id in self.records and job.spec.id not in begun for job in jobs)
        if reused and not quiet:
            self.say(f"{reused} of {len(jobs)} runs were stored already")


class _Lines:
    """Plain lines: one when a run starts and ends, and one every few seconds in between."""

    def __init__(self, display: Display, total: int, quiet: bool) -> None:
        self.display, self.total, self.quiet, self.done, self.last = display, total, quiet, 0, 0.0

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def started(self, name: str) -> None:
        self.last = time.monotonic()
        if not self.quiet:
            self.display.say(f"[{self.done + 1}/{self.total}] {name}")

    def epoch(self, name: str, progress: Progress) -> None:
        if not self.quiet and time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            self.display.say(f"[{self.done + 1}/{self.total}] {name}: {describe(progress)}")

    def ended(self, name: str, result: str) -> None:
        self.done += 1
        if result and not self.quiet:
            self.display.say(f"[{self.done}/{self.total}] {name}: {result}")


class _Bars:
    """A bar over all runs, and one over the epochs of each run under way."""

    def __init__(self, console: Console, total: int, quiet: bool) -> None:
        columns = (
            SpinnerColumn(),
            BarColumn(16, table_column=Column(min_width=16)),
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[detail]}", table_column=Column(no_wrap=True, ratio=1)),
        )
        self.bar = Bar(*columns, console=console, transient=True, expand=True)
        self.runs = self.bar.add_task("runs", total=total, detail=f"0/{total}")
        self.total, self.quiet, self.done = total, quiet, 0
        self.current: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def started(self, name: str) -> None:
        self.current[name] = self.bar.add_task(name, total=None, detail="")

    def epoch(self, name: str, progress: Progress) -> None:
        if name in self.current:
            detail = describe(progress)
            self.bar.update(self.current[name], completed=progress.epoch, total=progress.epochs, detail=detail)

    def ended(self, name: str, result: str) -> None:
        self.done += 1
        self.bar.update(self.runs, completed=self.done, detail=f"{self.done}/{self.total}")
        if name in self.current:
            self.bar.remove_task(self.current.pop(name))
        if result and not self.quiet:
            self.bar.console.print(f"{name}: {result}", markup=False)


def describe(progress: Progress) -> str:
    """Returns epoch, the time left in this stage, and the losses, which a narrow terminal may cut.

    Before the first step, what is counted is images that are prepared.
    """
    losses = ", ".join(f"{name} {value:.3g}" for name, value in progress.losses.items())
    left = progress.seconds / progress.epoch * (progress.epochs - progress.epoch)
    unit = " epoch" if progress.step else ""
    return f"{progress.stage}{unit} {progress.epoch}/{progress.epochs}, {left:.0f} s left, {losses}".removesuffix(", ")


def _name(job: Job) -> str:
    values = {name: f"{v:.4g}" if isinstance(v, float) else v for name, v in job.spec.params.items()}
    changed = "".join(f" {name}={value}" for name, value in values.items())
    preset, _, given = job.params_from.partition(" + given ")
    if preset.startswith("preset "):  # its name says what all its values would
        changed = f"@{preset.removeprefix('preset ').partition(':')[0]} {given}".rstrip()
    return f"{job.spec.method}{changed} on {job.spec.dataset}, seed {job.spec.seed}"


def _result(record: RunRecord) -> str:
    shown = [f"{m.title} {m.text(record.metrics[m.name])}" for m in shown_metrics([record]) if m.name in record.metrics]
    seconds = record.training.seconds + record.training.seconds_validation if record.training else 0.0
    return f"{', '.join(shown)} in {seconds:.1f} s"


def _wrapped(text: str, error: Exception, job: Job) -> ZSLBenchError:
    method = job.method_file or job.spec.method
    wrapped = ZSLBenchError(f"{text} (--debug shows where; `zslbench check {method}` may too)")
    wrapped.__cause__ = error
    return wrapped
