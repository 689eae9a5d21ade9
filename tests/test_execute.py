"""A run: what it fits on what, what it may look at, and that the same spec gives the same record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from planned import entrant_of, execute
from players import Pair, PairParams, Plain
from torch import Tensor
from toy import toy_data

import zslbench.runs.execute as execution
import zslbench.runs.measure as measure
import zslbench.runs.problem as problems
from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Evaluator, Metric, Scorer
from zslbench.api.progress import Progress
from zslbench.api.views import ClassSet, TrainView
from zslbench.errors import NotApplicable, RunError
from zslbench.evaluation.accuracy import seen_unseen_curve
from zslbench.records.record import RunRecord
from zslbench.runs.entrant import Run
from zslbench.training.trainer import Fit

VIEWS: list[TrainView] = []


class Watched(Plain):
    """Keeps every view and every weight that a run trained."""

    fitted: ClassVar[list[Embedder[Any]]] = []

    def solve(self, view: TrainView) -> None:
        VIEWS.append(view)
        Watched.fitted.append(self)

    def stages(self) -> Any:
        return super(Plain, self).stages()


class Gated(Plain):
    """As a method with a novelty gate: it cannot choose where no class is seen."""

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        if not classes.seen.any():
            raise NotApplicable("the gate needs seen classes")
        return super().scores(x, classes)


class Choosing(Evaluator):
    """Needs a U->U decision on validation classes."""

    metrics = (Metric("chosen", "chosen"),)
    needs_validation = True

    def prepare(self, validation: Scorer) -> None:
        self.value = float(validation.conventional.credit().mean())

    def evaluate(self, scorer: Scorer) -> dict[str, float]:
        return {"chosen": self.value}


class Large(Plain):
    """Needs 400 MB for a moment."""

    def solve(self, view: TrainView) -> None:
        self.sum = float(torch.ones(100_000_000).sum())

    def stages(self) -> Any:
        return super(Plain, self).stages()


METHODS = {"watched": Watched, "plain": Plain, "pair": Pair, "gated": Gated, "large": Large}


@pytest.fixture(autouse=True)
def _test_methods(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(execution, "provenance", lambda *arguments: {})
    yield
    VIEWS.clear()
    Watched.fitted.clear()


def planned(data: ZSLData, method: str = "watched", **values: Any) -> Run:
    params = values.pop("params", {"epochs": 3, "batch_size": 16, "lr": 0.02})
    seed, on, calibrated = values.pop("seed", 0), values.pop("on", "test"), values.pop("calibrated", True)
    setting, how = values.pop("setting", "inductive"), {"scale": "zscore"} | values
    return entrant_of(METHODS[method], data, method, params, setting, **how).run(seed, on, calibrated=calibrated)


@pytest.fixture
def run() -> Any:
    """Executes a run on a data set in memory."""

    def run(data: ZSLData, method: str = "watched", **values: Any) -> RunRecord:
        checkpoints, on_epoch = values.pop("checkpoints", None), values.pop("on_epoch", lambda progress: None)
        return execute(planned(data, method, **values), checkpoints, on_epoch)[0]

    return run


class ReadFeatures:
    """Features that note which rows are read."""

    def __init__(self, features: np.ndarray) -> None:
        self.features, self.read = features, np.zeros(len(features), dtype=bool)
        self.shape, self.ndim = features.shape, 2

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.read[rows] = True
        return self.features[rows]


def with_features(data: ZSLData, features: Any) -> ZSLData:
    """Replaces features as a cache would hand them over: known by their fingerprint, and not looked at."""
    return replace(data, features=features, features_fingerprint="known")


def spoilt(data: ZSLData, *parts: str, value: float = np.nan) -> ZSLData:
    """The same data, with the images of some parts overwritten."""
    features = data.features.copy()
    for part in parts:
        features[getattr(data, part)] = value
    return with_features(data, features)


def numbers(record: RunRecord) -> dict[str, Any]:
    """All of a record but times and provenance."""
    values = record.model_dump(exclude={"provenance": True, "training": {"seconds", "seconds_validation"}})
    assert values["metrics"] and values["training"]["losses"]
    return values


def test_a_run_reports_every_metric_with_its_interval(run: Any) -> None:
    record = run(toy_data())
    accuracies = {"acc_uu", "acc_ut", "acc_st", "h", "ausuc", "acc_ut_cal", "acc_st_cal", "h_cal"}
    assert set(record.metrics) == accuracies | {"gamma"}
    assert set(record.intervals) == accuracies
    assert set(record.validation) == {"acc_uu", "acc_ut", "acc_st", "h", "ausuc"}
    assert all(low <= high for low, high in record.intervals.values())
    assert record.metrics["acc_uu"] == pytest.approx(np.mean(list(record.per_class["u->u"].values())))
    assert record.metrics["acc_st"] == pytest.approx(np.mean(list(record.per_class["s->t"].values())))
    assert {len(record.per_class[task]) for task in ("u->u", "u->t")} == {3}


def test_no_test_image_is_read_before_training_has_ended(run: Any) -> None:
    data = toy_data()
    features = ReadFeatures(data.features)
    tests = np.concatenate([data.test_seen, data.test_unseen])
    read_before: list[bool] = []
    run(with_features(data, features), on_epoch=lambda progress: read_before.append(features.read[tests].any()))
    assert read_before == [False] * 6  # three epochs on the training classes, three on all of trainval
    assert features.read[tests].all()


def test_choosing_on_validation_never_touches_a_test_image(run: Any) -> None:
    data = spoilt(toy_data(), "test_seen", "test_unseen")
    params = {"epochs": 4, "batch_size": 16, "patience": 1}
    record = run(data, on="validation", params=params)
    clean = run(with_features(data, toy_data().features), on="validation", params=params)
    assert numbers(record) == numbers(clean)
    with pytest.raises(RunError, match="NaN"):  # the same images on the test part are met, and noticed
        run(data)


@pytest.mark.parametrize("scale", ["none", "l2", "zscore", "minmax"])
def test_test_images_change_neither_weights_nor_scaling_nor_gamma(run: Any, scale: str) -> None:
    data = toy_data()
    records = [run(d, scale=scale) for d in (data, spoilt(data, "test_seen", "test_unseen", value=1e6))]
    first, second = Watched.fitted[1], Watched.fitted[3]
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert torch.equal(VIEWS[1].x, VIEWS[3].x)
    assert records[0].metrics["gamma"] == records[1].metrics["gamma"]
    assert records[0].training.losses == records[1].training.losses
    assert records[0].validation == records[1].validation


def test_validation_classes_change_no_scaling_of_the_first_fit(run: Any) -> None:
    data = toy_data()
    split = data.split_for(0)
    moved = data.features.copy()
    moved[np.concatenate([split.test_seen, split.test_unseen])] += 100.0
    for d in (data, with_features(data, moved)):
        run(d, scale="zscore")
    on_training_classes, on_all, again, on_all_again = VIEWS
    assert torch.equal(on_training_classes.x, again.x)
    assert not torch.equal(on_all.x, on_all_again.x)
    assert on_training_classes.x.mean(dim=0).abs().max() < 1e-5
    assert torch.allclose(on_training_classes.x.std(dim=0, correction=0), torch.ones(8), atol=1e-5)


def test_the_first_fit_is_on_a_part_of_the_classes_and_the_final_one_on_all_of_trainval(run: Any) -> None:
    data = toy_data()
    run(data, scale="none")
    first, final = VIEWS
    assert torch.equal(final.x, torch.from_numpy(data.features[data.train]))
    assert len(final.classes) == 7 and len(first.classes) < 7
    assert set(first.classes.names) < set(final.classes.names)
    rows = {tuple(row) for row in final.x.tolist()}
    assert {tuple(row) for row in first.x.tolist()} < rows


def test_a_run_that_needs_no_choice_fits_once(run: Any) -> None:
    record = run(toy_data(), calibrated=False)
    assert len(VIEWS) == 1
    assert record.validation == {} and record.training.seconds_validation == 0


def test_gamma_is_the_best_one_on_the_validation_classes(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scorers: list[Scorer] = []
    original = problems.ModelScorer

    def remember(*arguments: Any) -> Scorer:
        scorers.append(original(*arguments))
        return scorers[-1]

    monkeypatch.setattr(problems, "ModelScorer", remember)
    data = toy_data()
    record = run(data)
    validation, test = scorers
    assert set(validation.view.images) < set(data.train)
    curve = seen_unseen_curve(validation.generalized)
    credit = validation.generalized.credit(record.metrics["gamma"])
    y, seen = validation.view.y, validation.view.seen
    ut, st = (np.mean([credit[y == c].mean() for c in np.unique(y[side])]) for side in (~seen, seen))
    best = max(2 * a * b / (a + b) if a + b else 0.0 for a, b in zip(curve.acc_ut[0], curve.acc_st[0], strict=True))
    assert 2 * ut * st / (ut + st) == pytest.approx(best)
    assert set(test.view.images) == {*data.test_seen, *data.test_unseen}


def test_the_epochs_chosen_on_validation_are_those_of_the_final_fit(run: Any) -> None:
    epochs: list[Progress] = []
    params = {"epochs": 40, "batch_size": 16, "lr": 0.1, "patience": 2}
    record = run(toy_data(noise=0.5), params=params, on_epoch=epochs.append)
    trial = [progress for progress in epochs if progress.fit == "validation"]
    final = epochs[len(trial) :]
    assert {progress.fit for progress in final} == {"final"}
    assert {progress.epochs for progress in trial} == {40}
    assert all("ausuc" in progress.watched for progress in trial)
    assert not any(progress.watched for progress in final), "the final fit is never scored before it ends"
    assert len(trial) < 40, "it must stop early for this test to say anything"
    assert record.training.epochs == len(trial) - 2 == len(final) == len(record.training.losses)
    assert [progress.epochs for progress in final] == [len(final)] * len(final)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("plain", {"epochs": 3, "batch_size": 16}),
        ("plain", {"epochs": 8, "batch_size": 16, "lr": 0.1, "patience": 2}),
        ("pair", {"epochs": 2, "batch_size": 16, "two_stage": True}),
    ],
)
def test_the_same_spec_gives_the_same_record_interrupted_or_not(
    method: str, params: dict[str, Any], run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = numbers(run(toy_data(), method, params=params))
    torch.rand(3)
    assert numbers(run(toy_data(), method, params=params)) == whole
    assert numbers(run(toy_data(), method, params=params, seed=1))["metrics"] != whole["metrics"]

    monkeypatch.setattr(execution, "Fit", partial(Fit, checkpoint_seconds=0))
    record, kills = None, 0
    while record is None:
        left = iter(range(1))
        try:  # one epoch, and in the next it is killed
            record = run(toy_data(), method, params=params, checkpoints=tmp_path, on_epoch=lambda _: next(left))  # noqa: B023
        except StopIteration:
            kills += 1
    assert kills > 1
    assert numbers(record) == whole


def test_bf16_is_part_of_a_run(run: Any) -> None:
    full, half = run(toy_data()), run(toy_data(), precision="bf16")
    assert full.id != half.id
    assert full.training.losses != half.training.losses
    assert half.metrics["ausuc"] == pytest.approx(full.metrics["ausuc"], abs=0.15)


@pytest.mark.parametrize("setting", ["inductive", "semantic-transductive", "transductive"])
def test_a_method_sees_what_its_setting_says_and_scaled(run: Any, setting: str) -> None:
    data = toy_data()
    run(data, setting=setting)
    for fold, view in zip((0, None), VIEWS, strict=True):
        split = data.split_for(fold)
        more = [] if setting == "inductive" else split.unseen.tolist()
        expected = [f"class {c}" for c in [*split.seen.tolist(), *more]]
        assert list(view.classes.names) == expected
        assert torch.equal(view.semantics, torch.from_numpy(data.semantics[[*split.seen, *more]]))
        assert view.classes.seen.sum() == len(split.seen)
        if setting != "transductive":
            assert view.unlabelled is None
            continue
        train = data.features[split.train]
        images = (data.features[split.test_unseen] - train.mean(axis=0)) / train.std(axis=0)
        assert len(view.unlabelled) == len(images)
        for image in images:  # in any order
            assert np.abs(view.unlabelled.numpy() - image).max(axis=1).min() < 1e-4


def test_a_method_without_u_to_u_has_all_the_rest_and_the_reason(run: Any) -> None:
    record = run(toy_data(), "gated")
    assert record.not_applicable == {"zsl": "the gate needs seen classes"}
    assert {"acc_ut", "acc_st", "h", "ausuc", "h_cal"} <= set(record.metrics)
    assert "acc_uu" not in record.metrics and "acc_uu" not in record.validation
    assert set(record.per_class) == {"s->t", "u->t"}


def test_patience_without_the_metric_that_it_watches_is_an_error(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all epochs would be trained, and nobody be told."""
    known = measure.evaluators()
    monkeypatch.setattr(measure, "evaluators", lambda: {"gzsl": known["gzsl"]})
    with pytest.raises(RunError, match="training ends by ausuc, which this method has not; leave out patience"):
        run(toy_data(), "plain", params={"epochs": 4, "batch_size": 16, "patience": 1})


