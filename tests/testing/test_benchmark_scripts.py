"""Scripts of `benchmarks/` at toy size, on whatever device there is: they run, and give the figures they promise."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "gpu.py"
PARTS = ("agreement", "stacking", "network", "processes", "table")


@pytest.mark.slow
def test_every_part_of_the_prepared_run_says_figures(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--toy"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert not [figures[part] for part in PARTS if isinstance(figures[part], str)]  # a failure is a text
    assert all(abs(own["cpu"] - own["32"]) < 1 for own in figures["agreement"].values())
    assert {row["members"] for row in figures["stacking"]} == {1, 4}
    assert all(row["steps a second"] > 0 for row in figures["network"])
    assert figures["processes"]["equal"]
    assert figures["table"]["synthetic"]["errors"] == {}


def test_a_part_without_time_is_named_and_skipped(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--toy", "--minutes", "0", "--parts", "table", "network"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["table"] == figures["network"] == "skipped: no time was left"


@pytest.mark.slow
def test_the_trainer_does_the_steps_of_a_bare_loop(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "trainer.py", "-m", "devise", "spaen", "--epochs", "1", "--repeats", "1"]
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout[done.stdout.index("\n[") :])
    assert [row["method"] for row in rows] == ["devise", "spaen"]
    assert all(row["ms_an_epoch"] > 0 and row["bare_ms_an_epoch"] > 0 for row in rows)


@pytest.mark.slow
def test_commands_of_a_checkout_are_timed_as_whole_processes(tmp_path: Path) -> None:
    command = [sys.executable, BENCHMARKS / "commands.py", "engines", "--runs", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["command"] for row in rows] == ["inline", "processes"]
    assert all(row["cpu_s"] > 0.5 for row in rows)  # importing torch alone takes that


@pytest.mark.slow
def test_who_waits_longer_for_a_better_epoch_trains_more_epochs_and_loses_less(tmp_path: Path) -> None:
    command = [
        sys.executable,
        BENCHMARKS / "stopping.py",
        "-d",
        "digits",
        "-m",
        "devise",
        "--trials",
        "3",
        "--folds",
        "2",
    ]
    done = subprocess.run([*command, "--csv", "rows.csv"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "rows.csv").sort_values("share")
    assert table["rules"].nunique() == 3
    for _, own in table.groupby("rules"):
        assert own["epochs left"].is_monotonic_increasing and own["epochs left"].between(0, 1).all()
        assert own["points lost"].is_monotonic_decreasing and (own["points lost"] >= 0).all()
        assert own["epochs left"].iloc[0] < 1, "or nothing ended early"


@pytest.mark.slow
def test_memory_does_not_grow_with_the_images_that_are_evaluated(tmp_path: Path) -> None:
    """10,000 x 21,841 scores would be 874 MB."""
    command = [sys.executable, BENCHMARKS / "evaluation.py", "--images", "10000"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, most = map(float, re.findall(r"([\d.]+) MB", done.stdout))
    assert most - before < 600
