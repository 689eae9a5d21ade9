"""The store: whole or not at all, one process at a time."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from outside import CHEAP, Inside
from planned import plan

import zslbench.runs.execute as runner_module
from zslbench import RunRecord, RunSpec
from zslbench.api.engine import Listener
from zslbench.engines.inline import Inline
from zslbench.errors import DataError, UsageError
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


def test_nothing_is_written_or_deleted_through_the_symbolic_link_of_a_run(opened: Store, tmp_path: Path) -> None:
    saved = opened.save(record(0.5), arrays(0.5))
    folder, target = opened.root / "runs" / saved.id, tmp_path / "target"
    folder.rename(target)
    (target / "thesis.tex").write_text("years of work")
    (target / "reconstructions.png").write_text("a picture")
    folder.symlink_to(target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    assert opened.find(saved.id) == saved
    with pytest.raises(DataError, match=rf"{saved.id}: it is a symbolic link, .*; remove the link"):
        opened.save(record(0.6), arrays(0.6))
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before

    (target / "record.json").write_text("damaged")
    with pytest.warns(UserWarning, match="damaged record .*; left where it is, behind a symbolic link"):
        assert opened.find(saved.id) is None
    assert {path.name for path in target.iterdir()} == before.keys()


def test_checkpoints_behind_a_link_stay_and_no_run_goes_on_from_them(opened: Store, tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    (kept / "final.safetensors").write_text("state")
    opened.prepare()
    opened.partial("a").symlink_to(kept)
    opened.discard_partial("a")
    assert (kept / "final.safetensors").read_text() == "state"
    assert not opened.partial("a").exists() and not opened.partial("a").is_symlink()


def test_the_folders_of_a_store_may_be_links(store: Path, tmp_path: Path) -> None:
    for part in ("runs", "partial", "claims", "tuned"):
        (tmp_path / "disk" / part).mkdir(parents=True)
        store.mkdir(exist_ok=True)
        (store / part).symlink_to(tmp_path / "disk" / part)
    saved = Store(store).save(record(0.5), arrays(0.5))
    assert Store(store).save(record(0.6), arrays(0.6)).id == saved.id
    assert len(list((tmp_path / "disk" / "runs" / saved.id).iterdir())) == 2


def test_a_save_removes_what_the_store_made_and_nothing_else(opened: Store) -> None:
    saved = opened.save(record(0.5), arrays(0.5))
    folder = opened.root / "runs" / saved.id
    (folder / "notes.txt").write_text("mine")
    (folder / "decisions-old.safetensors").mkdir()
    (folder / ".record.json.12.part").touch()
    (folder / "reconstructions.png").touch()
    opened.save(record(0.6), arrays(0.6))
    assert {path.name for path in folder.iterdir()} >= {"notes.txt", "decisions-old.safetensors", "record.json"}
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("kind", ["record", "log"])
def test_a_folder_where_a_file_belongs_is_set_aside(opened: Store, kind: str) -> None:
    path = opened.root / "runs" / "a" / "record.json" if kind == "record" else opened.search_path("a")
    (path / "inner").mkdir(parents=True)
    with pytest.warns(UserWarning, match=r"damaged .* \(it is a folder\); set aside as"):
        assert (opened.find("a") if kind == "record" else opened.find_search("a")) is None
    assert not path.exists() and list(path.parent.glob("*.damaged/inner"))


def test_a_store_that_cannot_be_written_gives_what_is_stored(
    inside: Inside, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert inside("run", "eszsl", *CHEAP).status == 0

    def refused(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.is_relative_to(store):
            raise OSError(errno.EROFS, "Read-only file system")

    for name in ("mkdir", "touch", "unlink", "write_bytes", "rename"):
        monkeypatch.setattr(Path, name, refused)
    monkeypatch.setattr(FileLock, "acquire", lambda self: refused(store / "claims"))
    for command in (("runs",), ("run", "eszsl", *CHEAP), ("run", "eszsl", *CHEAP, "--existing", "only-cached")):
        answer = inside(*command)
        assert answer.status == 0 and "Traceback" not in answer.err
    answer = inside("run", "devise:epochs=2", *CHEAP, "--existing", "only-cached")
    assert answer.status == 0 and "1 of 1 runs are not stored" in answer.err
    answer = inside("run", "devise:epochs=2", *CHEAP)
    reason = "cannot be written (Read-only file system); name another folder"
    assert answer.status == 2 and answer.err.endswith(f"--store {store}: {reason}\n")


def planned(*methods: str) -> list[Run]:
    return [job for row in plan(list(methods), ["digits"], Request(root=Path())) for job in row.runs]
