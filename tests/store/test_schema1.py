"""A store of the version whose runs were identified by their evaluators too: it is read, and trains nothing anew.

`schema1.zip` was made by that version: DeViSE with and without calibration, SAE and CMT* on digits, a grid of ESZSL and
the run that it chose, and a search of DeViSE.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from planned import plan

from zslbench.bench import Bench
from zslbench.records.store import Store
from zslbench.runs.request import Request
from zslbench_methods.eszsl import ESZSL
from zslbench_methods.ranking import DeViSE
from zslbench_methods.sae import SAE

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def methods_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their meaning has changed since, so runs of today have other identities."""
    for method in (DeViSE, SAE, ESZSL):
        monkeypatch.setattr(method, "version", 1)
        monkeypatch.setattr(method, "scales", ())
    monkeypatch.setattr(SAE, "scale", "l2")
    monkeypatch.setattr(ESZSL, "scale", "none")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with zipfile.ZipFile(HERE / "schema1.zip") as file:
        file.extractall(tmp_path / "old")
    return tmp_path / "old"


def written(folder: Path) -> dict[str, dict[str, object]]:
    """What the older version wrote, by id."""
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("runs/*/record.json")}


def test_every_run_is_found_under_the_id_that_a_plan_has_now_with_its_numbers(old: Path) -> None:
    store, before = Store(old), written(old)
    methods = ["devise", "sae", "cmt-star"]
    for row in plan(methods, ["digits"], Request(root=Path())):
        [run] = row.runs
        record = store.find(run.id)
        assert record is not None and run.validated_by(record), row.label
        [same] = [
            values
            for values in before.values()
            if values["spec"]["method"] == row.label and "calibrated" in values["spec"]["evaluators"]
        ]
        assert record.metrics == same["metrics"] and record.id == run.id != same["id"]
        assert len(store.arrays(record)["y"]) == len(store.arrays(record)["best_seen"]) > 500


def test_two_runs_that_differed_in_evaluators_alone_are_one_and_the_one_with_more_counts(old: Path) -> None:
    before, store = written(old), Store(old)
    assert (
        sum(values["spec"]["method"] == "devise" and values["spec"]["on"] == "test" for values in before.values()) == 2
    )
    [record] = [r for r in store.records() if r.spec.method == "devise" and r.spec.on == "test"]
    assert "h_cal" in record.metrics and len(list(store.records())) == len(before) - 1


def test_the_same_commands_train_nothing_and_give_the_same_figures(old: Path) -> None:
    events: list[str] = []
    with Bench(store=old, on_event=lambda event: events.append(event.kind)) as bench:
        compared = bench.compare(["devise", "sae", "cmt-star"], dataset="digits", seeds=1)
        tuned = bench.run("eszsl", dataset="digits", tuned=True, folds=1)
        [search] = bench.tune(
            "devise", dataset="digits", folds=1, trials=2, search=["lr=1e-3:1e-2:log", "margin=0.1:10:log"]
        )
    assert "started" not in events and len(compared) == 3
    assert tuned[0].metrics["ausuc"] == pytest.approx(0.430, abs=0.001)
    assert search.finished and search.best.value == pytest.approx(0.6058, abs=0.0001)


def test_older_ids_still_name_their_runs(old: Path) -> None:
    for run, values in written(old).items():
        assert Store(old).lookup(run[:8]).spec.method == values["spec"]["method"]


def test_a_store_that_cannot_be_written_is_read_all_the_same(old: Path) -> None:
    (old / "schema-1.json").mkdir()  # stands for a file system without write access: root may write anywhere
    assert len(list(Store(old, create=False).records())) == len(written(old)) - 1


def test_nothing_of_the_older_version_is_changed(old: Path) -> None:
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    with Bench(store=old, on_event=None) as bench:
        bench.compare(["devise", "sae"], dataset="digits", seeds=1)
    assert all(path.read_bytes() == content for path, content in before.items())
