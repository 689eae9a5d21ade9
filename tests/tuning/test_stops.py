"""A trial ends when its validation curve no longer rises: what it is then, and what is chosen."""

from __future__ import annotations

import shlex
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import Inside, inside
from rich.console import Console
from searching import Answers, among, configuration, landscape, params_of, search, span

from zslbench import Bench
from zslbench.api.evaluator import Metric
from zslbench.api.params import Space
from zslbench.records.recomputed import check_metrics
from zslbench.records.store import Store
from zslbench.records.verify import verify
from zslbench.report.detail import print_record
from zslbench.runs.again import command_of
from zslbench.runs.request import Request
from zslbench.runs.resolve import received, resolve
from zslbench.tuning.space import floor, patience

__all__ = ["inside"]

EPOCHS = {"epochs": span(1, 40, integer=True)}


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (span(2, 40, integer=True), 10),
        (span(2, 30, integer=True), 8),  # a quarter, rounded up
        (span(1, 6, integer=True), 5),  # never fewer than five
        (among(20, 40), 20),  # or none of the choices might be reached
        (among(100), 100),
    ],
)
def test_a_trial_bears_a_quarter_of_the_most_epochs(space: Space, expected: int) -> None:
    assert patience(space) == expected


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a real search whose trials ended early."""
    store = tmp_path_factory.mktemp("stops")
    Bench(store=store).tune("devise", dataset="digits", trials=3, folds=2)
    return store


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a real search of enough trials to drop some in their first epochs."""
    store = tmp_path_factory.mktemp("longer")
    Bench(store=store, stack="1").tune("devise", dataset="digits", trials=16, folds=1)
    return store


def trials(root: Path) -> list[Any]:
    store = Store(root)
    [name] = store.searches()
    return [store.find(run) for trial in store.find_search(name).trials for run in trial.runs]


def test_a_trial_ends_a_quarter_of_the_epochs_after_its_best_one_and_keeps_that_model(stopped: Path) -> None:
    records, lengths = trials(stopped), [0]
    for record in records:
        most = lengths[-1] if record.spec.fold else 40  # as many as the first fold had
        curve = np.array([watched["ausuc"] for watched in record.training.watched])
        best = int(curve.argmax()) + 1
        assert record.spec.params["epochs"] == most
        assert (record.spec.stop_on, record.spec.stop_after) == ("ausuc", 10)
        assert len(curve) == min(most, best + 10)
        assert record.training.epochs == best
        assert record.metrics["ausuc"] == curve[best - 1]
        lengths.append(len(curve))
    assert min(lengths[1:]) < 40, "or this test says nothing"


def test_the_same_number_of_epochs_trains_the_same_model(stopped: Path, inside: Inside) -> None:
    """The command that is shown for a trial gives its figures, under an id of its own."""
    store = Store(stopped)
    record = min(trials(stopped), key=lambda record: record.training.epochs)
    before = set(store.ids())
    assert inside(*shlex.split(command_of(record))[1:], "--store", stopped).status == 0
    [new] = set(store.ids()) - before
    found = store.find(new)
    assert found.spec.params["epochs"] == record.training.epochs < 40
    assert found.metrics == record.metrics
    both = store.arrays(found), store.arrays(record)
    assert all(np.array_equal(both[0][name], both[1][name]) for name in both[1])


def test_its_record_has_no_intervals_and_can_be_verified_and_repeated(stopped: Path) -> None:
    store = Store(stopped)
    assert not [checked for checked in verify(store) if checked.problem]
    record = trials(stopped)[0]
    assert record.metrics and not record.intervals
    assert not check_metrics(record, store.arrays(record))
    wrong = record.model_copy(update={"intervals": {"ausuc": (0.1, 0.2)}})
    with pytest.raises(ValueError, match="interval"):
        check_metrics(wrong, store.arrays(record))
    assert Bench(store=stopped).repeat(record.id).identical


