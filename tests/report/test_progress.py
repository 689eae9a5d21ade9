"""Progress on a terminal and without one."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from planned import plan
from rich.console import Console

from zslbench import Bench, Embedder, Event, Params, ProblemShape, Progress, TrainView
from zslbench.errors import RunError
from zslbench.report.progress import Display, _Bars, _Cell, _Lines, describe
from zslbench.runs.entrant import Run
from zslbench.runs.request import Request

HALF = Progress("train", 5, 10, {"cls": 0.25, "adv": 1.5}, 3.0, step=5)


@pytest.fixture
def runs() -> list[Run]:
    [row] = plan(["devise"], ["digits"], Request(root=Path(), seeds=(0, 1)))
    return row.runs


def show(runs: list[Run], *, moving: bool = False) -> str:
    """Lets two runs go on at once that fail; returns what was shown."""
    display = Display(plain=not moving)
    display.kind = _Bars if moving else _Lines
    display.console = Console(file=StringIO(), force_terminal=moving, width=200, highlight=False)
    display(Event("began", total=len(runs)))
    for run in runs:
        display(Event("started", run=run))
    for run in runs:
        display(Event("epoch", run=run, progress=HALF))
    display(Event("failed", run=runs[0], error=RunError("loss 'cls' became NaN")))
    display(Event("failed", run=runs[1], error=ValueError("first line\nsecond line")))
    display(Event("ended"))
    assert isinstance(display.console.file, StringIO)
    return display.console.file.getvalue()


def test_the_time_left_is_what_the_epochs_so_far_took_scaled_to_those_to_come() -> None:
    assert describe(HALF) == "train epoch 5/10, 3 s left, cls 0.25, adv 1.5"


def test_images_that_are_prepared_are_no_epochs() -> None:
    assert describe(Progress("images", 30, 120, {}, 2.0, step=0)) == "images 30/120, 6 s left"


def test_a_run_with_a_preset_is_called_by_it_and_by_what_was_given_beside_it() -> None:
    rows = plan(["spaen@paper", "spaen@paper:epochs=3,beta=0.5"], ["digits"], Request(root=Path()))
    shown = show([run for row in rows for run in row.runs])
    assert "[1/2] spaen@paper on digits, seed 0: failed" in shown
    assert "[2/2] spaen@paper epochs=3 beta=0.5 on digits, seed 0: failed" in shown


def test_without_a_terminal_there_are_plain_lines(runs: list[Run]) -> None:
    shown = show(runs)
    assert "\x1b" not in shown
    assert [line for line in shown.splitlines() if "failed" in line] == [
        "[1/2] devise on digits, seed 0: failed: loss 'cls' became NaN",
        "[2/2] devise on digits, seed 1: failed: ValueError: first line",
    ]


def test_on_a_terminal_runs_side_by_side_have_a_bar_each_and_none_stays(runs: list[Run]) -> None:
    shown = show(runs, moving=True)
    for seed in (0, 1):
        assert f"devise on digits, seed {seed}: failed" in shown
    display = Display()
    display.kind, display.console = _Bars, Console(file=StringIO(), force_terminal=True, width=200)
    display(Event("began", total=2))
    for run in runs:
        display(Event("started", run=run))
        display(Event("epoch", run=run, progress=HALF))
    bar = display.view.bar  # type: ignore[union-attr]
    names = [f"devise on digits, seed {seed}" for seed in (0, 1)]
    assert [task.description for task in bar.tasks] == ["runs", *names]
    for run in runs:
        display(Event("failed", run=run, error=RunError("over")))
    assert [task.description for task in bar.tasks] == ["runs"]
    display(Event("ended"))
    assert display.view is None


class Broken(Embedder[Params]):
    def solve(self, view: TrainView) -> None:
        raise ValueError("first line\nsecond line")

    def build(self, shape: ProblemShape) -> None: ...


class Line:
    """What `IPython.display.display` returns: something shown that can be shown again."""

    def __init__(self, content: dict[str, str], **_: bool) -> None:
        self.texts = [content["text/plain"]]

    def update(self, content: dict[str, str], **_: bool) -> None:
        self.texts.append(content["text/plain"])


def test_in_a_notebook_one_line_replaces_itself_and_failures_stay(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Line] = []

    def display(content: dict[str, str], **how: bool) -> Line:
        shown.append(Line(content, **how))
        return shown[-1]

    monkeypatch.setattr("IPython.display.display", display)
    console = Console(file=StringIO(), width=200)
    cell = _Cell(console, 2, quiet=False)
    for run, result in zip(runs, ["AUSUC 19.8 in 0.1 s", "failed: loss 'cls' became NaN"], strict=True):
        cell.started(str(run))
        cell.ended(str(run), result)
    cell.close()
    [line] = shown
    assert line.texts == [
        "[1/2] devise on digits, seed 0",
        "[2/2] devise on digits, seed 1",
        "1 of 2 runs done, 1 failed",
    ]
    assert isinstance(console.file, StringIO)
    assert console.file.getvalue() == "devise on digits, seed 1: failed: loss 'cls' became NaN\n"


def test_a_notebook_says_nothing_of_trials_and_of_what_is_stored(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("IPython.display.display", None)
    for quiet in (True, False):
        cell = _Cell(Console(file=StringIO()), 2, quiet=quiet)
        for run in runs:
            if quiet:
                cell.started(str(run))
            cell.ended(str(run), "")
        cell.close()


def test_errors_of_plugins_are_kept_as_errors_of_ours_with_their_cause(tmp_path: Path) -> None:
    results = Bench(store=tmp_path, on_event=None).compare([Broken], dataset="digits", seeds=1)
    [unknown] = results.errors.values()
    assert str(unknown).startswith("ValueError: first line (") and "test_progress.py, line" in str(unknown)
    assert "zslbench check" not in str(unknown)  # no command knows this class
    assert isinstance(unknown.__cause__, ValueError)


def test_a_search_says_where_it_stands_and_nothing_of_its_trials(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Lines, "every", 0.0)
    for kind in (_Lines, _Bars):
        out = StringIO()
        display = Display()
        display.kind, display.console = kind, Console(file=out, force_terminal=kind is _Bars, width=120)
        where = "trials 5 to 8 of 16, fold 2 of 3, best AUSUC 60.3, about 12 s left"
        display(Event("began", text=where, total=4, trials=True))
        display(Event("started", run=runs[0]))
        display(Event("epoch", run=runs[0], progress=HALF))
        display(Event("ended", total=4, trials=True))
        assert where in out.getvalue() and "devise" not in out.getvalue()
        assert ("0 of 4 fits done" in out.getvalue()) == (kind is _Lines)
