"""Engines: the same numbers wherever a run executes, and a lost worker costs one run."""

from __future__ import annotations

import ast
import gc
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from outside import CHEAP, Answer, command, distribution
from planned import plan

import zslbench
from zslbench.api.engine import Listener
from zslbench.engines.processes import Processes
from zslbench.engines.ray import Ray
from zslbench.errors import Hint, RunError, UsageError
from zslbench.records.store import Store
from zslbench.runs.code import _without_docstrings, harness_code
from zslbench.runs.entrant import Run
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
    [row] = plan(["devise:epochs=1"], ["digits"], Request(root=Path(), seeds=(0, 1)))
    listener = Listener(failed=lambda job, error: failed.append(str(error)))
    Processes(2).execute(row.runs, Setup(store=tmp_path / "store", device="cpu"), listener)
    assert failed == ["its process died with signal 9; issue the command again to go on"] * 2


@pytest.mark.slow
def test_ray_gives_the_numbers_of_inline_and_a_killed_worker_costs_one_run(odd: Path, reference: Answer) -> None:
    pytest.importorskip("ray")
    answer = command(*DEVISE, "doomed", "noisy", *CHEAP, "--engine", "ray", "--jobs", "2", "--json", path=odd)
    check_odd_methods(answer, reference, "its worker died")


class Task:
    """A stand-in for what `ray.remote` returns; it is executed when it is waited for."""

    def __init__(self, cluster: FakeRay, function: Callable[..., Any]) -> None:
        self.cluster, self.function = cluster, function

    def options(self, **_: object) -> Task:
        return self

    def remote(self, *arguments: Any) -> Callable[[], Any]:
        def reference() -> Any:
            return self.function(*arguments)

        self.cluster.running.append(reference)
        self.cluster.most = max(self.cluster.most, len(self.cluster.running))
        return reference


class FakeRay(ModuleType):
    """A cluster in this process."""

    def __init__(self, **resources: float) -> None:
        super().__init__("ray")
        self.resources, self.running, self.cancelled, self.most = resources, [], [], 0
        self.exceptions = SimpleNamespace(RayTaskError=ZeroDivisionError, RayError=ZeroDivisionError)
        self.interrupt = False

    def is_initialized(self) -> bool:
        return False

    def init(self, **_: object) -> None: ...

    def shutdown(self) -> None: ...

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, function: Callable[..., Any]) -> Task:
        return Task(self, function)

    def wait(self, references: list[Any], num_returns: int = 1, timeout: float | None = None) -> tuple[Any, Any]:
        if self.interrupt and timeout is None:
            raise KeyboardInterrupt
        self.running.remove(references[0])
        return references[:1], references[1:]

    def get(self, reference: Callable[[], Any]) -> Any:
        return reference()

    def cancel(self, reference: Callable[[], Any]) -> None:
        self.cancelled.append(reference)


def on_ray(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch, store: Path, workers: tuple[int, ...] = (), device: str = "cpu"
) -> list[str]:
    """Executes four runs there; returns the ids of those that finished."""
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    [row] = plan(["devise:epochs=1"], ["digits"], Request(root=Path(), seeds=(0, 1, 2, 3)))
    finished: list[str] = []
    listener = Listener(finished=lambda run, record: finished.append(record.id))
    with pytest.warns(Hint, match="nothing of their epochs"):
        Ray(*workers).execute(row.runs, Setup(store=store, device=device), listener)
    return finished


def test_ray_has_as_many_runs_at_a_time_as_there_is_room_for(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fakes = [FakeRay(CPU=3.0), FakeRay(CPU=8.0), FakeRay(CPU=8.0, GPU=1.0), FakeRay()]
    for fake, workers, device, most in zip(
        fakes, [(), (2,), (), ()], ["cpu", "cpu", "auto", "cpu"], [3, 2, 1, 1], strict=True
    ):
        assert len(on_ray(fake, monkeypatch, store, workers, device)) == 4
        assert fake.most == most


def test_interrupted_ray_cancels_its_runs(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRay(CPU=2.0)
    fake.interrupt = True
    with pytest.raises(KeyboardInterrupt):
        on_ray(fake, monkeypatch, store)
    assert len(fake.cancelled) == 2


def test_an_address_where_nothing_answers_is_one_line(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", FakeRay(CPU=1.0))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        monkeypatch.setenv("RAY_ADDRESS", f"ray://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UsageError, match=r"RAY_ADDRESS=ray://127\.0\.0\.1:[0-9]+: nothing answers there"):
            Ray().execute([], Setup(store=store), Listener())


@pytest.mark.parametrize("thing", ["zslbench", "method eszsl"])
def test_a_process_with_other_code_refuses_the_run_and_names_both(thing: str) -> None:
    [row] = plan(["eszsl"], ["digits"], Request(root=Path(), seeds=(0,)))
    sent = json.loads(row.runs[0].sent())
    assert Run.received(json.dumps(sent)).id == row.runs[0].id
    own, sent["code"][thing] = sent["code"][thing], "7.0 (source f00d)"
    with pytest.raises(RunError) as raised:
        Run.received(json.dumps(sent))
    assert f"{thing} is {own} in the process" in str(raised.value) and "7.0 (source f00d)" in str(raised.value)


def test_a_process_with_other_data_refuses_the_run() -> None:
    [row] = plan(["eszsl"], ["digits"], Request(root=Path(), seeds=(0,)))
    sent = json.loads(row.runs[0].sent())
    sent["spec"]["fingerprint"] = "other"
    with pytest.raises(RunError, match="data set digits changed between planning and running"):
        Run.received(json.dumps(sent))


def test_the_code_of_the_harness_is_every_module(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "__init__.py").write_text("")
    monkeypatch.setattr(zslbench, "__file__", str(tmp_path / "__init__.py"))
    found = []
    for text in ("a = 1\n", "a = 2\n"):
        (tmp_path / "inner" / "module.py").write_text(text)
        found.append(harness_code.__wrapped__())
    assert found[0] != found[1]


@pytest.fixture
def _threads_that_take_over() -> Iterator[None]:
    """Makes the garbage collector hand over to another thread, often."""

    def yield_to_others(*_: object) -> None:
        time.sleep(0)

    threshold = gc.get_threshold()
    gc.callbacks.append(yield_to_others)
    gc.set_threshold(50)
    yield
    gc.set_threshold(*threshold)
    gc.callbacks.remove(yield_to_others)


@pytest.mark.usefixtures("_threads_that_take_over")
def test_threads_may_hash_code_at_the_same_time() -> None:
    sources = [f"def f_{number}(a, b=1):\n    return [a + b for c in (a, b) if c]\n" * 20 for number in range(20)]
    _without_docstrings.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(_without_docstrings, sources))
    assert found == [ast.unparse(ast.parse(source)) for source in sources]
