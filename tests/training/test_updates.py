"""How far a step of the shared trainer moves a variable: rates, schedules, clipping, optimisers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from players import Slope
from torch import Tensor, nn
from toy import build, fit_built, toy_view

from zslbench.api.embedder import Batch, Embedder, GradientParams, Objective, Stage
from zslbench.api.views import ProblemShape, TrainView
from zslbench.errors import RunError

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
    adam = moves(optimizer="adam", beta1=0.9, lr=0.01, epochs=2)
    assert adam.flatten().tolist() == pytest.approx([0.01] * 6, rel=1e-3)  # a constant gradient moves Adam by lr


def test_an_objective_may_have_a_rate_of_its_own() -> None:
    class TwoRates(Slope):
        def objectives(self) -> list[Objective]:
            return [Objective("a", self.loss, [self.a], lr=0.5), Objective("b", self.loss, [self.b], steps=2)]

    slope = build(TwoRates, GradientParams(optimizer="sgd", beta1=0.0, lr=2.0, batch_size=N, epochs=1), VIEW)
    fit_built(slope, VIEW)
    assert slope.a.tolist() == [-1.5, -2.0]
    assert slope.b.tolist() == [-48.0]


class Layer(Embedder[GradientParams]):
    """A weight and a bias, under a loss whose gradient is 12 for each."""

    decay = True

    def build(self, shape: ProblemShape) -> None:
        self.weight, self.bias = nn.Parameter(torch.zeros(1, 1)), nn.Parameter(torch.zeros(1))

    def embed(self, x: Tensor) -> Tensor:
        return x

    def loss(self, batch: Batch) -> Tensor:
        return 12 * (self.weight.sum() + self.bias.sum())

    def objectives(self) -> list[Objective]:
        return [Objective("layer", self.loss, self.parameters(), decay=self.decay)]


class Undecayed(Layer):
    """Its only player is exempt from the penalty."""

    decay = False


@pytest.mark.parametrize(
    ("values", "weight", "bias"),
    [
        ({"optimizer": "sgd", "beta1": 0.0, "lr": 1.0, "weight_decay": 0.1}, 12 + 12 - 0.1 * 12, 24.0),
        ({"optimizer": "adamw", "lr": 0.01, "weight_decay": 10.0}, 0.02 - 0.01 * 10 * 0.01, 0.02),
    ],
)
def test_the_l2_penalty_falls_on_weights_of_players_that_want_it(
    values: dict[str, Any], weight: float, bias: float
) -> None:
    for kind, expected in ((Layer, weight), (Undecayed, bias)):
        layer = build(kind, GradientParams(batch_size=N, epochs=2, **values), VIEW)
        fit_built(layer, VIEW)
        assert -layer.weight.item() == pytest.approx(expected, rel=1e-3)
        assert -layer.bias.item() == pytest.approx(bias, rel=1e-3)


class Transposed(Layer):
    """A matrix whose gradient lies in memory as its transpose does, with another value in each place."""

    def build(self, shape: ProblemShape) -> None:
        self.weight = nn.Parameter(torch.zeros(3, 5))
        self.slope = torch.arange(15.0).reshape(5, 3) + 1

    def loss(self, batch: Batch) -> Tensor:
        return (self.weight.T * self.slope).sum()


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "amsgrad", "adamw"])
def test_a_step_follows_the_gradient_wherever_it_lies_in_memory(optimizer: str) -> None:
    model = build(Transposed, GradientParams(batch_size=N, epochs=1, lr=1.0, beta1=0.0, optimizer=optimizer), VIEW)
    fit_built(model, VIEW)
    expected = model.slope.T if optimizer == "sgd" else torch.ones(3, 5)  # Adam's first step has no length
    assert torch.allclose(-model.weight.detach(), expected, rtol=1e-4)


class Chase(Embedder[GradientParams]):
    """A runner flees from a chaser for ever; a third player learns a value, and is done soon.

    The runner's loss falls without end, the chaser's rises without end, and neither tells how training goes.
    """

    def build(self, shape: ProblemShape) -> None:
        self.runner, self.chaser = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.value = nn.Parameter(torch.zeros(1))

    def embed(self, x: Tensor) -> Tensor:
        return x

    def learner_loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"error": (self.value - 1).square().sum()}

    def chaser_loss(self, batch: Batch) -> Tensor:
        return (self.runner.detach() - self.chaser + 3 * self.runner.detach()).sum()

    def runner_loss(self, batch: Batch) -> Tensor:
        return -self.runner.sum()

    def stages(self) -> list[Stage]:
        players = [
            Objective("chaser", self.chaser_loss, [self.chaser]),
            Objective("learner", self.learner_loss, [self.value]),
            Objective("runner", self.runner_loss, [self.runner]),
        ]
        return [Stage("game", players, self.params.epochs, plateau=self.plateau)]

    plateau = "learner/error"


CHASE = GradientParams(
    optimizer="sgd", beta1=0.0, lr=0.5, batch_size=N, epochs=60, schedule="plateau", plateau_patience=3
)


class OnItsOwnLoss(Chase):
    """What following the runner's own loss would do: it never stagnates."""

    plateau = "runner"


def test_all_players_see_one_plateau() -> None:
    chase, runs_off = build(Chase, CHASE, VIEW), build(OnItsOwnLoss, CHASE, VIEW)
    fit_built(chase, VIEW)
    fit_built(runs_off, VIEW)
    assert chase.value.item() == pytest.approx(1.0)
    assert chase.runner.item() == chase.chaser.item() < 4  # they came to rest together, soon after the learner
    assert runs_off.runner.item() == pytest.approx(30.0)


@pytest.mark.parametrize("named", ["", "critic", "learner"])
def test_a_plateau_must_name_one_of_the_losses(named: str) -> None:
    class Unnamed(Chase):
        plateau = named

    with pytest.raises(RunError, match=r"stage 'game' has several losses, chaser, learner/error, runner.*plateau="):
        fit_built(build(Unnamed, CHASE, VIEW), VIEW)
    fit_built(build(Unnamed, CHASE.model_copy(update={"schedule": "constant"}), VIEW), VIEW)
