"""Progress on a terminal and without one."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from planned import plan
from rich.console import Console
from zslbench.cli.progress import Display, describe

from zslbench import Progress
from zslbench.api.engine import Listener
from zslbench.errors import RunError
from zslbench.runs.entrant import Run
from zslbench.runs.request import Request

HALF = Progress("train", 5, 10, {"cls": 0.25, "adv": 1.5}, 3.0, step=5)


@pytest.fixture
def jobs() -> list[Run]:
    [row] = plan(["devise"], ["digits"], Request(root=Path(), seeds=(0, 1)))
    return row.runs


def show(display: Display, jobs: list[Run]) -> str:
    """Lets two runs go on at once, one of which fails; returns what was shown."""
    display.console = Console(file=StringIO(), force_terminal=display.moving, width=200, highlight=False)
    with display.over(jobs) as listener:
        tell(listener, jobs)
    assert isinstance(display.console.file, StringIO)
    return display.console.file.getvalue()


def tell(listener: Listener, jobs: list[Run]) -> None:
    for job in jobs:
        listener.started(job)
    for job in jobs:
        listener.epoch(job, HALF)
    listener.failed(jobs[0], RunError("loss 'cls' became NaN"))
    listener.failed(jobs[1], ValueError("first line\nsecond line"))


def test_the_time_left_is_what_the_epochs_so_far_took_scaled_to_those_to_come() -> None:
    assert describe(HALF) == "train epoch 5/10, 3 s left, cls 0.25, adv 1.5"


def test_images_that_are_prepared_are_no_epochs() -> None:
    assert describe(Progress("images", 30, 120, {}, 2.0, step=0)) == "images 30/120, 6 s left"


def test_a_run_with_a_preset_is_called_by_it_and_by_what_was_given_beside_it() -> None:
    rows = plan(["spaen@paper", "spaen@paper:epochs=3,beta=0.5"], ["digits"], Request(root=Path()))
    jobs = [job for row in rows for job in row.runs]
    shown = show(Display(plain=True), jobs)
    assert "[1/2] spaen@paper on digits, seed 0: failed" in shown
    assert "[2/2] spaen@paper epochs=3 beta=0.5 on digits, seed 0: failed" in shown


def test_without_a_terminal_there_are_plain_lines(jobs: list[Run]) -> None:
    shown = show(Display(plain=True), jobs)
    assert "\x1b" not in shown
    assert [line for line in shown.splitlines() if "failed" in line] == [
        "[1/2] devise on digits, seed 0: failed: loss 'cls' became NaN",
        "[2/2] devise on digits, seed 1: failed: ValueError: first line",
    ]


def test_on_a_terminal_runs_side_by_side_have_a_bar_each_and_none_stays(jobs: list[Run]) -> None:
    display = Display(plain=False)
    display.moving = True
    shown = show(display, jobs)
    for seed in (0, 1):
        assert f"devise on digits, seed {seed}: failed" in shown
    display.console = Console(file=StringIO(), force_terminal=True, width=200)
    with display.over(jobs) as listener:
        for job in jobs:
            listener.started(job)
            listener.epoch(job, HALF)
        bars = listener.started.__closure__
        [view] = [cell.cell_contents for cell in bars or () if type(cell.cell_contents).__name__ == "_Bars"]
        assert [task.description for task in view.bar.tasks] == [
            "runs",
            *(f"devise on digits, seed {s}" for s in (0, 1)),
        ]
        for job in jobs:
            listener.failed(job, RunError("over"))
        assert [task.description for task in view.bar.tasks] == ["runs"]


def test_errors_of_plugins_are_kept_as_errors_of_ours_with_their_cause(jobs: list[Run]) -> None:
    display = Display(plain=True)
    show(display, jobs)
    known, unknown = display.errors.values()
    assert str(known) == "loss 'cls' became NaN"
    assert str(unknown) == "ValueError: first line (--debug shows where; `zslbench check devise` may too)"
    assert isinstance(unknown.__cause__, ValueError)
