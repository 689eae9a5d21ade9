"""Engines: the same numbers wherever a run executes, and a lost worker costs one run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from outside import CHEAP, Answer, command, distribution
from planned import plan

from zslbench.api.engine import Listener
from zslbench.engines.processes import Processes
from zslbench.records.store import Store
from zslbench.runs.execute import Setup
from zslbench.runs.request import Request

DEVISE = ("compare", "devise:epochs=2")
METHODS = """
    from zslbench import MethodCard
    def zslbench_register(registry):
        for name in ("doomed", "noisy"):
            registry.method(name, f"odd_methods:{name.capitalize()}", MethodCard(title=name, paper="none"))
    def __getattr__(name):
        import odd_classes
        return getattr(odd_classes, name)
    """
CLASSES = """
import os, signal
import torch
from zslbench import Embedder, Params

class Zero(Embedder[Params]):
    def build(self, shape):
        self.shape = shape
    def embed(self, x):
        return torch.zeros(len(x), self.shape.attributes)

class Doomed(Zero):
    def solve(self, view):
        os.kill(os.getpid(), signal.SIGKILL)

class Noisy(Zero):
    def solve(self, view):
        print("a line of print")
        os.write(1, b"a line from C code\\n")
"""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with a plugin whose methods die and print."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "odd_classes.py").write_text(CLASSES)
    return distribution(folder, "odd-methods", METHODS)


def metrics(answer: Answer) -> dict[str, Any]:
    return {run["spec"]["method"]: (run["metrics"], run["arrays"]) for run in json.loads(answer.out)["runs"]}


def check_odd_methods(answer: Answer, reference: Answer, death: str) -> None:
    """The methods that work give what they give inline; the one that dies is one line."""
    assert answer.status == 1
    assert metrics(answer).keys() == {"devise", "noisy"}
    assert metrics(answer)["devise"] == metrics(reference)["devise"]
    assert death in answer.err.splitlines()[-1]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """DeViSE, inline."""
    folder = tmp_path_factory.mktemp("reference")
    return command(*DEVISE, *CHEAP, "--json", "--store", folder, environment={"OMP_NUM_THREADS": "1"})


def test_processes_give_the_numbers_of_inline_and_a_killed_worker_costs_one_run(
    odd: Path, reference: Answer, store: Path
) -> None:
    answer = command(*DEVISE, "doomed", "noisy", *CHEAP, "--jobs", "2", "--json", path=odd)
    check_odd_methods(answer, reference, "its process died with signal 9")
    assert len(list(Store(store, create=False).records())) == 2


@pytest.mark.parametrize("output", ["", '{"event": "finished", "rec'])
def test_a_worker_that_dies_in_the_middle_of_a_message_costs_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    worker = tmp_path / "worker"
    worker.write_text(f"#!/bin/sh\nprintf '%s' '{output}'\nkill -9 $$\n")
    worker.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(worker))
    failed: list[str] = []
    [row] = plan(["eszsl"], ["digits"], Request(root=Path(), seeds=(0, 1)))
    listener = Listener(failed=lambda job, error: failed.append(str(error)))
    Processes(2).execute(row.runs, Setup(store=tmp_path / "store", device="cpu"), listener)
    assert failed == ["its process died with signal 9; issue the command again to go on"] * 2


@pytest.mark.slow
def test_ray_gives_the_numbers_of_inline_and_a_killed_worker_costs_one_run(odd: Path, reference: Answer) -> None:
    pytest.importorskip("ray")
    answer = command(*DEVISE, "doomed", "noisy", *CHEAP, "--engine", "ray", "--jobs", "2", "--json", path=odd)
    check_odd_methods(answer, reference, "its worker died")
