"""What a method may do between epochs and at the end, and the metrics watched on validation classes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from planned import execute
from players import Closed, Pair, PairParams, Plain
from searching import Killed, configuration, run, store
from toy import same, toy_view, train, weights

import zslbench.runs.execute as execution
from zslbench.api.embedder import GradientParams
from zslbench.api.progress import Progress
from zslbench.api.views import ProblemShape, TrainView
from zslbench.training.trainer import Fit

__all__ = ["run", "store"]

VIEW = toy_view()
Log = list[tuple[Any, ...]]


class Noted:
    """Notes every call of a hook, in which mode the model was, and whether gradients were computed."""

    def note(self, *what: Any) -> None:
        self.log: Log = [*getattr(self, "log", []), (*what, self.training, torch.is_grad_enabled())]

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        assert view.x.shape == VIEW.x.shape
        self.note("epoch", epoch)

    def finish(self, view: TrainView) -> None:
        assert view.x.shape == VIEW.x.shape
        self.note("finish")


class NotedPlain(Noted, Plain):
    pass


class NotedPair(Noted, Pair):
    pass


class NotedClosed(Noted, Closed):
    pass


def short(kind: Any = GradientParams, **values: Any) -> Any:
    return kind(**({"epochs": 3, "batch_size": 16} | values))


EPOCHS = [("epoch", epoch, True, False) for epoch in (1, 2, 3)]
FINISH, WATCH = ("finish", False, False), ("watch", False, False)


def watch(model: Any) -> dict[str, float]:
    model.note("watch")
    return {"score": float(len(model.log))}


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        (NotedPlain, short(), [*EPOCHS, FINISH]),
        (NotedPair, short(PairParams, two_stage=True), [*EPOCHS, *EPOCHS, FINISH]),
        (NotedClosed, GradientParams(), [FINISH]),
    ],
)
def test_each_epoch_of_each_stage_ends_once_with_its_number_and_training_ends_once(
    method: Any, params: Any, expected: Log
) -> None:
    assert train(method, params, VIEW)[0].log == expected


def test_before_each_look_at_validation_the_model_is_finished_and_in_eval_mode() -> None:
    """Only the main stage is watched; the end is finished once more, for what early stopping went back to."""
    model, fitted = train(NotedPair, short(PairParams, two_stage=True), VIEW, watch=watch)
    assert model.log == [*EPOCHS, *(entry for epoch in EPOCHS for entry in (epoch, FINISH, WATCH)), FINISH]
    assert len(fitted.watched) == 3 and not model.training


def test_looking_changes_nothing() -> None:
    plain, fitted = train(NotedPlain, short(), VIEW)
    looked, looked_at = train(NotedPlain, short(), VIEW, watch=watch)
    assert same(weights(plain), weights(looked)) and fitted.losses == looked_at.losses


class Pruned(Plain):
    """Sets its smallest weight to zero after each epoch, and keeps it there; learns its scale at the end."""

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.register_buffer("mask", torch.ones(12, shape.features))
        self.scale = 0.0

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        size = (self.net[0].weight.abs() + 10 * (1 - self.mask)).flatten()
        self.mask.view(-1)[size.argmin()] = 0
        self.net[0].weight.mul_(self.mask)

    def finish(self, view: TrainView) -> None:
        self.scale = float(self.net(view.x).norm())

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x) / self.scale


def closeness(model: Any) -> dict[str, float]:
    return {"closeness": -float((model.embed(VIEW.x) - VIEW.semantics[VIEW.y]).square().mean()), "scale": model.scale}


def test_what_a_hook_changes_is_kept_and_what_it_finds_is_of_the_final_model() -> None:
    model, fitted = train(Pruned, short(epochs=4), VIEW, watch=closeness)
    assert int((model.mask == 0).sum()) == 4
    assert model.scale == float(model.net(VIEW.x).detach().norm()) == fitted.watched[-1]["scale"]
    assert len({metrics["scale"] for metrics in fitted.watched}) == 4


def test_after_early_stopping_the_model_is_finished_as_of_its_best_epoch() -> None:
    scores = iter([0.1, 0.9, 0.2, 0.3])
    scales: list[float] = []

    def watch(model: Any) -> dict[str, float]:
        scales.append(model.scale)
        return {"score": next(scores)}

    model, fitted = train(Pruned, short(epochs=9, patience=2), VIEW, watch=watch, stop_on="score")
    assert fitted.epochs == 2 and len(scales) == 4
    assert model.scale == scales[1] != scales[-1]


def test_progress_counts_epochs_over_all_stages_and_holds_what_was_seen_after_each() -> None:
    told: list[Progress] = []
    _, fitted = train(
        NotedPair, short(PairParams, two_stage=True), VIEW, watch=watch, on_epoch=told.append, name="validation"
    )
    assert [(progress.epoch, progress.step, progress.fit) for progress in told] == [
        (epoch, epoch + before, "validation") for before in (0, 3) for epoch in (1, 2, 3)
    ]
    assert [progress.watched for progress in told] == [{}, {}, {}, *fitted.watched]
    assert [progress.losses for progress in told] == fitted.losses


def test_progress_goes_on_counting_after_an_interruption(tmp_path: Path) -> None:
    """A checkpoint is written after an epoch is told, so the epoch that was interrupted is told again."""
    steps: list[int] = []

    def die(progress: Progress) -> None:
        steps.append(progress.step)
        if steps == [1, 2, 3, 4, 5]:
            raise Killed

    how: dict[str, Any] = {"checkpoint": tmp_path / "fit.safetensors", "checkpoint_seconds": 0, "on_epoch": die}
    for expected in ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 5, 6]):
        with suppress(Killed):
            train(NotedPair, short(PairParams, two_stage=True), VIEW, **how)
        assert steps == expected


@pytest.mark.parametrize("stop_on", ["", "closeness"])
def test_watched_metrics_and_hooks_survive_an_interruption_in_any_epoch(tmp_path: Path, stop_on: str) -> None:
    params = short(epochs=5, patience=9)
    how: dict[str, Any] = {"watch": closeness, "stop_on": stop_on, "checkpoint_seconds": 0}
    whole, fitted = train(Pruned, params, VIEW, **how)
    assert len(fitted.watched) == 5
    for last in range(1, 6):
        path = tmp_path / f"{last}.safetensors"

        def die(progress: Progress, last: int = last) -> None:
            if progress.epoch == last:
                raise Killed

        with pytest.raises(Killed):
            train(Pruned, params, VIEW, checkpoint=path, on_epoch=die, **how)
        again, fitted_again = train(Pruned, params, VIEW, checkpoint=path, **how)
        assert fitted_again.watched == fitted.watched and fitted_again.losses == fitted.losses
        assert same(weights(again), weights(whole)) and again.scale == whole.scale
    finished, fitted_again = train(Pruned, params, VIEW, checkpoint=path, on_epoch=die, **how)  # no epoch is left
    assert fitted_again.watched == fitted.watched and finished.scale == whole.scale


def test_a_validation_runs_record_has_the_metrics_of_every_epoch_and_ends_with_its_own(
    run: Callable[..., Any],
) -> None:
    of = configuration()
    [record] = run([of.run(0, "validation", 1, params={"epochs": 4})]).values()
    watched = record.training.watched
    assert len(watched) == len(record.training.losses) == 4
    assert watched[-1] == {name: record.metrics[name] for name in ("acc_uu", "acc_ut", "acc_st", "h", "ausuc")}
    assert len({metrics["ausuc"] for metrics in watched}) > 1
    for epochs, metrics in enumerate(watched, 1):  # each is what a run of so many epochs would have given
        [shorter] = run([of.run(0, "validation", 1, params={"epochs": epochs})]).values()
        assert {name: shorter.metrics[name] for name in metrics} == metrics


def test_a_run_on_test_images_watches_nothing(run: Callable[..., Any]) -> None:
    [record] = run([configuration().run(0, params={"epochs": 2})]).values()
    assert record.training.watched == [] and len(record.training.losses) == 2


def test_an_interrupted_validation_run_keeps_the_metrics_of_every_epoch(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = configuration().run(0, "validation", params={"epochs": 4})
    [whole] = run([job]).values()
    monkeypatch.setattr(execution, "Fit", partial(Fit, checkpoint_seconds=0))

    def die(progress: Progress) -> None:
        if progress.epoch == 3:
            raise Killed

    with pytest.raises(Killed):
        execute(job, tmp_path / "partial", die)
    epochs: list[int] = []
    record, _ = execute(job, tmp_path / "partial", lambda progress: epochs.append(progress.epoch))
    assert epochs == [3, 4]
    assert record.training.watched == whole.training.watched and record.metrics == whole.metrics
