"""Signals: one line and its exit status, no process left, and the same command ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from outside import command, distribution_of_methods, start

from zslbench.records.store import Store
from zslbench.training.checkpoint import load_checkpoint

LINE = "zslbench: interrupted; the same command goes on where this one stopped"
STATUS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 143}
METHODS = """
    from zslbench import MethodCard
    def zslbench_register(registry):
        for name in ("waiting", "deaf"):
            registry.method(name, f"waiting_classes:{name.capitalize()}", MethodCard(title=name, paper="none"))
    """
CLASSES = """
import os, time
from pathlib import Path
import torch
from torch import nn
from zslbench import Embedder, GradientParams, Params

FOLDER = Path(__file__).parent
HERE = FOLDER / "here"

def pause(place):
    '''Says once that this place is reached, and stays there while the test wants it to.'''
    if (FOLDER / "place").exists() and (FOLDER / "place").read_text() == place:
        (FOLDER / f"{os.getpid()}.pid").touch()
        HERE.touch()
        time.sleep(0.02 if place == "training" else 0.2)

class Waiting(Embedder[GradientParams]):
    def build(self, shape):
        self.net = nn.Linear(shape.features, shape.attributes)
        self.drop = nn.Dropout(0.2)
    def loss(self, batch):
        return (self.net(self.drop(batch.x)) - batch.s).square().mean()
    def epoch_ended(self, view, epoch):
        with (FOLDER / "epochs").open("a") as file:
            print(epoch, file=file)
        pause("training")
    def embed(self, x):
        pause("evaluation")
        return self.net(x)

class Deaf(Embedder[Params]):
    '''Lets nothing that interrupts it through.'''
    def build(self, shape):
        self.shape = shape
    def solve(self, view):
        while (FOLDER / "place").exists():
            try:
                pause("solving")
            except BaseException:
                pass
    def embed(self, x):
        return torch.zeros(len(x), self.shape.attributes)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a plugin whose methods wait where the file `place` says, after they have touched `here`."""
    return distribution_of_methods(tmp_path / "methods", "waiting", METHODS, CLASSES)


def arguments(method: str, jobs: int) -> list[object]:
    return ["compare", method, "-d", "digits", "--seeds", jobs, "--device", "cpu", "--jobs", jobs, "--json"]


def reached(process: subprocess.Popen[str], path: Path) -> None:
    """Waits until a method has said where it is."""
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)


def obeying(process: subprocess.Popen[str]) -> None:
    """Waits until a process handles signals, in the middle of what it imports."""
    mask = 1 << (signal.SIGTERM - 1)
    while not int(Path(f"/proc/{process.pid}/status").read_text().split("SigCgt:")[1].split()[0], 16) & mask:
        assert process.poll() is None
        time.sleep(0.002)


def send(process: subprocess.Popen[str], name: str, target: str) -> None:
    if target == "group":
        os.killpg(process.pid, getattr(signal, name))
    else:
        process.send_signal(getattr(signal, name))


def ended(process: subprocess.Popen[str], name: str, folder: Path) -> None:
    """Checks what an interrupted command leaves: its status, one line, no output, and none of its processes."""
    out, err = process.communicate(timeout=30)
    assert process.returncode == STATUS[name], err
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("[")]  # but for those of progress
    assert lines == [LINE]
    for pid in (int(path.stem) for path in folder.glob("*.pid")):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def records(out: str) -> dict[str, Any]:
    return {run["id"]: (run["metrics"], run["arrays"], run["training"]["losses"]) for run in json.loads(out)["runs"]}


def whole(store: Path) -> None:
    opened = Store(store, create=False)
    for record in opened.records():
        assert opened.arrays(record)


def interrupted(folder: Path, name: str, target: str, jobs: int, place: str) -> None:
    """Interrupts a command at a place, issues it again, and compares with one that was left alone."""
    asked = arguments("waiting:epochs=300", jobs)
    if place != "start-up":
        (folder / "place").write_text(place)
    process = start(*asked, path=folder, session=True)
    if place == "start-up":
        obeying(process)
    else:
        reached(process, folder / "here")
    send(process, name, target)
    ended(process, name, folder)
    (folder / "place").unlink(missing_ok=True)
    again = command(*asked, path=folder)
    assert again.status == 0, again.err
    store = Path(os.environ["ZSLBENCH_STORE"])
    whole(store)
    assert list((store / "partial").iterdir()) == []
    epochs = (folder / "epochs").read_text().split()
    assert len(epochs) == 600 * jobs  # two fits of each run, and no epoch twice
    undisturbed = command(*asked, "--store", store.parent / "undisturbed", path=folder)
    assert records(again.out) == records(undisturbed.out)


@pytest.mark.parametrize(
    ("name", "target", "jobs", "place"),
    [
        ("SIGTERM", "parent", 1, "training"),
        pytest.param("SIGINT", "group", 2, "training", marks=pytest.mark.slow),
    ],
)
def test_interrupted_it_goes_on_from_the_epoch_shown_last(
    folder: Path, name: str, target: str, jobs: int, place: str
) -> None:
    interrupted(folder, name, target, jobs, place)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["start-up", "training", "evaluation"])
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("target", ["parent", "group"])
@pytest.mark.parametrize("name", STATUS)
def test_every_signal_everywhere(folder: Path, name: str, target: str, jobs: int, place: str) -> None:
    interrupted(folder, name, target, jobs, place)


@pytest.mark.parametrize("name", STATUS)
def test_at_start_up_there_is_one_line(folder: Path, name: str) -> None:
    process = start("compare", "eszsl", "-d", "digits", session=True)
    obeying(process)
    process.send_signal(getattr(signal, name))
    ended(process, name, folder)


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_method_that_lets_no_interruption_through_is_killed(folder: Path, jobs: int) -> None:
    (folder / "place").write_text("solving")
    process = start(*arguments("deaf", jobs), path=folder, session=True)
    reached(process, folder / "here")
    process.send_signal(signal.SIGINT)
    ended(process, "SIGINT", folder)


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    (folder / "place").write_text("solving")
    process = start(*arguments("deaf", 1), path=folder, session=True)
    reached(process, folder / "here")
    process.send_signal(signal.SIGINT)
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=3)
    assert process.returncode == 130


def test_workers_of_a_killed_command_write_their_checkpoints_and_end(folder: Path, store: Path) -> None:
    (folder / "place").write_text("training")
    process = start(*arguments("waiting:epochs=300", 2), path=folder, session=True)
    reached(process, folder / "here")
    process.kill()
    process.communicate()
    workers = [int(path.stem) for path in folder.glob("*.pid")]
    assert workers
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert all(load_checkpoint(path) for path in store.glob("partial/*/*"))
    assert list(store.glob("partial/*/validation.safetensors"))
