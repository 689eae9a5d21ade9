"""Engines: the same numbers wherever a run executes, and a lost worker costs one run."""

from __future__ import annotations

import ast
import gc
import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest
from elsewhere import DEVISE, check_odd_methods
from outside import CHEAP, Answer, command
from planned import plan

import zslbench
from zslbench.api.engine import Listener
from zslbench.engines.processes import Processes
from zslbench.engines.ray import Ray
from zslbench.engines.shares import Shares
from zslbench.errors import RunError, UsageError
from zslbench.records.store import Store
from zslbench.runs.code import _without_docstrings, harness_code
from zslbench.runs.execute import Setup
from zslbench.runs.request import Request
from zslbench.runs.resolve import received


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


def test_an_address_where_nothing_answers_is_one_line(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = ModuleType("ray")
    fake.is_initialized = lambda: False  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", fake)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        monkeypatch.setenv("RAY_ADDRESS", f"ray://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(UsageError, match=r"RAY_ADDRESS=ray://127\.0\.0\.1:[0-9]+: nothing answers there"):
            Ray().execute([], Setup(store=store), Listener())


def test_a_run_takes_the_share_of_a_gpu_that_is_given() -> None:
    [row] = plan(["devise"], ["digits"], Request(root=Path(), seeds=tuple(range(9))))
    shares = Shares(0.25)
    shares.learn(row.runs[0], {"peak_memory_mb": 9000.0, "device_memory_mb": 10000.0})
    assert (shares.of(row.runs[0]), shares.room(row.runs, 1), shares.room(row.runs, 1.3)) == (0.25, 4, 5)
    assert shares.room([], 1) == shares.room(row.runs, 0.2) == 0
    assert not shares.take_whole(row.runs[0], 0.25)


def test_a_run_takes_a_whole_gpu_until_one_of_its_kind_has_ended_and_then_what_that_took() -> None:
    rows = plan(["devise", "ale"], ["digits"], Request(root=Path(), seeds=(0, 1, 2)))
    (one, *_), (other, *_) = runs = [row.runs for row in rows]
    shares = Shares()
    assert (shares.of(one), shares.room(runs[0], 2)) == (1, 2)
    shares.learn(one, {"peak_memory_mb": 1600.0})  # not on a GPU
    assert shares.of(one) == 1
    for peak, share in ((1600.0, 0.3), (400.0, 0.3), (2000.0, 0.36), (90000.0, 1.0)):
        shares.learn(one, {"peak_memory_mb": peak, "device_memory_mb": 10000.0})
        assert (shares.of(runs[0][2]), shares.of(other)) == (share, 1.0)
    shares.learn(other, {"peak_memory_mb": 0.1, "device_memory_mb": 10000.0})
    assert shares.room(runs[1] * 9, 1.0) == 14  # of 0.07 each
    assert not shares.take_whole(other, 1.0)
    assert shares.take_whole(other, 0.07) and shares.of(other) == 1.0


@pytest.mark.parametrize("thing", ["zslbench", "method eszsl"])
def test_a_process_with_other_code_refuses_the_run_and_names_both(thing: str) -> None:
    [row] = plan(["eszsl"], ["digits"], Request(root=Path(), seeds=(0,)))
    sent = json.loads(row.runs[0].sent())
    assert received(json.dumps(sent)).id == row.runs[0].id
    own, sent["code"][thing] = sent["code"][thing], "7.0 (source f00d)"
    with pytest.raises(RunError) as raised:
        received(json.dumps(sent))
    assert f"{thing} is {own} in the process" in str(raised.value) and "7.0 (source f00d)" in str(raised.value)


def test_a_process_with_other_data_refuses_the_run() -> None:
    [row] = plan(["eszsl"], ["digits"], Request(root=Path(), seeds=(0,)))
    sent = json.loads(row.runs[0].sent())
    sent["spec"]["fingerprint"] = "other"
    with pytest.raises(RunError, match="data set digits changed between planning and running"):
        received(json.dumps(sent))


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
