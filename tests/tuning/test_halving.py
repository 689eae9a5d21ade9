"""Which trials of a search run on further folds: the best half after each, by the mean so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from searching import Answers, ExampleParams, landscape, search

from zslbench.errors import RunError
from zslbench.records.store import Store
from zslbench.report.html.figures import search_data


@pytest.mark.parametrize(("trials", "second", "third"), [(3, 3, 3), (7, 4, 4), (12, 6, 4), (24, 12, 6), (25, 13, 7)])
def test_the_best_half_by_the_mean_so_far_runs_on_the_next_fold(
    store: Store, trials: int, second: int, third: int
) -> None:
    answers = Answers(uneven)
    found = search(store, answers, trials=trials)
    curves = [
        [uneven(ExampleParams(**trial.params | {"epochs": 5}), fold) for fold in range(3)] for trial in found.trials
    ]
    means = [[max(np.mean(own[: count + 1], axis=0)) for count in range(3)] for own in curves]
    alive = list(range(trials))
    for fold, count in enumerate((second, third), 1):
        alive = sorted(alive, key=lambda number: -means[number][fold - 1])[:count]  # the first of equals
        assert sorted(alive) == [number for number, trial in enumerate(found.trials) if len(trial.runs) > fold]
    for own, trial in zip(means, found.trials, strict=True):
        assert trial.means == pytest.approx(own[: len(trial.runs)])
        assert trial.state == ("complete" if len(trial.runs) == 3 else "pruned")
        assert np.mean(trial.values) == pytest.approx(trial.means[-1])
    assert found.best.value == pytest.approx(max(means[number][2] for number in alive))
    assert len(answers.runs) == len({job.spec.id for job in answers.runs}) == trials + second + third
    assert {job.spec.id for job in answers.runs} == {run_id for trial in found.trials for run_id in trial.runs}
    assert len({tuple(np.argsort(column)) for column in zip(*means, strict=True)}) > 1, "or any fold would have done"


def uneven(params: Any, fold: int) -> list[float]:
    """A landscape on which another width is the best on each fold."""
    return [value - 0.02 * abs(params.width - 2 - 3 * fold) for value in landscape(params, fold)]


def test_whether_fewer_trials_run_on_further_folds_is_said(store: Store) -> None:
    assert [search(store, Answers(), trials=trials).extent for trials in (3, 12)] == [
        "3 trials, ausuc, 3 folds",
        "12 trials, ausuc, 3 folds, the best half after each",
    ]


def test_the_other_folds_train_no_epoch_that_the_first_has_not(store: Store) -> None:
    answers = Answers(lambda params, fold: landscape(params, fold)[: 3 if fold == 0 else params.epochs])
    found = search(store, answers)
    assert {(bool(job.spec.fold), job.params.epochs) for job in answers.runs} == {(False, 5), (True, 3)}
    assert {trial.params["epochs"] for trial in found.complete} == {3}


def test_the_page_shows_all_trials_by_the_first_fold_where_only_the_best_ran_on_the_others(tmp_path: Path) -> None:
    for trials, shown in ((4, "AUSUC, percent"), (12, "AUSUC, percent, first fold")):
        found = search(Store(tmp_path / str(trials)), Answers(), trials=trials)
        data = search_data(found)
        assert data["metric"] == shown and len(data["trials"]) == trials
        values = [trial.means[0] if trials == 12 else trial.value for trial in found.trials]
        assert [one["value"] for one in data["trials"]] == pytest.approx([100 * value for value in values], abs=0.001)
        assert [one["best"] for one in data["trials"]] == [trial == found.best for trial in found.trials]


def test_a_trial_that_fails_on_another_fold_gives_its_place_to_the_next(store: Store) -> None:
    worst = []

    def answer(params: Any, fold: int) -> list[float] | Exception:
        if fold and params.lr in worst[:2]:
            return RunError("too bad")
        return landscape(params, fold)

    ranked = search(Store(store.root / "before"), Answers(), trials=12)
    worst += [ranked.trials[number].params["lr"] for number in ranked.ranked(1)]
    found = search(store, Answers(answer), trials=12)
    assert [trial.params["lr"] for trial in found.trials if trial.state == "failed"] == sorted(
        worst[:2], key=[trial.params["lr"] for trial in found.trials].index
    )
    assert {trial.params["lr"] for trial in found.complete} <= set(worst[2:8])
    assert {trial.params["lr"] for trial in found.trials if len(trial.means) > 1} == set(worst[2:8])
    assert len(found.complete) == 4


def test_a_search_whose_records_are_to_be_made_anew_makes_each_once(store: Store) -> None:
    answers = Answers()
    search(store, answers, trials=12, existing="rerun", afresh=True)
    assert len(answers.runs) == len({job.spec.id for job in answers.runs}) == 12 + 6 + 4


def test_a_log_of_an_older_version_that_pruned_after_folds_stays_finished_and_goes_on(store: Store) -> None:
    """Its trials have no `means`; what it chose stands, and its means are what later trials are proposed by."""
    found = search(store, Answers(), trials=8)
    old = found.model_copy(update={"trials": [trial.model_copy(update={"means": []}) for trial in found.trials]})
    store.save_search(old)
    answers = Answers()
    assert search(store, answers, trials=8) == old and not answers.runs
    more = search(store, answers, trials=12)
    assert (
        old.extent == "8 trials, ausuc, 3 folds"
        and found.extent == "8 trials, ausuc, 3 folds, the best half after each"
    )
    assert more.trials[:8] == old.trials and len(more.trials) == 12
    assert {job.spec.fold for job in answers.runs} == {0, 1, 2} and more.finished
