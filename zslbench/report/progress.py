"""Progress: moving bars in a terminal, a line that replaces itself in a notebook, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column

from zslbench.api.events import Event
from zslbench.api.progress import Progress
from zslbench.errors import one_line, printable
from zslbench.records.record import RunRecord
from zslbench.report.rows import shown_metrics

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_UPDATES = 0.2


class Display:
    """Shows what a bench tells, call by call."""

    def __init__(self, *, plain: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.kind: type[_Lines | _Bars] = _Lines
        if not plain:
            self.kind = _Cell if self.console.is_jupyter else _Bars if sys.stderr.isatty() else _Lines
        self.view: _Lines | _Bars | None = None

    def __call__(self, event: Event) -> None:
        """Shows one event."""
        view, name = self.view, printable(str(event.run))
        if event.kind == "said":
            self.say(event.text)
        elif event.kind == "began":
            self.view = self.kind(self.console, event.total, event.text, quiet=event.trials)
        elif view is None:
            return
        elif event.kind == "ended":
            view.close()
            self.view = None
        elif event.kind == "started":
            view.started(name)
        elif event.progress is not None:
            view.epoch(name, event.progress)
        elif event.record is not None:
            view.ended(name, "" if event.stored else _result(event.record))
        elif event.error is not None:
            view.ended(name, f"failed: {one_line(event.error)}")

    def say(self, line: str) -> None:
        """Prints one line."""
        self.console.print(printable(line), markup=False)


class _Lines:
    """Plain lines: one when a run starts and ends, and one every few seconds in between.

    If `quiet`, where the search stands every few seconds, and nothing else.
    """

    every = SECONDS_BETWEEN_LINES
    last = 0.0
    """When a line was printed, by any view: rounds of a search may be shorter than the time between lines."""

    def __init__(self, console: Console, total: int, status: str = "", *, quiet: bool) -> None:
        self.console, self.total, self.status, self.quiet, self.done = console, total, status, quiet, 0

    def close(self) -> None:
        pass

    def started(self, name: str) -> None:
        self._line(self.done + 1, name)

    def epoch(self, name: str, progress: Progress) -> None:
        if time.monotonic() - _Lines.last >= self.every:
            where = f"{self.status}: {self.done} of {self.total} fits done"
            self._line(self.done + 1, f"{name}: {describe(progress)}", where)

    def ended(self, name: str, result: str) -> None:
        self.done += 1
        if result:
            self._line(self.done, f"{name}: {result}")

    def _line(self, number: int, text: str, quietly: str = "") -> None:
        """Shows a text, or another one, if there is one, where a search is quiet about its trials."""
        if shown := quietly if self.quiet else f"[{number}/{self.total}] {text}":
            _Lines.last = time.monotonic()
            self._show(shown)

    def _show(self, text: str) -> None:
        self.console.print(printable(text), markup=False)


class _Cell(_Lines):
    """One line below a notebook's cell that replaces itself; a line stays for each run that fails, unless `quiet`."""

    every = SECONDS_BETWEEN_UPDATES
    failed = 0
    line: Any = None

    def close(self) -> None:
        if self.line is not None:
            failed = f", {self.failed} failed" if self.failed else ""
            self._show(f"{self.done} of {self.total} runs done{failed}")

    def ended(self, name: str, result: str) -> None:
        if not result.startswith("failed"):
            self.done += 1
            return
        self.failed += 1
        if not self.quiet:
            self.console.print(printable(f"{name}: {result}"), markup=False)

    def _show(self, text: str) -> None:
        from IPython.display import display  # there is one: this is a notebook

        content = {"text/plain": printable(text)}
        if self.line is None:
            self.line = display(content, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.line.update(content, raw=True)


class _Bars:
    """A bar over all runs, and one over the epochs of each run under way."""

    def __init__(self, console: Console, total: int, status: str = "", *, quiet: bool) -> None:
        name = Column(no_wrap=True, max_width=max(8, console.width // 2 - 10), overflow="ellipsis")
        columns = (
            SpinnerColumn(),
            BarColumn(8, table_column=Column(min_width=8)),
            TextColumn("{task.description}", markup=False, table_column=name),
            TextColumn("{task.fields[detail]}", markup=False, table_column=Column(no_wrap=True, ratio=1)),
        )
        self.bar = Bar(*columns, console=console, transient=True, expand=True)
        self.total, self.status, self.quiet, self.done = total, status, quiet, 0
        self.runs = self.bar.add_task("search" if status else "runs", total=total, detail=self._count())
        self.current: dict[str, TaskID] = {}
        self.bar.start()

    def close(self) -> None:
        self.bar.stop()

    def started(self, name: str) -> None:
        self.current[name] = self.bar.add_task("fit" if self.quiet else name, total=None, detail="")

    def epoch(self, name: str, progress: Progress) -> None:
        if name in self.current:
            detail = printable(describe(progress))
            self.bar.update(self.current[name], completed=progress.epoch, total=progress.epochs, detail=detail)

    def ended(self, name: str, result: str) -> None:
        self.done += 1
        self.bar.update(self.runs, completed=self.done, detail=self._count())
        if name in self.current:
            self.bar.remove_task(self.current.pop(name))
        if result and not self.quiet:
            self.bar.console.print(printable(f"{name}: {result}"), markup=False)

    def _count(self) -> str:
        return self.status or f"{self.done}/{self.total}"


def describe(progress: Progress) -> str:
    """Returns epoch, the time left in this stage, and the losses, which a narrow terminal may cut.

    Before the first step, what is counted is images that are prepared.
    """
    losses = ", ".join(f"{name} {value:.3g}" for name, value in progress.losses.items())
    left = progress.seconds / progress.epoch * (progress.epochs - progress.epoch)
    unit = " epoch" if progress.step else ""
    return f"{progress.stage}{unit} {progress.epoch}/{progress.epochs}, {left:.0f} s left, {losses}".removesuffix(", ")


def _result(record: RunRecord) -> str:
    shown = [f"{m.title} {m.text(record.metrics[m.name])}" for m in shown_metrics([record]) if m.name in record.metrics]
    seconds = record.training.seconds + record.training.seconds_validation if record.training else 0.0
    return f"{', '.join(shown)} in {seconds:.1f} s"


@contextmanager
def image_progress(plain: bool) -> Iterator[Callable[[int, int], None]]:
    """Shows how many images are done: a bar on a terminal, a line every few seconds elsewhere."""
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    moving = not plain and sys.stderr.isatty()
    last = time.monotonic()
    with Bar(*columns, console=Console(stderr=True), disable=not moving, transient=True) as bar:
        task = bar.add_task("images", total=None)

        def show(done: int, total: int) -> None:
            nonlocal last
            bar.update(task, completed=done, total=total)
            if not moving and time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                print(f"images {done}/{total}", file=sys.stderr, flush=True)

        yield show
