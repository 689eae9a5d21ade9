"""Standard output and error as people have them: full, closed, or without the letters of a table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from outside import CHEAP, Inside, distribution_of_methods, start

COMMAND = [sys.executable, "-m", "zslbench"]
METHODS = """
    from zslbench import MethodCard
    def zslbench_register(registry):
        registry.method("loud", "loud_classes:Loud", MethodCard(title="loud", paper="none"))
    """
CLASSES = """
import atexit, os, subprocess, threading, time
import torch
from zslbench import Embedder, Params

def drone():
    while True:
        print("a line of another thread", flush=True)
        time.sleep(0.001)

class Loud(Embedder[Params]):
    def build(self, shape):
        self.shape = shape
    def embed(self, x):
        return torch.zeros(len(x), self.shape.attributes)
    def solve(self, view):
        print("a line of print")
        os.write(1, b"a line from C code\\n")
        subprocess.run(["echo", "a line of another process"])
        atexit.register(print, "a line at exit")
        threading.Thread(target=drone, daemon=True).start()
"""
PLACES = ("of print", "from C code", "of another process", "of another thread", "at exit")
FULL = "standard output: cannot be written (No space left on device)"


def shell(line: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command with redirections that stand in `line`."""
    command = ["sh", "-c", f'"$@" {line}', "sh", *COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@pytest.fixture
def stored(inside: Inside, store: Path) -> Path:
    assert inside("compare", "devise:epochs=1", "-d", "digits", "--seeds", "2", "--device", "cpu").status == 0
    return store


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_output_is_one_line_and_a_full_error_is_none(stored: Path) -> None:
    full = shell(">/dev/full", "runs")
    assert full.returncode == 1
    assert [FULL in line for line in full.stderr.splitlines()] == [True]
    assert shell("2>/dev/full", "show", "nothing").returncode == 2


def test_closed_streams_lead_nowhere_and_change_nothing(stored: Path) -> None:
    record = next(stored.glob("runs/*/record.json"))
    before = record.read_bytes()
    for line in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        answer = shell(line, "compare", "devise:epochs=1", *CHEAP)
        assert answer.returncode == 0 and "Traceback" not in answer.stderr
    assert shell("2>&-", "show", "nothing").returncode == 2
    assert record.read_bytes() == before  # a stream that is closed is no file that is opened next


def test_letters_that_the_encoding_lacks_are_written_otherwise(stored: Path) -> None:
    table = ("compare", "devise:epochs=1", "-d", "digits", "--seeds", "2", "--device", "cpu")
    proper = shell("", *table, PYTHONIOENCODING="utf-8").stdout
    ascii_only = shell("", *table, PYTHONIOENCODING="ascii")
    assert "±" in proper
    assert ascii_only.returncode == 0 and ascii_only.stderr.count("Traceback") == 0
    assert ascii_only.stdout.replace("+-", "±").split() == proper.split()


def test_only_results_reach_standard_output_whatever_a_method_prints_and_when(tmp_path: Path, store: Path) -> None:
    path = distribution_of_methods(tmp_path / "loud", "loud", METHODS, CLASSES)
    out, err = start("run", "loud", *CHEAP, "--json", path=path).communicate(timeout=240)
    assert [run["spec"]["method"] for run in json.loads(out)["runs"]] == ["loud"]
    assert [place for place in PLACES if f"a line {place}\n" not in err] == []