def test_an_evaluator_that_cannot_choose_on_validation_gives_the_reason(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = measure.evaluators()
    monkeypatch.setattr(measure, "evaluators", lambda: {"gzsl": known["gzsl"], "choosing": Choosing})
    record = run(toy_data(), "gated")
    assert record.not_applicable == {"choosing": "the gate needs seen classes"}
    assert set(record.metrics) == {"acc_ut", "acc_st", "h"}
    assert record.measured == {"gzsl": 1, "choosing": 1}
    assert run(toy_data(), "plain").metrics["chosen"] >= 0


def test_a_record_holds_all_parameters_defaults_included(run: Any) -> None:
    record = run(toy_data(), "pair", params={"epochs": 2})
    assert record.spec.params == {"epochs": 2}
    assert record.params == PairParams(epochs=2).model_dump(mode="json")


class Neighbourly(Plain):
    """Normalises over the images it is given at once, so that test images see each other."""

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        return super().scores(x - x.mean(dim=0), classes)


def test_a_method_whose_test_images_see_each_other_is_refused(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "neighbourly", Neighbourly)
    with pytest.raises(RunError, match="depend on the other test images"):
        run(toy_data(), "neighbourly")


def test_a_run_computes_with_one_thread_and_restores_the_number(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    run(toy_data(), "plain")
    assert threads == [1, 3] * 4  # two fits, and the scores of each


def test_epochs_chosen_in_a_validation_run_are_chosen_on_a_fold_inside_it(run: Any) -> None:
    data = toy_data()
    run(data, params={"epochs": 3, "batch_size": 16, "lr": 0.02, "patience": 1}, on="validation")
    outer, inner = data.split_for(0), data.split_for((0, 0))
    assert set(inner.train) | set(inner.test_seen) | set(inner.test_unseen) == set(outer.train)
    assert [len(view.classes) for view in VIEWS] == [len(inner.seen), len(outer.seen)]
    assert [len(view.x) for view in VIEWS] == [len(inner.train), len(outer.train)]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not reset peaks of memory")
def test_the_peak_memory_of_a_run_is_not_that_of_the_run_before(run: Any) -> None:
    before, large, after = (run(toy_data(), method).provenance for method in ("plain", "large", "plain"))
    assert large["peak_memory_mb"] - before["peak_memory_mb"] > 350
    assert large["peak_memory_mb"] - after["peak_memory_mb"] > 350
