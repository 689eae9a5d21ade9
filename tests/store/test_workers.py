"""Worker processes: runs follow each other in the same one, a dead one is replaced, and all end with the engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from outside import distribution
from planned import plan

from zslbench.api.engine import Engine, Listener
from zslbench.engines import processes
from zslbench.engines.inline import Inline
from zslbench.engines.processes import Processes
from zslbench.errors import RunError
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup
from zslbench.runs.memory import Sharers
from zslbench.runs.request import Request

DOOMED = 2
"""The seed whose run kills its process."""


@pytest.fixture
def pids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[int, int]]:
    """A plugin in the workers notes which process began the run of each seed; returns what it noted."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    source = f"""
        import os, signal
        def zslbench_run_started(spec):
            with open({str(folder / "log")!r}, "a") as file:
                file.write(f"{{spec.seed}} {{os.getpid()}}\\n")
            if spec.seed == {DOOMED}:
                os.kill(os.getpid(), signal.SIGKILL)
        """
    distribution(folder, "noting", source)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def noted() -> dict[int, int]:
        return {int(seed): int(pid) for seed, pid in map(str.split, (folder / "log").read_text().splitlines())}

    return noted


def execute(engine: Engine, jobs: list[Run], store: Path) -> tuple[dict[int, RunRecord], dict[int, Exception]]:
    finished: dict[int, RunRecord] = {}
    failed: dict[int, Exception] = {}
    listener = Listener(
        finished=lambda job, record: finished.update({job.spec.seed: record}),
        failed=lambda job, error: failed.update({job.spec.seed: error}),
    )
    engine.execute(jobs, Setup(store=store, device="cpu"), listener)
    return finished, failed


def jobs(*seeds: int) -> list[Run]:
    [row] = plan(["devise:epochs=2"], ["digits"], Request(root=Path(), seeds=seeds))
    return row.runs


def test_runs_share_a_worker_give_what_inline_gives_and_a_dead_worker_is_replaced(
    pids: Callable[[], dict[int, int]], store: Path, tmp_path: Path
) -> None:
    Store(store)
    with Processes(1) as engine:
        finished, failed = execute(engine, jobs(0, 1, DOOMED, 3), store)
        later, _ = execute(engine, jobs(4), store)  # the worker outlasts a call of `execute`
        [worker] = engine._started.values()
        assert worker.poll() is None
    assert worker.poll() == 0  # closing the engine ended it
    assert finished.keys() == {0, 1, 3} and failed.keys() == {DOOMED} and later.keys() == {4}
    assert str(failed[DOOMED]) == "its process died with signal 9; issue the command again to go on"
    assert isinstance(failed[DOOMED], RunError)
    noted = pids()
    assert noted[0] == noted[1] == noted[DOOMED] != noted[3]
    assert os.getpid() not in noted.values()

    assert noted[3] == noted[4] == worker.pid

    Store(tmp_path / "inline")
    inline, _ = execute(Inline(), jobs(0, 1, 3, 4), tmp_path / "inline")
    for seed, record in (finished | later).items():
        assert record.metrics == inline[seed].metrics
        assert record.arrays == inline[seed].arrays  # named by the hash of every decision


def test_a_worker_is_in_the_folder_of_each_order(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative name means the same there, though the worker began elsewhere."""
    Store(store)
    with Processes(1) as engine:
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            monkeypatch.chdir(tmp_path / name)
            np.save("own.npy", np.random.default_rng(len(name)).random((10, 7)))
            [row] = plan(["eszsl"], ["digits"], Request(root=Path(), semantics="own.npy"))
            finished, failed = execute(engine, row.runs, store)
            assert failed == {} and finished[0].id == row.runs[0].id


@pytest.mark.parametrize(("gpus", "on_one"), [([], 3), (["0"], 3), (["4", "7"], 2), (["0", "1", "2", "3"], 1)])
def test_workers_are_divided_over_the_gpus_and_know_who_shares_their_memory(
    gpus: list[str], on_one: int, monkeypatch: pytest.MonkeyPatch, store: Path
) -> None:
    asked: list[Setup] = []
    monkeypatch.setattr(processes, "_gpus", lambda device: gpus)
    monkeypatch.setattr(Processes, "_worker", lambda self, slot, device: None)
    monkeypatch.setattr(Processes, "_execute", lambda self, worker, runs, setup, *rest: asked.append(setup))
    execute(Processes(3), jobs(0), store)
    assert [setup.sharers for setup in asked] == [Sharers(machine=3, device=on_one)]
    seen = [processes._environment(slot, "auto").get("CUDA_VISIBLE_DEVICES") for slot in range(3)]
    assert not gpus or seen == (gpus * 3)[:3]
