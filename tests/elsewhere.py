"""Methods that die and print, for engines that execute runs in other processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from outside import CHEAP, Answer, command, distribution_of_methods

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
    return distribution_of_methods(tmp_path / "odd", "odd", METHODS, CLASSES)


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
