"""`zslbench runs rm` and `prune`: they say what would go, ask, leave what is under way, and leave a valid store."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from faults.injected import DIED, Injector
from outside import CHEAP, Inside

from zslbench.records.store import Store

METHODS = ("devise:epochs=2", "sae", "eszsl")


@pytest.fixture
def filled(inside: Inside, store: Path) -> Store:
    """A store with three runs."""
    assert inside("compare", *METHODS, *CHEAP).status == 0
    return Store(store)


def files(store: Store) -> set[str]:
    return {str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file()}


def run_of(store: Store, method: str) -> str:
    return next(record.id for record in store.records() if record.spec.method == method)


def test_without_a_terminal_and_without_yes_nothing_is_removed(
    filled: Store, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(filled)
    with Path(os.devnull).open() as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        for command in (["rm", run_of(filled, "sae")], ["prune", "--models"], ["prune", "--older-than", "0"]):
            answer = inside("runs", *command)
            assert answer.status == 2 and answer.out.startswith("to remove: ")
            assert answer.err == "zslbench: nobody can be asked here, so nothing was removed; give --yes\n"
    assert files(filled) >= before


@pytest.mark.parametrize(("reply", "left"), [("n", 3), ("", 3), ("y", 2)])
def test_in_a_terminal_it_asks(filled: Store, reply: str, left: int) -> None:
    run = run_of(filled, "sae")
    command = [sys.executable, "-m", "zslbench", "runs", "rm", run]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True) as process:
        os.close(theirs)
        said, ended = "", time.monotonic() + 60
        while "y/N" not in said:
            assert select.select([ours], [], [], ended - time.monotonic())[0], said
            said += os.read(ours, 1000).decode()
        assert "to remove: 1 run; " in said
        os.write(ours, f"{reply}\n".encode())
        process.wait(60)
    os.close(ours)
    assert len(list(filled.records())) == left


def test_a_removed_run_is_gone_with_all_that_was_made_of_it(filled: Store, inside: Inside) -> None:
    run = run_of(filled, "sae")
    kept = filled.root / "runs" / run / "my-own.txt"
    kept.write_text("mine")
    size = sum(path.stat().st_size for path in kept.parent.iterdir())
    answer = inside("runs", "rm", run[:6], run, "--yes")
    shown = f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
    assert answer.out.splitlines() == [f"to remove: 1 run; {shown}", f"removed: 1 run; {shown}"]
    assert [path.name for path in kept.parent.iterdir()] == ["my-own.txt"]
    assert len(inside("runs").out.splitlines()) == 4  # headings, two runs, what has no room
    assert inside("runs", "rm", run, "--yes").status == 2
    assert inside("run", "sae", *CHEAP).status == 0
    assert run_of(filled, "sae") == run


def test_models_go_and_runs_stay(filled: Store, inside: Inside) -> None:
    answer = inside("runs", "prune", "--models", "--filter", "method=sae,eszsl", "--yes")
    assert answer.status == 0 and answer.out.startswith("to remove: 2 models; ")
    assert len(list(filled.root.glob("runs/*/model-*"))) == 1 and len(list(filled.records())) == 3
    assert inside("runs", "verify").status == 0
    assert inside("runs", "prune", "--models", "--filter", "method=sae", "--yes").out == "nothing to remove\n"


def test_trials_go_and_their_search_stays(inside: Inside, store: Path) -> None:
    how = ["-d", "digits", "--folds", "1", "--trials", "2", "--search", "epochs=2:3", "--device", "cpu"]
    assert inside("run", "devise", "--tuned", *how).status == 0
    answer = inside("runs", "prune", "--trials", "--yes")
    assert answer.status == 0 and answer.out.startswith("to remove: 2 trials; ")
    assert [record.spec.on for record in Store(store).records()] == ["test"]
    again = inside("run", "devise", "--tuned", *how)
    assert again.status == 0 and len(list(Store(store).records())) == 1
    assert inside("runs", "verify").out.endswith("records 1, searches 1, checkpoints 0; damaged: 0\n")


def test_runs_of_a_certain_age_go(filled: Store, inside: Inside) -> None:
    run = run_of(filled, "sae")
    record = filled.find(run)
    assert record is not None
    old = record.model_copy(update={"provenance": {**record.provenance, "finished": "2020-01-01T00:00:00+00:00"}})
    filled.save(old, filled.arrays(record))
    assert inside("runs", "prune", "--older-than", "365", "--yes").out.startswith("to remove: 1 run; ")
    assert {record.spec.method for record in filled.records()} == {"devise", "eszsl"}


def test_what_was_set_aside_and_what_was_broken_off_goes(filled: Store, inside: Inside) -> None:
    run = run_of(filled, "sae")
    filled.record_path(run).write_text("{")
    assert inside("runs", "verify").status == 1
    checkpoint = filled.partial("0123456789abcdef") / "final.safetensors"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"unfinished")
    note = filled.root / "runs" / run_of(filled, "eszsl") / "note.json"
    note.write_text("{")
    assert inside("runs", "verify").status == 1
    answer = inside("runs", "prune", "--damaged", "--yes")
    assert answer.out.startswith("to remove: 1 damaged file, 1 damaged run; ")
    assert not list(filled.root.rglob("*.damaged*")) and checkpoint.exists() and len(list(filled.records())) == 2
    assert not (filled.root / "runs" / run).exists()
    assert inside("runs", "prune", "--partial", "--older-than", "1", "--yes").out == "nothing to remove\n"
    assert inside("runs", "prune", "--partial", "--yes").out.startswith("to remove: 1 partial run; 0.0 kB")
    assert not checkpoint.parent.exists()
    assert "leftover" not in inside("runs", "verify").out


def test_what_is_being_executed_stays(filled: Store, inside: Inside) -> None:
    run = run_of(filled, "sae")
    before = files(filled)
    with filled.claim(run, wait=False):
        answer = inside("runs", "rm", run, "--yes")
        assert answer.status == 0
        assert answer.out.splitlines()[1:] == [
            "removed: 0 runs; 0.0 kB",
            f"left, because they are being executed: {run}",
        ]
        assert inside("runs", "prune", "--filter", "method=sae", "--yes").status == 0
    assert files(filled) >= before


def test_nothing_goes_behind_a_symbolic_link(filled: Store, inside: Inside, tmp_path: Path) -> None:
    run = run_of(filled, "sae")
    folder = filled.root / "runs" / run
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    answer = inside("runs", "rm", run, "--yes")
    assert answer.status == 1 and "it is a symbolic link" in answer.err
    assert (tmp_path / "elsewhere" / "record.json").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], ["say what: --trials"]),
        (["--filter", "tund"], ["unknown word"]),
        (["--damaged", "--filter", "tuned"], ["--filter: it is of finished runs"]),
        (["--older-than", "-1"], ["--older-than"]),
    ],
)
def test_a_wrong_command_removes_nothing(filled: Store, inside: Inside, options: list[str], words: list[str]) -> None:
    answer = inside("runs", "prune", *options, "--yes")
    assert answer.status == 2 and all(word in answer.error() for word in words)
    assert len(list(filled.records())) == 3


def died(work: Callable[[], Any], install: Callable[[], Any]) -> int:
    """Does something in a process that dies at some file operation; returns its status."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            install()
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_killed_at_any_operation_a_removal_leaves_a_valid_store(filled: Store, inside: Inside, tmp_path: Path) -> None:
    whole, run, status, at = {record.id for record in filled.records()}, run_of(filled, "sae"), DIED, 0
    while status != 0:
        at += 1
        status = died(lambda: filled.remove(run), Injector(filled.root, at, "die", tmp_path / "count").install)
        assert status in (DIED, 0, -signal.SIGKILL)
        assert {record.id for record in Store(filled.root).records()} | {run} == whole
        assert inside("runs", "verify").status == 0
    assert at > 3 and not (filled.root / "runs" / run).exists()
