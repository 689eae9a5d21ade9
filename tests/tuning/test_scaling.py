"""The scaling of the data as a part of the search space: what is proposed, scored, chosen, stored and run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from searching import METHODS, Answers, Example, Ridge, configuration, params_of, search
from toy import toy_data

from zslbench.api.dataset import ZSLData
from zslbench.errors import UsageError
from zslbench.records.search import Search
from zslbench.records.store import Store
from zslbench.runs.memory import Where
from zslbench.runs.request import Request
from zslbench.runs.resolve import received, resolve
from zslbench.runs.row import Row
from zslbench.tuning.oracle import oracle
from zslbench.tuning.tune import begin

HERE = Where.of("cpu", None)


class ScaledExample(Example):
    scales: ClassVar = ("none", "zscore")


class ScaledRidge(Ridge):
    scales: ClassVar = ("none", "l2", "zscore")
    factorised: ClassVar[list[Any]] = []

    def factorize(self, view: Any) -> Any:
        self.factorised.append(view.x)
        return super().factorize(view)


@pytest.fixture(autouse=True)
def methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "scaled-example", ScaledExample)
    monkeypatch.setitem(METHODS, "scaled-ridge", ScaledRidge)


def uneven() -> ZSLData:
    """A problem in which noise is a thousand times as large as what tells classes apart, until features are scaled."""
    data = toy_data()
    noise = 1e3 * np.random.default_rng(1).normal(size=(len(data.labels), 3))
    return replace(data, features=np.hstack([data.features, noise]).astype(np.float32))


def free(method: str, data: ZSLData | None = None, **request: Any) -> Any:
    return configuration(method, data, request={"scale": None, **request})


@pytest.mark.parametrize("method", ["scaled-example", "scaled-ridge"])
def test_a_search_chooses_the_scale_that_helps_and_the_runs_of_its_row_have_it(
    method: str, run: Any, store: Store
) -> None:
    of = free(method, uneven())
    found = search(store, run, of, trials=8, folds=2, metric="acc_uu")
    assert next(iter(found.space)) == "scale" and found.scale == "none"
    best = dict.fromkeys(METHODS[method].scales, 0.0)
    for trial in found.complete:
        best[trial.params["scale"]] = max(best[trial.params["scale"]], trial.value)
    assert best["zscore"] == max(best.values()) > best["none"], best
    assert found.best.params["scale"] == "zscore" and "scale=zscore" in repr(found)

    row = Row.of(of, found)
    assert row.spec is not None and row.spec.scale == "zscore" and "scale" not in row.spec.params
    same = configuration(method, of.data, request={"scale": "zscore"}).run(0, params=found.best.params)
    assert row.spec.id == same.id and "scale=zscore" in str(row.runs[0]) and "scale=" not in str(same)


@pytest.mark.parametrize("method", ["scaled-example", "scaled-ridge"])
def test_each_value_is_that_of_a_run_with_the_scale_given_by_hand(method: str, run: Any, store: Store) -> None:
    found = search(store, run, free(method), trials=6, folds=2, metric="acc_uu")
    values, wanted = [], []
    for trial in found.complete:
        params = {name: value for name, value in trial.params.items() if name != "scale"}
        by_hand = configuration(method, request={"scale": trial.params["scale"]})
        records = run(jobs := [by_hand.run(0, "validation", fold, params=params) for fold in (0, 1)])
        assert {job.spec.scale for job in jobs} == {trial.params["scale"]}
        wanted += [records[job.id].metrics["acc_uu"] for job in jobs]
        values += trial.values
    assert values == pytest.approx(wanted, abs=1e-6) and len({t.params["scale"] for t in found.complete}) > 1


def test_a_grid_is_factorised_once_for_each_scale_and_fold(store: Store) -> None:
    ScaledRidge.factorised.clear()
    found = search(store, Answers(), free("scaled-ridge"), folds=2)
    assert len(found.complete) == 3 * 7 and len(ScaledRidge.factorised) == 3 * 2
    assert [trial.params["scale"] for trial in found.trials[::7]] == ["none", "l2", "zscore"]


def test_the_scaling_of_class_embeddings_is_searched_likewise(run: Any, store: Store) -> None:
    ScaledRidge.factorised.clear()
    asked = ("semantics_scale=none,whiten", "scale=l2,none", "weight=0.1,1")
    found = search(store, Answers(), free("scaled-ridge"), folds=2, search=asked)
    assert list(found.space) == ["scale", "semantics_scale", "weight"]
    assert len(found.complete) == 8 and len(ScaledRidge.factorised) == 4 * 2
    row = Row.of(free("scaled-ridge"), found)
    assert row.spec is not None and row.spec.params.keys() <= {"weight"}
    for trial in found.complete:
        how = {name: trial.params[name] for name in ("scale", "semantics_scale")}
        job = configuration("scaled-ridge", request=how).run(
            0, "validation", 1, params={"weight": trial.params["weight"]}
        )
        assert trial.values[1] == pytest.approx(run([job])[job.id].metrics["ausuc"], abs=1e-6)
    assert len({trial.value for trial in found.complete}) > 4


def test_scaling_comes_first_in_whatever_order_it_is_given() -> None:
    asked = ("weight=1,2", "semantics_scale=none,l2", "scale=none,l2")
    assert list(begin(free("ridge", search=asked)).space) == ["scale", "semantics_scale", "weight"]


def test_a_method_may_declare_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whitened = type("Whitened", (Example,), {"semantics_scale": "whiten", "semantics_scales": ("whiten", "none")})
    monkeypatch.setitem(METHODS, "whitened", whitened)
    found = search(store, answers := Answers(), free("whitened"), trials=8)
    assert found.trials[0].params["semantics_scale"] == found.semantics_scale == "whiten"
    assert {job.spec.semantics_scale for job in answers.runs} == {"whiten", "none"}
    given = search(store, answers := Answers(), free("whitened", semantics_scale="none"), trials=4)
    assert {job.spec.semantics_scale for job in answers.runs} == {"none"} and given.id != found.id


def test_another_process_is_sent_the_scaling_that_was_chosen() -> None:
    [of] = resolve(["devise"], ["digits"], Request(root=Path()))
    run = of.run(0, params={"scale": "l2", "semantics_scale": "whiten", "lr": 0.5})
    assert (run.spec.scale, run.spec.semantics_scale, run.spec.params) == ("l2", "whiten", {"lr": 0.5})
    assert received(run.sent()).spec == run.spec


def test_the_oracle_looks_at_each_trial_with_its_own_scale(run: Any, store: Store) -> None:
    of = free("scaled-ridge", uneven())
    found = search(store, run, of, folds=1)
    figures = []
    for trial in found.complete:
        by_hand = configuration("scaled-ridge", of.data, request={"scale": trial.params["scale"]})
        [record] = run([by_hand.run(0, params={"weight": trial.params["weight"]})]).values()
        figures.append(record.metrics["ausuc"])
    assert oracle(of, found, run, HERE) == pytest.approx(max(figures), abs=1e-6)


def test_the_first_trial_has_the_methods_own_scale_and_later_ones_others(store: Store) -> None:
    answers = Answers()
    found = search(store, answers, free("scaled-example"), trials=12)
    assert found.trials[0].params["scale"] == "none"
    assert {job.spec.scale for job in answers.runs} == {"none", "zscore"}
    assert all("scale" not in job.spec.params and params_of(job) for job in answers.runs)


def test_a_scale_that_is_fixed_is_not_searched_and_such_a_search_is_another(store: Store) -> None:
    fixed = search(store, answers := Answers(), configuration("scaled-example", request={"scale": "none"}), trials=4)
    assert "scale" not in fixed.space and fixed.tuned["scale"] == "none"
    assert {job.spec.scale for job in answers.runs} == {"none"}
    found = search(store, Answers(), free("scaled-example"), trials=4)
    assert found.id != fixed.id  # though both begin with the method's own
    with pytest.raises(UsageError, match=r"^scale is both fixed to zscore and searched; give one of them$"):
        search(store, Answers(), configuration("scaled-example"), search=("scale=l2",))


def test_another_space_of_scales_is_refused_with_the_difference(store: Store) -> None:
    search(store, Answers(), free("example"), trials=4)
    with pytest.raises(UsageError, match="scale was fixed, not l2,none"):
        search(store, Answers(), free("example"), trials=4, search=("scale=l2,none",))


def test_a_search_stored_without_it_can_be_read_and_has_the_id_that_it_had(store: Store) -> None:
    found = search(store, Answers(), free("example"), trials=4)
    stored = found.model_dump(mode="json")
    assert "scale" not in stored["base"] and "scale" not in stored["space"]
    assert Search.model_validate(stored).id == found.id
    assert search(store, answers := Answers(), free("example"), trials=4) == found and answers.calls == 0
