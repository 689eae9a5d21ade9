"""Runs as jobs that submitit starts, on this machine, as it would on a cluster."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from elsewhere import DEVISE, check_odd_methods
from outside import CHEAP, Answer, command, start
from planned import plan

from zslbench import interruption
from zslbench.api.engine import Listener
from zslbench.api.progress import Progress
from zslbench.engines.inline import Inline
from zslbench.engines.slurm import Slurm, SlurmOptions
from zslbench.errors import UsageError
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup
from zslbench.runs.request import Request


@pytest.fixture
def _submitit() -> None:
    pytest.importorskip("submitit", reason="submitit is not installed; pip install 'zslbench[slurm]'")


def runs(epochs: int, count: int = 1) -> list[Run]:
    seeds = tuple(range(count))
    [row] = plan([f"devise:epochs={epochs}"], ["digits"], Request(root=Path(), seeds=seeds, calibrated=False))
    return row.runs


class Executed:
    """Runs on the local executor; at the first epoch told of, the process that executes it gets a signal."""

    def __init__(self, wanted: list[Run], store: Path, number: signal.Signals | None = None, size: int = 1) -> None:
        self.epochs: list[int] = []
        self.records: list[RunRecord] = []
        self.errors: list[str] = []
        self.beginnings = 0

        def told() -> str:
            return next((store / "jobs").glob("*/0.jsonl")).read_text()

        def finished(run: Run, record: RunRecord) -> None:
            self.records.append(record)
            self.beginnings += told().count('"event": "started"')

        def epoch(run: Run, progress: Progress) -> None:
            if not self.epochs and number is not None:
                [pid] = re.findall(r'"where": "[^"]*, process (\d+)"', told())
                os.kill(int(pid), number)
            self.epochs.append(progress.epoch)

        engine = Slurm(2)
        engine.options = SlurmOptions(cluster="local", runs_per_job=size)
        listener = Listener(
            epoch=epoch,
            finished=finished,
            failed=lambda run, error: self.errors.append(str(error)),
        )
        engine.execute(wanted, Setup(store=store, device="cpu"), listener)


@pytest.mark.slow
@pytest.mark.usefixtures("_submitit")
def test_a_run_that_is_preempted_is_queued_again_and_goes_on_to_the_same_numbers(store: Path, tmp_path: Path) -> None:
    wanted = runs(epochs=150)
    found = Executed(wanted, store, signal.SIGUSR2)
    assert (found.errors, found.beginnings) == ([], 2)
    assert found.epochs == sorted(set(found.epochs)), "it began again"
    records: list[RunRecord] = []
    listener = Listener(finished=lambda run, record: records.append(record))
    Inline().execute(wanted, Setup(store=tmp_path / "inline", device="cpu"), listener)
    assert [(r.metrics, r.arrays) for r in found.records] == [(r.metrics, r.arrays) for r in records]
    assert not (store / "jobs").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("_submitit")
def test_a_run_whose_job_is_killed_is_submitted_again_and_the_log_is_named(store: Path) -> None:
    with pytest.warns(UserWarning, match=r"its worker was lost on .*, process \d+: job \d+ ended as .*\(log: .*\)"):
        found = Executed(runs(epochs=150), store, signal.SIGKILL)
    assert (len(found.records), found.errors) == (1, [])
    assert list((store / "jobs").glob("*/*.err")), "the logs were removed"


@pytest.mark.slow
@pytest.mark.usefixtures("_submitit")
def test_slurm_gives_the_numbers_of_inline_and_a_run_that_kills_its_jobs_is_one_line(
    odd: Path, reference: Answer, store: Path
) -> None:
    engine = ("--engine", "slurm:cluster=local,runs_per_job=3", "--jobs", "2")
    answer = command(*DEVISE, "doomed", "noisy", *CHEAP, *engine, "--json", path=odd)
    check_odd_methods(answer, reference, "its worker was lost 3 times")
    assert len(list(Store(store, create=False).records())) == 2


def test_without_submitit_the_engine_is_one_line(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"submitit is not installed; pip install 'zslbench\[slurm\]'"):
        Slurm().execute([], Setup(store=store), Listener())


@pytest.mark.usefixtures("_submitit")
def test_without_sbatch_the_engine_is_one_line_that_names_the_local_one(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match=r"there is no sbatch here.*--engine slurm:cluster=local"):
        Slurm().execute([], Setup(store=store), Listener())


@pytest.mark.slow
@pytest.mark.usefixtures("_submitit")
def test_interruption_has_jobs_write_their_checkpoints_and_leaves_nothing_behind(store: Path) -> None:
    words = ("run", "devise:epochs=5000", "-d", "digits", "--device", "cpu", "--uncalibrated", "--seeds", 2)
    process = start(*words, "--engine", "slurm:cluster=local", session=True)
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    assert any("train epoch" in line for line in lines)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"zslbench: {interruption.MESSAGE}" and "Traceback" not in err
    assert list((store / "partial").glob("*/final.safetensors"))
    assert not (store / "jobs").exists()
