"""A `compare` that is killed, and two that run at once: no run lost, repeated or half-written."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from outside import command, distribution, start

from zslbench.records.store import Store

COMPARE = ["compare", "devise:epochs=5", "eszsl", "ale:epochs=5", "sae", "-d", "digits", "--seeds", "2", "--json"]
RUNS = 6


@pytest.fixture
def observer(tmp_path: Path) -> Path:
    """A folder with a plugin that appends a line to `log` when a run starts."""
    folder = tmp_path / "observer"
    folder.mkdir()
    source = f"""
        def zslbench_run_started(spec):
            with open({str(folder / "log")!r}, "a") as file:
                file.write(spec.id + "\\n")
        """
    return distribution(folder, "observer", source)


def whole_runs(store: Path) -> dict[str, tuple[int, dict[str, float]]]:
    """Returns when each visible run was written, and its metrics; each must be whole."""
    opened = Store(store, create=False)
    found = {}
    for path in sorted(store.glob("runs/*/record.json")):
        record = opened.find(path.parent.name)
        assert record is not None, f"{path} is damaged"
        assert opened.arrays(record)
        found[record.id] = (path.stat().st_mtime_ns, record.metrics)
    return found


def metrics_by_id(out: str) -> dict[str, Any]:
    return {run["id"]: (run["metrics"], run["arrays"]) for run in json.loads(out)["runs"]}


def test_killed_at_random_moments_it_finishes_and_gives_what_it_gives_undisturbed(
    store: Path, tmp_path: Path, observer: Path
) -> None:
    moments = random.Random(0)
    kept: dict[str, tuple[int, dict[str, float]]] = {}
    kills = 0
    for lines in (1, 2, 4, 5):  # let so many lines of progress pass in each attempt, then a moment more
        process = start(*COMPARE, path=observer)
        with process:
            assert process.stderr is not None
            for _ in range(lines):
                process.stderr.readline()
            time.sleep(moments.uniform(0, 0.1))
            process.kill()
        kills += process.returncode == -9
        now = whole_runs(store)
        assert now.items() >= kept.items()  # nothing that was finished is lost or written again
        kept = now
    assert kills > 0

    last = command(*COMPARE, path=observer)
    assert last.status == 0, last.err
    finished = metrics_by_id(last.out)
    assert len(finished) == RUNS
    assert whole_runs(store).items() >= kept.items()
    assert len(whole_runs(store)) == RUNS
    assert list((store / "partial").iterdir()) == []
    started = Counter((observer / "log").read_text().split())
    assert started.keys() == finished.keys()
    assert sum(started.values()) <= RUNS + kills  # a kill costs the one run under way

    undisturbed = command(*COMPARE, "--store", tmp_path / "undisturbed")
    assert metrics_by_id(undisturbed.out) == finished  # metrics, and the hash of every decision


def test_interrupted_it_says_so_in_one_line_and_keeps_what_was_finished(store: Path) -> None:
    process = start("compare", "eszsl", "devise:epochs=100000", "-d", "digits", "--seeds", "1", "--plain")
    assert process.stderr is not None
    while "devise" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "zslbench: interrupted; the same command goes on where this one stopped"
    assert "Traceback" not in err
    assert len(whole_runs(store)) == 1


def test_two_at_once_execute_every_run_once(store: Path, observer: Path) -> None:
    both = [start(*COMPARE, path=observer) for _ in range(2)]
    answers = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    first, second = (metrics_by_id(out) for out, _ in answers)
    assert first == second
    assert len(first) == RUNS
    assert Counter((observer / "log").read_text().split()) == dict.fromkeys(first, 1)
    assert len(whole_runs(store)) == RUNS
