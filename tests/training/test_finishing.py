"""Finishing stages: they complete the model wherever it is scored, and looking at it changes nothing."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy import build, same, toy_view, train, weights

from zslbench.api.embedder import Batch, Embedder, GradientParams, Objective, Stage
from zslbench.api.params import param
from zslbench.api.progress import Progress
from zslbench.api.views import ProblemShape, TrainView
from zslbench.training.trainer import Fit, fit

VIEW = toy_view()


class TwoPartParams(GradientParams):
    epochs: int = param(4, "epochs of the first part", ge=1)
    batch_size: int = param(16, "images in a batch", ge=1)


class TwoParts(Embedder[TwoPartParams]):
    """A noisy network, and a head trained on what is made of it; every kind of randomness and state is in use."""

    def build(self, shape: ProblemShape) -> None:
        self.first = nn.Sequential(nn.Dropout(0.3), nn.Linear(shape.features, 6))
        self.head = nn.Sequential(nn.Linear(6, shape.attributes), nn.Dropout(0.3))
        self.register_buffer("ended", torch.zeros(()))
        self.register_buffer("draft", torch.zeros(()), persistent=False)

    def stages(self) -> list[Stage]:
        before = Objective("before", self.first_loss, self.first.parameters())
        head = Objective("head", self.head_loss, self.head.parameters(), lr=0.05)
        last = Objective("last", self.head_loss, self.head[0].parameters())
        return [
            Stage("before", [before], 2),
            Stage("main", [before], self.params.epochs),
            Stage("head", [head], 3, finishing=True),
            Stage("last", [last], 1, finishing=True),
        ]

    def first_loss(self, batch: Batch) -> Tensor:
        noise = torch.randn(batch.x.shape, generator=batch.generator)
        return (self.first(batch.x + 0.1 * noise)[:, :5] - batch.s).square().mean()

    def head_loss(self, batch: Batch) -> Tensor:
        with torch.no_grad():
            x = self.first(batch.x + 0.1 * torch.randn(batch.x.shape, generator=batch.generator))
        return (self.head(x) - batch.s).square().mean()

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        self.ended += 1
        self.draft += 1

    def finish(self, view: TrainView) -> None:
        self.bias = self.head(self.first(view.x)).mean()

    def embed(self, x: Tensor) -> Tensor:
        return self.head(self.first(x)) - self.bias


def closeness(model: Embedder[Any]) -> dict[str, float]:
    return {"closeness": -float((model.embed(VIEW.x) - VIEW.semantics[VIEW.y]).square().mean())}


def looking() -> dict[str, Any]:
    """How a fit is watched whose last epoch is always the best one."""
    looks = count()
    return {"watch": lambda model: closeness(model) | {"look": float(next(looks))}, "stop_on": "look", "stop_after": 99}


def part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key.startswith(name)}


def test_what_follows_the_main_stage_is_trained_for_its_own_epochs_and_the_main_stage_for_the_chosen_ones() -> None:
    seen: list[tuple[str, int, int]] = []
    _, fitted = train(
        TwoParts, TwoPartParams(), VIEW, epochs=1, on_epoch=lambda p: seen.append((p.stage, p.epoch, p.epochs))
    )
    head = [("head", epoch, 3) for epoch in (1, 2, 3)]
    assert seen == [("before", 1, 2), ("before", 2, 2), ("main", 1, 1), *head, ("last", 1, 1)]
    assert fitted.epochs == 1


def test_looking_after_each_epoch_of_the_main_stage_changes_nothing() -> None:
    plain, fitted = train(TwoParts, TwoPartParams(), VIEW)
    looked, looked_at = train(TwoParts, TwoPartParams(), VIEW, **looking())
    assert same(weights(plain), weights(looked)) and fitted.losses == looked_at.losses
    assert plain.draft == looked.draft == looked.ended == 2 + 4 + 3 + 1
    assert len(looked_at.watched) == 4


def test_where_each_look_would_train_what_follows_it_is_looked_at_only_to_stop() -> None:
    assert train(TwoParts, TwoPartParams(), VIEW, watch=closeness)[1].watched == []


def test_looking_leaves_the_model_under_training_as_it_was() -> None:
    """After each look the head is as it was built: it has not been trained yet."""
    heads: list[dict[str, Tensor]] = []
    model = build(TwoParts, TwoPartParams(), VIEW)
    untrained = part(weights(model), "head")

    def note(progress: Progress) -> None:
        if progress.stage == "main":
            heads.append(part(weights(model), "head"))

    fit(model, VIEW, 0, Fit(torch.device("cpu"), on_epoch=note, **looking()))
    assert len(heads) == 4 and all(same(head, untrained) for head in heads)
    assert not same(part(weights(model), "head"), untrained)


def test_each_look_sees_the_model_that_so_many_epochs_would_have_given() -> None:
    _, looked_at = train(TwoParts, TwoPartParams(), VIEW, **looking())
    for epochs, metrics in enumerate(looked_at.watched, 1):
        model = train(TwoParts, TwoPartParams(), VIEW, epochs=epochs)[0]
        with torch.no_grad():
            assert closeness(model)["closeness"] == metrics["closeness"]
    assert len({metrics["closeness"] for metrics in looked_at.watched}) == 4


def test_stopped_early_it_is_finished_from_its_best_epoch_as_if_no_more_had_been_trained() -> None:
    scores = iter([0.1, 0.9, 0.2, 0.3])
    params = TwoPartParams(epochs=9, patience=2)
    stopped, fitted = train(TwoParts, params, VIEW, watch=lambda model: {"score": next(scores)}, stop_on="score")
    best, shorter = train(TwoParts, params, VIEW, epochs=2)
    assert fitted.epochs == shorter.epochs == 2
    assert same(weights(stopped), weights(best))
    assert fitted.losses[:4] == shorter.losses[:4] and fitted.losses[-4:] == shorter.losses[-4:]


class Killed(Exception):
    pass


@pytest.mark.parametrize("stop_on", ["", "closeness"])
def test_killed_in_any_epoch_of_any_stage_it_ends_as_if_left_alone(tmp_path: Path, stop_on: str) -> None:
    params = TwoPartParams(patience=2)
    how: dict[str, Any] = {"watch": closeness, "stop_on": stop_on, "checkpoint_seconds": 0}
    whole, fitted = train(TwoParts, params, VIEW, **how)
    for last in range(len(fitted.losses)):
        path, passed = tmp_path / f"{last}.safetensors", iter(range(99))

        def die(progress: Progress, last: int = last, passed: Any = passed) -> None:
            if next(passed) == last:
                raise Killed

        with pytest.raises(Killed):
            train(TwoParts, params, VIEW, checkpoint=path, on_epoch=die, **how)
        again, fitted_again = train(TwoParts, params, VIEW, checkpoint=path, **how)
        assert same(weights(again), weights(whole)), f"killed in epoch {last}"
        assert fitted_again.losses == fitted.losses and fitted_again.watched == fitted.watched
        assert again.bias == whole.bias and fitted_again.epochs == fitted.epochs


@pytest.mark.parametrize("finishing", [[True], [True, False], [False, True, False]])
def test_finishing_stages_without_a_main_stage_before_them_are_refused(finishing: list[bool]) -> None:
    class Misplaced(TwoParts):
        def stages(self) -> list[Stage]:
            objective = super().stages()[0].objectives
            return [Stage(str(number), objective, 1, finishing=last) for number, last in enumerate(finishing)]

    with pytest.raises(TypeError, match="finishing stages must follow the main stage"):
        train(Misplaced, TwoPartParams(), VIEW)
