"""The search over hyper-parameters: what it proposes, what it chooses, and that going on changes nothing."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from searching import (
    METHODS,
    Answers,
    Example,
    ExampleParams,
    Killed,
    among,
    configuration,
    landscape,
    params_of,
    search,
    span,
)
from toy import toy_data

from zslbench.api.embedder import Embedder
from zslbench.errors import RunError, UsageError
from zslbench.records.search import Search
from zslbench.records.store import Store
from zslbench.tuning.tune import begin, shares_factors

SPACE = ExampleParams.search_space()


def log(found: Search) -> list[tuple[Any, ...]]:
    return [(trial.params, trial.state, trial.values, trial.runs, trial.reason) for trial in found.trials]


def test_the_number_of_epochs_is_the_best_of_the_mean_curve_and_the_best_trial_has_the_best_mean(
    run: Any, store: Store
) -> None:
    """Recomputed from the stored records of real runs; then trained anew with just that number of epochs."""
    found = search(store, run, trials=5, folds=2)
    assert found.finished and len(found.complete) == 4
    means = []
    for trial in found.complete:
        records = [store.find(run_id) for run_id in trial.runs]
        assert [record.spec.fold for record in records] == [0, 1]
        curves = np.array([[metrics["ausuc"] for metrics in record.training.watched] for record in records])
        assert curves.shape == (2, 5)  # as many epochs as the space allows, whatever the default is
        assert trial.means == [curves[0].max(), pytest.approx(curves.mean(axis=0).max())]
        assert trial.params["epochs"] == curves.mean(axis=0).argmax() + 1
        assert trial.values == curves[:, trial.params["epochs"] - 1].tolist()
        means.append(curves.mean(axis=0).max())
    assert found.best == found.complete[int(np.argmax(means))]
    assert found.best.value == pytest.approx(max(means))
    assert any(trial.params["epochs"] < 5 for trial in found.complete), "or this test says nothing"

    job = configuration().run(0, "validation", 1, params=found.tuned)
    [record] = run([job]).values()
    assert record.training.epochs == found.best.params["epochs"]
    assert record.metrics["ausuc"] == found.best.values[1]


def test_the_first_trial_is_the_methods_defaults(store: Store) -> None:
    answers = Answers()
    found = search(store, answers)
    defaults = ExampleParams()
    assert found.trials[0].params == {
        "lr": defaults.lr,
        "width": defaults.width,
        "kind": defaults.kind,
        "epochs": 3,  # peaks at 2, 3, 4 in the three folds
    }
    assert params_of(answers.runs[0]) == ExampleParams(epochs=5)


def test_fixed_values_are_in_the_first_trial_and_in_every_other_and_are_not_searched(store: Store) -> None:
    answers = Answers()
    found = search(store, answers, configuration(lr=0.2, batch_size=9), trials=12)
    assert "lr" not in found.space and all("lr" not in trial.params for trial in found.trials)
    assert {(params_of(job).lr, params_of(job).batch_size) for job in answers.runs} == {(0.2, 9)}
    assert found.tuned == {"scale": "zscore", "lr": 0.2, "batch_size": 9, **found.best.params}


@pytest.mark.parametrize(
    "space",
    [
        {},
        {"width": span(3, 4, integer=True), "lr": span(0.12345, 0.12349)},
        {"batch_size": among(8, 64).model_copy(update={"integer": True}), "kind": among("relu")},
    ],
)
def test_trials_are_inside_the_space_and_whole_numbers_stay_whole(store: Store, space: dict[str, Any]) -> None:
    found = search(store, Answers(), space=space, trials=16, folds=1)
    assert found.space == SPACE | space
    for trial in found.trials:
        assert trial.params.keys() == found.space.keys()
        assert type(trial.params["width"]) is int
        for name, value in trial.params.items():
            own = found.space[name]
            assert value in own.choices if own.choices else own.low <= value <= own.high, (name, value)
    assert len({trial.params["lr"] for trial in found.trials}) > 8
    assert len({trial.params["width"] for trial in found.trials}) > 1


def test_a_default_outside_the_space_is_no_first_trial_and_no_error(store: Store) -> None:
    found = search(store, Answers(), space={"kind": among("relu"), "width": span(7, 9, integer=True)})
    assert found.trials[0].params["kind"] == "relu" and found.trials[0].params["width"] >= 7
    assert found.trials[0].params["lr"] == ExampleParams().lr


@pytest.mark.parametrize(
    ("space", "trained", "chosen"),
    [(span(1, 5, integer=True), 5, 3), (span(4, 5, integer=True), 5, 4), (among(1, 6), 6, 1), (among(1), 1, 1)],
)
def test_the_number_of_epochs_is_one_that_was_asked_for(store: Store, space: Any, trained: int, chosen: int) -> None:
    answers = Answers()
    found = search(store, answers, space={"epochs": space})
    assert {params_of(job).epochs for job in answers.runs} == {trained}
    assert {trial.params["epochs"] for trial in found.complete} == {chosen}


@pytest.mark.parametrize(
    ("fixed", "space"), [({"schedule": "cosine"}, {}), ({}, {"schedule": among("constant", "cosine")})]
)
def test_with_a_cosine_schedule_epochs_are_searched_and_not_read_off(store: Store, fixed: Any, space: Any) -> None:
    answers = Answers()
    found = search(store, answers, configuration(**fixed), space=space, trials=12)
    by_run = {job.spec.id: params_of(job) for job in answers.runs}
    assert len({trial.params["epochs"] for trial in found.trials}) > 1
    for trial in found.complete:
        for fold, run_id in enumerate(trial.runs):
            assert by_run[run_id].epochs == trial.params["epochs"]
            assert trial.values[fold] == landscape(by_run[run_id], fold)[-1]  # the end of its curve, not the best


def test_interrupted_anywhere_and_resumed_the_log_is_the_same(tmp_path: Path) -> None:
    """Three rounds of one fold, the last one proposed by a sampler that has learnt; then a round of each other fold."""
    whole = search(Store(tmp_path / "whole"), answers := Answers(), trials=12)
    assert answers.calls == 5 and [job.spec.fold for job in answers.runs] == [0] * 12 + [1] * 6 + [2] * 4
    for call in range(1, 6):
        store = Store(tmp_path / str(call))
        with pytest.raises(Killed):
            search(store, Answers(kill_at=call), trials=12)
        stored = store.find_search(whole.id)
        assert len(stored.trials if stored else []) == min(12, 4 * (call - 1))
        assert not stored or not (stored.finished or stored.complete)
        again = Answers()
        assert log(search(store, again, trials=12)) == log(whole), f"killed in call {call}"
        asked = {job.spec.id for job in again.runs}
        assert asked <= {job.spec.id for job in answers.runs}, "what was run before is found again by the same ids"


def test_the_order_in_which_trials_end_is_irrelevant(tmp_path: Path) -> None:
    logs = [log(search(Store(tmp_path / str(b)), Answers(backwards=b), trials=12)) for b in (False, True)]
    assert logs[0] == logs[1]


def test_a_finished_search_asks_for_nothing_and_more_trials_go_on_from_it(store: Store) -> None:
    first = search(store, Answers(), trials=6)
    again = search(store, answers := Answers(), trials=6)
    fewer = search(store, answers, trials=2)
    assert again == fewer == first and answers.calls == 0
    more = search(store, answers, trials=10)
    assert log(more)[:6] == log(first)
    assert len(more.trials) == 10 and len({job.spec.id for job in answers.runs}) <= 4 * 3
    assert store.find_search(first.id) == more


@pytest.mark.parametrize(
    ("plan", "named"),
    [
        ({"space": {"width": span(2, 8, integer=True)}}, "width was 2:9, not 2:8"),
        ({"space": {"kind": among("relu")}}, "kind was relu,tanh, not relu"),
        ({"space": {"lr": SPACE["lr"].model_copy(update={"points": 4})}}, "lr was 0.001:0.5:log, not 0.001:0.5:log:4"),
        ({"space": {"beta1": span(0, 0.9)}}, "beta1 was fixed, not 0:0.9"),
        ({"grid": True}, "it was by tpe, not by grid"),
    ],
)
def test_another_space_is_refused_with_the_difference(store: Store, plan: dict[str, Any], named: str) -> None:
    first = search(store, Answers())
    with pytest.raises(UsageError) as refused:
        search(store, Answers(), **plan)
    assert named in str(refused.value) and "--existing rerun" in str(refused.value)
    assert store.find_search(first.id) == first
    assert search(store, Answers(), afresh=True, **plan).difference(first)


@pytest.mark.parametrize(
    "other",
    [{"metric": "h"}, {"folds": 2}, {"of": configuration(lr=0.1)}, {"of": configuration(data=toy_data(seed=1))}],
    ids=["metric", "folds", "fixed", "data"],
)
def test_searches_of_different_things_do_not_meet(store: Store, other: dict[str, Any]) -> None:
    first = search(store, Answers(), trials=1)
    second = search(store, Answers(metric=other.get("metric", "ausuc")), trials=1, **other)
    assert first.id != second.id
    assert len(list(store.root.glob("tuned/*"))) == 2


@pytest.mark.parametrize("first", [True, False])
def test_a_failed_run_is_a_failed_trial_with_its_reason_and_the_search_goes_on(store: Store, first: bool) -> None:
    def answer(params: Any, fold: int) -> list[float] | Exception:
        failing = params.width > 5 and fold != int(first)
        return RunError(f"width {params.width} is too much") if failing else landscape(params, fold)

    answers = Answers(answer)
    found = search(store, answers, trials=12)
    assert {trial.state for trial in found.trials} >= {"complete", "failed"} and len(found.trials) == 12
    assert found.trials[0].state == "failed"  # the defaults, too
    for trial in found.trials:
        if trial.state == "failed":
            assert trial.reason == f"width {trial.params['width']} is too much"
            assert len(trial.values) == len(trial.runs) == (0 if first else 1)
        else:
            assert trial.reason == ""
    assert found.best.params["width"] <= 5
    if first:
        assert all(params_of(job).width <= 5 for job in answers.runs if job.spec.fold)


def test_where_all_trials_fail_the_first_reason_is_the_error_and_the_log_is_kept(store: Store) -> None:
    with pytest.raises(RunError, match=r"no trial of example on toy was completed; first: width 6 is too much"):
        search(store, Answers(lambda params, fold: RunError(f"width {params.width} is too much")))
    [path] = (store.root / "tuned").iterdir()
    kept = store.find_search(path.stem)
    assert kept is not None and [trial.state for trial in kept.trials] == ["failed"] * 8


def test_a_metric_that_the_method_does_not_have_is_a_wrong_command(store: Store) -> None:
    with pytest.raises(UsageError) as refused:
        search(store, Answers(metric="acc_uu"))
    for words in ("method 'example' cannot be tuned by AUSUC", "the gate needs seen classes", "--metric"):
        assert words in str(refused.value)
    assert search(store, Answers(metric="acc_uu"), metric="acc_uu").best.values


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\x00\xff", lambda b: b"{}"])
def test_a_damaged_log_is_warned_about_and_begun_again(store: Store, damage: Any) -> None:
    first = search(store, Answers())
    path = store.root / "tuned" / f"{first.id}.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=f"{path}: damaged log of a search .*; set aside as {path.name}.damaged"):
        again = search(store, answers := Answers())
    assert log(again) == log(first) and answers.calls == 4
    assert store.find_search(first.id) == first


def test_a_grid_is_every_combination_once_whether_interrupted_or_not(tmp_path: Path) -> None:
    space = {"lr": span(0.001, 0.1, log=True, points=3), "width": among(2, 4), "batch_size": among(8, 16)}
    found = search(Store(tmp_path / "whole"), answers := Answers(), configuration(kind="relu"), grid=True, space=space)
    points = [(t.params["lr"], t.params["width"], t.params["batch_size"]) for t in found.trials]
    assert sorted(points) == sorted(itertools.product((0.001, 0.01, 0.1), (2, 4), (8, 16)))
    assert found.strategy == "grid" and found.wanted == 12
    assert {trial.params["epochs"] for trial in found.trials} == {3}  # read off, so no part of the grid
    assert len({job.spec.id for job in answers.runs}) == len(answers.runs) == 12 * 3
    broken = Store(tmp_path / "broken")
    with pytest.raises(Killed):
        search(broken, Answers(kill_at=5), configuration(kind="relu"), grid=True, space=space)
    assert log(search(broken, Answers(), configuration(kind="relu"), grid=True, space=space)) == log(found)


def test_too_large_a_grid_is_refused(store: Store) -> None:
    space = {"lr": span(0.001, 0.1, points=300), "width": span(2, 9, integer=True, points=8)}
    with pytest.raises(UsageError, match=r"the grid of method 'example' has 2400 points; name fewer values"):
        search(store, Answers(), configuration(kind="relu"), grid=True, space=space)
    assert list(store.root.glob("tuned/*")) == []


def test_what_is_fixed_cannot_be_searched_and_something_must_be(store: Store) -> None:
    with pytest.raises(UsageError, match=r"lr is both fixed to 0.1 and searched; give one of them"):
        search(store, Answers(), configuration(lr=0.1), space={"lr": SPACE["lr"]})
    with pytest.raises(UsageError, match="nothing to search but what is fixed; see --search"):
        search(store, Answers(), configuration(lr=0.1, width=3, kind="relu", epochs=2))


def test_where_only_stored_searches_will_do_nothing_is_run(store: Store) -> None:
    with pytest.raises(UsageError, match="no finished search of example on toy with 8 trials is stored"):
        search(store, answers := Answers(), only_stored=True)
    assert answers.calls == 0
    first = search(store, answers)
    assert search(store, Answers(), only_stored=True) == first
    with pytest.raises(UsageError, match="with 9 trials is stored"):
        search(store, Answers(), only_stored=True, trials=9)


def test_a_method_that_goes_on_after_its_closed_form_is_not_swept() -> None:
    class Closed(Embedder[ExampleParams]):
        def factorize(self, view: Any) -> int:
            return 0

    class Started(Closed):
        def loss(self, batch: Any) -> Any:
            return batch.x.sum()

    assert [shares_factors(method) for method in (Closed, Started, Example)] == [True, False, False]


def test_a_factorisation_of_images_serves_no_grid_because_features_are_made_by_runs() -> None:
    class OnImages(Embedder[ExampleParams]):
        input = "images"

        def factorize(self, view: Any) -> None: ...

    class OnFeatures(OnImages):
        input = "features"

    assert (shares_factors(OnFeatures), shares_factors(OnImages)) == (True, False)


def test_a_search_with_random_or_given_weights_is_another_search(store: Store) -> None:
    own = begin(configuration())
    others = [own.model_copy(update=change) for change in ({"pretrained": False}, {"weights": {"G": "12ab"}})]
    assert len({own.id, *(other.id for other in others)}) == 3


def test_a_search_of_six_trials_learns_from_the_first_four_and_one_of_sixteen_has_a_longer_random_start(
    tmp_path: Path,
) -> None:
    """A random start does not look at the values, so other values change what is proposed once they are learnt from."""

    def proposed(trials: int, sign: int) -> list[Any]:
        def curve(params: Any, fold: int) -> list[float]:
            return [0.5 + 0.1 * sign * math.log10(params.lr)] * params.epochs

        store = Store(tmp_path / f"{trials} {sign}")
        found = search(store, Answers(curve), configuration(epochs=1), trials=trials, folds=1)
        return [trial.params for trial in found.trials]

    def alike(trials: int) -> int:
        pairs = zip(proposed(trials, 1), proposed(trials, -1), strict=True)
        return next((place for place, (up, down) in enumerate(pairs) if up != down), trials)

    assert [alike(trials) for trials in (3, 6, 16, 32)] == [3, 4, 8, 8]


def test_two_methods_of_one_space_try_different_points_and_one_method_the_same_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "other", type("Other", (Example,), {}))
    of = [configuration("example"), configuration("other"), configuration("example", toy_data(seed=1))]
    one, other, elsewhere = ([t.params for t in search(Store(tmp_path / str(i)), Answers(), own).trials]
                             for i, own in enumerate(of))  # fmt: skip
    assert one[0] == other[0] == elsewhere[0]  # the defaults
    assert not [point for point in one[1:] if point in other]
    assert one == elsewhere  # which data it is decides nothing
