"""A command that dies before any of its file operations, or meets a full disk there, finishes when it is issued again.

The operations are those that change a file or folder of the store, of the cache, or of what is made. Some are tried;
all with ZSLBENCH_CRASH_POINTS=1000.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

import pytest
from faults.imports import write as write_layout
from faults.injected import DIED, Injector
from faults.kinds import Answer, bench, cli, compared, loaded, toy, write_toy
from faults.sources import write_images, write_scores
from faults.stored import METHODS, searched, with_checkpoints
from faults.trial import Outcome, outcome_of

pytestmark = pytest.mark.usefixtures("forks")

FEW, MANY = 3, int(os.environ.get("ZSLBENCH_CRASH_POINTS", "20"))
"""Operations of a command that are tried, at most and spread over all of them: where time is short, and else."""


def _run(work: Path) -> Answer:
    with with_checkpoints():
        return compared(work, METHODS)


def _reported(work: Path) -> Answer:
    """Runs, and writes the page of what is stored, which must be whole."""
    answer = _run(work)
    page = work / "report.html"
    cli("report", "--store", work / "store", "--out", page)
    text = page.read_text(encoding="utf-8")
    return {**answer, "page": [text.count("<h2>"), text.endswith("</html>\n")]}


def _extracted(work: Path) -> Answer:
    """Builds a data set from images, going on with what an attempt has left."""
    how = ["--images", work / "images", "--attributes", work / "attributes.csv", "--backbone", "pixels"]
    cli("data", "build", work / "built", *how, "--plain", "--device", "cpu", "--batch-size", 8)
    return {path.name: path.read_bytes().hex() for path in sorted((work / "built").glob("*.mat"))}


def _evaluate_and_keep(work: Path) -> Answer:
    cli("evaluate", work / "scores.npz", "--dataset", toy(work), "--save", "--name", "mine", "--plain")
    return compared(work, ["external:mine"])


def _make_export(work: Path) -> None:
    write_toy(work)
    compared(work, METHODS)
    bench(work).export(work / "runs.zip")
    shutil.rmtree(work / "store")


def _imported(work: Path) -> Answer:
    """Takes over runs, which the command that would make them then finds."""
    problems = [one.problem for one in bench(work).import_runs(work / "runs.zip") if one.problem]
    return {"problems": problems, **compared(work, METHODS, existing="only-cached")}


def _import_and_load(work: Path) -> Answer:
    """Imports features; what there is already is as it was made."""
    words = (work / "words.txt").read_text().splitlines()
    files = [word if word.startswith("--") else work / word for word in words]
    cli("data", "import", *files, "--as", work / "made", "--plain")
    return {path.name: path.read_bytes().hex() for path in sorted((work / "made").iterdir())}


COMMANDS: dict[str, tuple[Callable[[Path], object], Callable[[Path], Answer]]] = {
    "run": (write_toy, _run),
    "report": (write_toy, _reported),
    "tune": (write_toy, searched),
    "cache": (write_toy, loaded),
    "extract": (write_images, _extracted),
    "import": (_make_export, _imported),
    "data-import": (partial(write_layout, name="python-hdf5"), _import_and_load),
    "data-import-shards": (partial(write_layout, name="tar-shards"), _import_and_load),
    "evaluate": (partial(write_scores, kind=".npz"), _evaluate_and_keep),
}


class Attempts:
    """A command in fresh folders, undisturbed and disturbed."""

    def __init__(self, folder: Path, name: str, how: Literal["die", "full"]) -> None:
        self.make, self.act = COMMANDS[name]
        self.work, self.base, self.log = folder / "work", folder / "base", folder / "count"
        self.how = how
        self.work.mkdir()
        made = outcome_of(self.make, self.work)
        assert made.exit == 0 and not made.error, made
        shutil.copytree(self.work, self.base)
        self.sound = self.disturbed(0)
        assert self.sound.exit == 0 and not self.sound.error, self.sound
        self.files = files(self.work)
        self.operations = int(self.log.read_text())
        assert self.operations > FEW

    def some(self, count: int) -> list[int]:
        """Returns the numbers of some operations: the first, the last, and others between."""
        return sorted({1 + i * (self.operations - 1) // (count - 1) for i in range(count)})

    def fresh(self) -> None:
        shutil.rmtree(self.work)
        shutil.copytree(self.base, self.work)

    def disturbed(self, at: int) -> Outcome:
        """Issues the command in a fresh folder, and disturbs it at an operation."""
        if at:
            self.fresh()
        return outcome_of(self.act, self.work, Injector(self.work, at, self.how, self.log).install)

    def check_finishes(self, at: int) -> None:
        """Issues it again, undisturbed: it ends as if nothing had been, and what was finished is not done again."""
        runs = [] if self.act is _evaluate_and_keep else self.work.glob("store/runs/*/record.json")
        before = {path: path.read_bytes() for path in runs}
        again = outcome_of(self.act, self.work)
        told = f"{self.how} at operation {at} of {self.operations}"
        assert again.exit == 0 and not again.error, f"{told}: issued again: {again}"
        assert again.answer == self.sound.answer, told
        assert files(self.work) == self.files, told
        assert all(path.read_bytes() == content for path, content in before.items()), f"{told}: a run was repeated"


def files(work: Path) -> set[str]:
    """Returns the files below a folder but for locks."""
    found = {path.relative_to(work) for path in work.rglob("*") if path.is_file() and path.suffix != ".lock"}
    return {str(path) for path in found if "index" not in path.parts}  # whether these are written depends on the clock


def check_crashes(folder: Path, name: str, count: int) -> None:
    attempts = Attempts(folder, name, "die")
    for at in attempts.some(count):
        assert attempts.disturbed(at).exit in (DIED, 0), f"operation {at}"
        attempts.check_finishes(at)


def check_full_disk(folder: Path, name: str, count: int) -> None:
    attempts = Attempts(folder, name, "full")
    for at in attempts.some(count):
        outcome = attempts.disturbed(at)
        told = f"the disk is full from operation {at} of {attempts.operations} on"
        assert outcome.exit == 0 and (outcome.clean or not outcome.error), f"{told}: {outcome}"
        assert outcome.error or outcome.answer == attempts.sound.answer, told
        left = [path for path in files(attempts.work) if path.endswith(".part")]
        assert not left, f"{told}: {left[0]} is left and keeps it full"
        attempts.check_finishes(at)


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_some_operations_it_finishes_when_issued_again(tmp_path: Path, name: str) -> None:
    check_crashes(tmp_path, name, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_many_operations_it_finishes_when_issued_again(tmp_path: Path, name: str) -> None:
    check_crashes(tmp_path, name, MANY)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_at_some_operations_is_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    check_full_disk(tmp_path, name, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_at_many_operations_is_one_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    check_full_disk(tmp_path, name, MANY)
