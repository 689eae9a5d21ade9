"""The store: whole or not at all, one process at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planned import plan

import zslbench.runs.execute as runner_module
from zslbench import RunRecord, RunSpec
from zslbench.api.engine import Listener
from zslbench.engines.inline import Inline
from zslbench.errors import UsageError
from zslbench.records.store import Busy, Store
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, fulfil
from zslbench.runs.request import Request


def record(value: float, seed: int = 0) -> RunRecord:
    spec = RunSpec(
        method="eszsl",
        method_version=1,
        params={},
        dataset="digits",
        fingerprint="f",
        features="pixels",
        scale="none",
        setting="inductive",
        seed=seed,
    )
    return RunRecord(id=spec.id, spec=spec, params={}, metrics={"acc_uu": value})


def arrays(value: float) -> dict[str, Any]:
    return {"best_seen": np.full(1000, value)}


class Killed(BaseException):
    """Stands for a kill -9 between two steps."""


@pytest.fixture
def opened(store: Path) -> Store:
    return Store(store)


def test_what_is_saved_is_found_whole(opened: Store) -> None:
    saved = opened.save(record(0.5), arrays(0.5))
    assert opened.find(saved.id) == saved
    assert saved.metrics == {"acc_uu": 0.5}
    np.testing.assert_array_equal(opened.arrays(saved)["best_seen"], np.full(1000, 0.5))
    assert list(opened.records()) == [saved]


def test_arrays_are_found_as_they_were_however_they_lay_in_memory(opened: Store) -> None:
    whole = np.arange(24).reshape(2, 3, 4)
    views = {"moved": np.moveaxis(whole, 2, 0), "stepped": whole[:, ::2], "turned": whole.T}
    found = opened.arrays(opened.save(record(0.5), views))
    for name, view in views.items():
        np.testing.assert_array_equal(found[name], view)


def test_a_save_broken_off_at_any_step_leaves_the_old_run_or_the_new_one_whole(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every step that the file system sees is once the last one."""
    steps = {"open": Path.open, "replace": Path.replace, "unlink": Path.unlink}

    def save_until(last: int) -> bool:
        """Saves another value; returns whether all steps were done before the `last` allowed one."""
        done = 0

        def counted(name: str) -> Any:
            def step(self: Path, *args: Any, **kwargs: Any) -> Any:
                nonlocal done
                if done == last:
                    raise Killed
                done += 1
                return steps[name](self, *args, **kwargs)

            return step

        with monkeypatch.context() as patch:
            for name in steps:
                patch.setattr(Path, name, counted(name))
            try:
                opened.save(record(0.2), arrays(0.2))
            except Killed:
                return False
        return True

    outcomes, last, complete = [], 0, False
    while not complete:
        first = opened.save(record(0.1), arrays(0.1))
        complete = save_until(last)
        found = opened.find(first.id)
        assert found is not None
        value = found.metrics["acc_uu"]
        np.testing.assert_array_equal(opened.arrays(found)["best_seen"], np.full(1000, value))
        outcomes.append(value)
        last += 1
    assert set(outcomes) == {0.1, 0.2}
    assert outcomes == sorted(outcomes)  # once the new run is visible, it stays
    assert len(outcomes) >= 5  # two files, each opened and renamed, and the old decisions removed

    opened.save(record(0.3), arrays(0.3))
    folder = opened.root / "runs" / record(0.3).id
    assert len(list(folder.iterdir())) == 2  # nothing that was broken off stays behind


def test_a_record_in_another_runs_folder_is_not_taken_for_it(opened: Store) -> None:
    saved, other = opened.save(record(0.5), arrays(0.5)), record(0.5, seed=1).id
    (opened.root / "runs" / saved.id).rename(opened.root / "runs" / other)
    with pytest.warns(UserWarning, match="it belongs to another run"):
        assert opened.find(other) is None


def test_a_claim_is_held_by_one_at_a_time(opened: Store) -> None:
    with opened.claim("a", wait=False):
        with pytest.raises(Busy), Store(opened.root).claim("a", wait=False):
            pytest.fail("two claims on one run")
        with opened.claim("b", wait=False):
            pass
    with opened.claim("a", wait=False):
        pass


def test_a_killed_process_leaves_no_claim(opened: Store) -> None:
    code = (
        "import sys, time; from pathlib import Path; from zslbench.records.store import Store\n"
        "with Store(Path(sys.argv[1])).claim('a', wait=False): print('held', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(opened.root)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Busy), opened.claim("a", wait=False):
            pytest.fail("the claim of a living process was taken")
        holder.kill()
    with opened.claim("a", wait=False):
        pass


def test_a_run_finished_between_the_look_and_the_claim_is_not_executed_again(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    [job] = planned("eszsl")
    setup = Setup(store=opened.root, device="cpu")
    elsewhere = fulfil(job, Setup(store=opened.root / "other", device="cpu"), Listener(), wait=False)
    assert elsewhere is not None
    claim = Store.claim

    def claim_late(self: Store, run: str, *, wait: bool) -> Any:
        """Another process finishes the run just before this one gets the claim."""
        self.save(elsewhere, arrays(0.0))
        return claim(self, run, wait=wait)

    monkeypatch.setattr(Store, "claim", claim_late)
    monkeypatch.setattr(runner_module.Execution, "whole", lambda self: pytest.fail("executed a second time"))
    found = fulfil(job, setup, Listener(), wait=False)
    assert found is not None
    assert found.metrics == elsewhere.metrics


def test_a_run_that_another_process_holds_is_put_off_and_waited_for_at_the_end(opened: Store) -> None:
    jobs = planned("eszsl", "sae")
    order: list[str] = []
    held = opened.claim(jobs[0].spec.id, wait=False)
    held.__enter__()

    def finished(job: Run, _: RunRecord) -> None:
        if not order:
            held.__exit__(None, None, None)
        order.append(job.spec.method)

    Inline().execute(jobs, Setup(store=opened.root, device="cpu"), Listener(finished=finished))
    assert order == ["sae", "eszsl"]


def test_a_store_is_looked_up_by_the_beginning_of_an_id(opened: Store) -> None:
    saved = opened.save(record(0.5), arrays(0.5))
    opened.save(record(0.5, seed=1), arrays(0.5))
    assert opened.lookup(saved.id[:8]).id == saved.id
    with pytest.raises(UsageError, match="more than one run ''"):
        opened.lookup("")
    with pytest.raises(UsageError, match="no run 'zz'"):
        opened.lookup("zz")


def planned(*methods: str) -> list[Run]:
    return [job for row in plan(list(methods), ["digits"], Request(root=Path())) for job in row.runs]
