"""How far a step of the shared trainer moves a variable: rates, schedules, clipping, optimisers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from players import Slope
from torch import Tensor
from toy import build, fit_built, toy_view

from zslbench.api.embedder import Batch, GradientParams, Objective
from zslbench.api.views import ProblemShape, TrainView

VIEW = toy_view()
N = len(VIEW.x)


def moves(**values: Any) -> Tensor:
    """How far each epoch of one plain gradient step moved (a, b), `(epochs, 3)`."""
    path = [torch.zeros(3)]
    params = GradientParams(**({"optimizer": "sgd", "beta1": 0.0, "lr": 1.0, "batch_size": N} | values))
    slope = build(Slope, params, VIEW)
    fit_built(slope, VIEW, on_epoch=lambda progress: path.append(torch.cat([slope.a, slope.b]).detach().clone()))
    return torch.stack(path).diff(dim=0).neg()


def test_plateau_cuts_the_rate_to_a_tenth_after_stagnating_epochs() -> None:
    rates = moves(schedule="plateau", plateau_patience=2, epochs=9)[:, 2] / 12
    # the first epoch sets the mark, two more are forgiven, after the third the rate is cut; then three and three
    assert rates.tolist() == pytest.approx([1.0] * 4 + [0.1] * 3 + [0.01] * 2, rel=1e-3)


def test_plateau_leaves_the_rate_alone_while_the_loss_falls() -> None:
    class Falls(Slope):
        fallen = 0.0

        def loss(self, batch: Batch) -> Tensor:
            self.fallen += 0.1
            return super().loss(batch) - self.fallen

    params = GradientParams(
        optimizer="sgd", beta1=0.0, lr=1.0, batch_size=N, schedule="plateau", plateau_patience=1, epochs=8
    )
    falls = build(Falls, params, VIEW)
    fit_built(falls, VIEW)
    assert falls.b.item() == pytest.approx(-12 * 8)


def test_cosine_falls_from_the_rate_to_nothing() -> None:
    rates = moves(schedule="cosine", epochs=4)[:, 2] / 12
    assert rates.tolist() == pytest.approx([(1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)], rel=1e-4)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [3.0, 4.0, 12.0]),
        ({"clip_norm": 100.0}, [3.0, 4.0, 12.0]),
        ({"clip_norm": 1.0}, [3 / 13, 4 / 13, 12 / 13]),
        ({"clip_norm": 1.0, "clip_each": True}, [3 / 5, 4 / 5, 1.0]),
        ({"clip_norm": 6.0, "clip_each": True}, [3.0, 4.0, 6.0]),
    ],
)
def test_gradients_are_clipped_together_or_each_variable_by_itself(
    values: dict[str, Any], expected: list[float]
) -> None:
    assert moves(epochs=1, **values)[0].tolist() == pytest.approx(expected, rel=1e-5)


class Calming(Slope):
    """Slope whose gradient halves after each epoch."""

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.register_buffer("size", torch.tensor(8.0))

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        self.size /= 2

    def loss(self, batch: Batch) -> Tensor:
        return self.size * self.b.sum() + 0 * self.a.sum()


def test_amsgrad_never_forgets_the_largest_second_moment() -> None:
    """Reddi, Kale, Kumar: On the convergence of Adam and beyond. ICLR 2018, Algorithm 2, bias corrected."""
    expected, position, moment, largest = [], 0.0, 0.0, 0.0
    for step in range(1, 5):
        gradient = 8.0 / 2 ** (step - 1)
        moment = 0.5 * moment + 0.5 * gradient**2
        largest = max(largest, moment)
        position -= 0.01 * gradient / ((largest / (1 - 0.5**step)) ** 0.5)
        expected.append(position)
    params = GradientParams(optimizer="amsgrad", beta1=0.0, beta2=0.5, lr=0.01, batch_size=N, epochs=4)
    path: list[float] = []
    calming = build(Calming, params, VIEW)
    fit_built(calming, VIEW, on_epoch=lambda progress: path.append(float(calming.b.detach())))
    assert path == pytest.approx(expected, rel=1e-4)
    assert largest > moment


def test_optimisers_take_their_coefficients() -> None:
    momentum = moves(beta1=0.5, epochs=3)[:, 2] / 12
    assert momentum.tolist() == pytest.approx([1.0, 1.5, 1.75])
    decayed = moves(weight_decay=0.1, epochs=2)[:, 2]
    assert decayed.tolist() == pytest.approx([12.0, 12.0 - 0.1 * 12.0])  # the gradient gains 0.1 w, and w is -12
    adam = moves(optimizer="adam", beta1=0.9, lr=0.01, epochs=2)
    assert adam.flatten().tolist() == pytest.approx([0.01] * 6, rel=1e-3)  # a constant gradient moves Adam by lr
    adamw = moves(optimizer="adamw", beta1=0.9, lr=0.01, weight_decay=10.0, epochs=2)[:, 2]
    assert adamw.tolist() == pytest.approx([0.01, 0.01 - 0.01 * 10 * 0.01], rel=1e-3)


def test_an_objective_may_have_a_rate_of_its_own() -> None:
    class TwoRates(Slope):
        def objectives(self) -> list[Objective]:
            return [Objective("a", self.loss, [self.a], lr=0.5), Objective("b", self.loss, [self.b], steps=2)]

    slope = build(TwoRates, GradientParams(optimizer="sgd", beta1=0.0, lr=2.0, batch_size=N, epochs=1), VIEW)
    fit_built(slope, VIEW)
    assert slope.a.tolist() == [-1.5, -2.0]
    assert slope.b.tolist() == [-48.0]