def test_a_trial_ends_where_its_first_epochs_are_worse_than_those_of_the_median_trial(longer: Path) -> None:
    """Each is compared with the complete trials of the rounds before its own."""
    store = Store(longer)
    [name] = store.searches()
    log = store.find_search(name)
    records = {trial.runs[0]: store.find(trial.runs[0]) for trial in log.trials}
    early = {run: max(one["ausuc"] for one in record.training.watched[:10]) for run, record in records.items()}
    dropped = 0
    for number, trial in enumerate(log.trials):
        [run] = trial.runs
        before = [early[one.runs[0]] for one in log.trials[: number // 4 * 4] if one.state == "complete"]
        below, curve = records[run].spec.stop_below, records[run].training.watched
        assert below == (pytest.approx(np.median(before)) if len(before) >= 4 else None)
        assert trial.early == early[run]
        assert (trial.state == "pruned") == (below is not None and early[run] < below)
        if trial.state == "pruned":
            dropped += 1
            assert len(curve) == 10
            assert trial.values == [max(one["ausuc"] for one in curve[1:])]  # the space has no single epoch
    assert 2 <= dropped < 12, "or this test says nothing"
    assert log.best in log.complete
    assert not [checked for checked in verify(store) if checked.problem]


def test_a_dropped_trial_says_so_and_is_repeated_to_the_last_bit(longer: Path, inside: Inside) -> None:
    store = Store(longer)
    dropped = next(record for record in trials(longer) if len(record.training.watched) == 10)
    assert dropped.spec.stop_below is not None
    shown = inside("show", dropped.id, "--plain", "--store", longer).out
    had = f"dropped, as the median trial had {100 * dropped.spec.stop_below:.1f} by then"
    assert f"epochs of 10, the best by AUSUC; {had}" in shown
    assert Bench(store=longer).repeat(dropped.id).identical
    assert store.find(dropped.id).metrics["ausuc"] == max(one["ausuc"] for one in dropped.training.watched)


def test_a_trial_of_a_metric_that_is_not_installed_is_shown_by_its_name(longer: Path) -> None:
    store = Store(longer)
    dropped = next(record for record in trials(longer) if len(record.training.watched) == 10)
    foreign = dropped.model_copy(update={"spec": dropped.spec.model_copy(update={"stop_on": "theirs"})})
    console = Console(file=StringIO(), width=300)
    print_record(foreign, store.arrays(dropped), console, plain=True)
    had = f"dropped, as the median trial had {dropped.spec.stop_below:.4f} by then"
    assert f"the best by theirs; {had}" in console.file.getvalue()


@pytest.mark.parametrize(("early", "expected"), [([], None), ([0.3, 0.1, 0.2], None), ([0.4, 0.1, 0.2, 0.3], 0.25)])
def test_the_floor_is_the_median_of_four_trials_or_more(early: list[float], expected: float | None) -> None:
    assert floor(early) == (expected and pytest.approx(expected))


def rising(params: Any, fold: int) -> list[float]:
    """A curve that rises by the same step from a start that the width decides."""
    return [(0.1 * params.width + 0.001 * epoch) for epoch in range(params.epochs)]


@pytest.mark.parametrize("higher", [True, False])
def test_the_floor_is_of_the_first_fold_alone_and_knows_which_way_is_better(
    store: Store, monkeypatch: pytest.MonkeyPatch, higher: bool
) -> None:
    sign = 1 if higher else -1
    metric = Metric("ausuc", "AUSUC", higher_is_better=higher)
    monkeypatch.setattr("zslbench.tuning.tune.tuning_metric", lambda name: metric)
    answers = Answers(lambda params, fold: [sign * value for value in rising(params, fold)])
    found = search(store, answers, trials=16, space=EPOCHS | {"width": span(2, 9, integer=True)})
    assert {job.spec.stop_below for job in answers.runs if job.spec.fold} == {None}
    assert [job.spec.stop_below for job in answers.runs if job.spec.fold == 0][:4] == [None] * 4
    assert len({len(trial.values) for trial in found.complete}) == 1
    dropped = [trial for trial in found.trials if len(trial.values) == 1]
    assert dropped and {trial.state for trial in dropped} == {"pruned"}
    best = max(sign * trial.early for trial in found.trials)
    assert sign * found.best.early == best


def test_a_point_of_a_grid_is_never_dropped(store: Store) -> None:
    answers = Answers(rising)
    found = search(store, answers, grid=True, space=EPOCHS | {"width": among(2, 3, 4, 5, 6, 7, 8, 9)})
    assert {job.spec.stop_below for job in answers.runs} == {None}
    assert len(found.complete) == found.wanted > 8


def test_another_process_ends_it_in_the_same_epoch() -> None:
    [entrant] = resolve(["devise"], ["digits"], Request(root=Path()))
    run = entrant.run(0, "validation", 1, params={"epochs": 40})
    ends = run.stopping("h", 7)
    assert len({run.id, ends.id, run.stopping("h", 8).id, run.stopping("ausuc", 7).id}) == 4
    assert received(ends.sent()).spec == ends.spec
    assert run.stopping("", 0).id == run.id, "what trains all epochs is what it always was"


def test_epochs_are_chosen_among_those_that_every_fold_has(store: Store) -> None:
    """Folds end at different epochs; the mean is that of what all of them trained."""
    lengths = {0: 31, 1: 20, 2: 12}
    answers = Answers(lambda params, fold: landscape(params, fold)[: lengths[fold]])
    found = search(store, answers, space=EPOCHS)
    assert {(job.spec.fold, params_of(job).epochs) for job in answers.runs} == {(0, 40), (1, 31), (2, 20)}
    assert {job.spec.stop_after for job in answers.runs} == {10}
    for trial in found.complete:
        curves = [landscape(configuration().chosen({**trial.params, "epochs": 40})[0], fold)[:12] for fold in range(3)]
        assert trial.params["epochs"] == int(np.mean(curves, axis=0).argmax()) + 1


def test_what_does_not_read_epochs_off_its_curve_trains_them_all(store: Store) -> None:
    answers = Answers()
    search(store, answers, configuration(epochs=9))
    assert {job.spec.stop_on for job in answers.runs} == {""}
    answers = Answers()
    search(store, answers, configuration(schedule="cosine"), space=EPOCHS, afresh=True)
    assert {job.spec.stop_on for job in answers.runs} == {""}
