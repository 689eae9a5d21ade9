"""`benchmarks/gpu.py`, at toy size on whatever device there is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
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
