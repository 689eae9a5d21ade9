"""A run leaves nothing behind that changes the next one, and no method ends the command or diverts its files."""

from __future__ import annotations

import json
import locale
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from outside import CHEAP, Answer, command, distribution_of_methods

from zslbench.errors import RunError
from zslbench.runs.isolation import SETTINGS, contained, known_state
from zslbench.training.device import random_state

METHODS = """
    from zslbench import MethodCard
    def zslbench_register(registry):
        for name in ("meddler", "leaver", "stopper", "breaker", "reader"):
            registry.method(name, f"odd_classes:{name.capitalize()}", MethodCard(title=name, paper="none"))
    """
CLASSES = """
import os, random, signal, sys, threading, warnings
import numpy as np
import torch
from zslbench import Embedder, Params

class Zero(Embedder[Params]):
    def build(self, shape):
        self.shape = shape
    def embed(self, x):
        return torch.zeros(len(x), self.shape.attributes, dtype=torch.float32)

class Meddler(Zero):
    def solve(self, view):
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(3)
        torch.use_deterministic_algorithms(False)
        torch.manual_seed(9)
        np.random.seed(9)
        random.seed(9)
        np.seterr(all="raise")
        warnings.simplefilter("error")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.environ["ZSLBENCH_STORE"] = os.environ["ZSLBENCH_CACHE"] = "elsewhere"
        os.chdir("/")
        sys.stdout = None
    def embed(self, x):
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return super().embed(x)

class Leaver(Zero):
    def solve(self, view):
        sys.exit(0)

class Stopper(Zero):
    def solve(self, view):
        raise KeyboardInterrupt

class Breaker(Zero):
    def solve(self, view):
        os._exit(0)

class Reader(Zero):
    def solve(self, view):
        assert sys.stdin.read() == "" and os.read(0, 1) == b""
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
"""
METHOD_NAMES = ("meddler", "leaver", "stopper", "breaker", "reader")


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with a plugin of methods that change or end the process that they run in."""
    return distribution_of_methods(tmp_path / "odd", "odd", METHODS, CLASSES)


def by_method(answer: Answer) -> dict[str, Any]:
    runs = json.loads(answer.out)["runs"]
    return {run["spec"]["method"]: (run["metrics"], run["intervals"], run["arrays"]) for run in runs}


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_methods_that_meddle_cost_their_own_runs_and_change_no_other(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = command("compare", "devise:epochs=2", *CHEAP, "--json", "--store", "alone")
    answer = command(
        "compare", *METHOD_NAMES, "devise:epochs=2", *CHEAP, "--json", "--store", "all", "--jobs", jobs, path=odd
    )
    assert answer.status == 1
    assert by_method(answer).keys() == {"meddler", "reader", "devise"}
    assert by_method(answer)["devise"] == by_method(alone)["devise"]
    assert len(list((tmp_path / "all" / "runs").iterdir())) == 3  # a relative store is not diverted
    for line in ("called sys.exit(0)", "raised KeyboardInterrupt()", "called os._exit(0)"):
        assert f"the method {line}, which would end the command" in answer.err
    assert "warning: a thread ended with an error (ZeroDivisionError: division by zero)" in answer.err.splitlines()
    assert "Traceback" not in answer.err


def handler(number: int, frame: object) -> None: ...


DISTURBANCES: dict[str, Callable[[], object]] = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "precision of products": lambda: torch.set_float32_matmul_precision("medium"),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 2),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "cuDNN": lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
    "torch's random state": lambda: torch.manual_seed(7),
    "NumPy's random state": lambda: np.random.seed(7),
    "Python's random state": lambda: random.seed(7),
    "NumPy's errors": lambda: np.seterr(all="raise"),
    "filters of warnings": lambda: warnings.simplefilter("ignore"),
    "what shows warnings": lambda: setattr(warnings, "showwarning", print),
    "handlers of signals": lambda: signal.signal(signal.SIGUSR1, handler),
    "the environment": lambda: os.environ.update(ZSLBENCH_STORE="elsewhere"),
    "the working folder": lambda: os.chdir("/"),
    "the mask of file modes": lambda: os.umask(0),
    "the locale": lambda: locale.setlocale(locale.LC_ALL, "C.UTF-8" if locale.setlocale(locale.LC_ALL) == "C" else "C"),
    "the limit of recursion": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "the path of modules": lambda: sys.path.insert(0, "/nowhere"),
    "standard input": lambda: setattr(sys, "stdin", None),
    "standard output": lambda: setattr(sys, "stdout", None),
    "standard error": lambda: setattr(sys, "stderr", None),
    "the descriptor of standard input": lambda: os.close(0),
    "the end of the process": lambda: setattr(os, "_exit", print),
}


def state() -> dict[str, Any]:
    handlers = [signal.getsignal(number) for number in sorted(signal.valid_signals())]
    found = {name: read() for name, read, _, _ in SETTINGS}
    randomness = random_state(torch.device("cpu"))
    return found | {
        "randomness": json.dumps(randomness, default=torch.Tensor.tolist),
        "handlers": handlers,
        "input": os.fstat(0)[:3],
        "end": os._exit,
    }


@pytest.mark.parametrize("name", DISTURBANCES)
def test_what_a_method_changes_is_put_back(name: str) -> None:
    before = state()
    with known_state(0):
        inside = state()
        DISTURBANCES[name]()
        if name != "the descriptor of standard input":
            assert state() != inside  # it changes something
    assert state() == before


@pytest.mark.parametrize("name", [*list(DISTURBANCES)[:5], "NumPy's random state", "Python's random state"])
def test_a_run_begins_the_same_whatever_was_set_before(name: str) -> None:
    def begins() -> list[Any]:
        with known_state(3):
            return [read() for _, read, _, known in SETTINGS[:5]] + [np.random.random(), random.random()]

    usual = begins()
    with known_state(0):
        DISTURBANCES[name]()
        assert begins() == usual


@pytest.mark.parametrize("ending", [SystemExit(0), SystemExit("no licence"), GeneratorExit()])
def test_what_would_end_the_command_is_an_error(ending: BaseException) -> None:
    with pytest.raises(RunError, match="which would end the command"), contained():
        raise ending


def test_without_handlers_of_ours_a_keyboard_interrupt_is_a_persons() -> None:
    with pytest.raises(KeyboardInterrupt), contained():
        raise KeyboardInterrupt
