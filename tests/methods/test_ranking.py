"""DeViSE, ALE and SJE: their losses against loops, enumeration and hand-computed cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import build, toy_view, train

from zslbench.api.embedder import Batch
from zslbench.api.views import ClassSet, ProblemShape, TrainView
from zslbench_methods.ranking import ALE, SJE, DeViSE, RankingParams

VIEW = toy_view(seed=2)
KINDS: list[tuple[Any, Any]] = [(DeViSE, RankingParams), (ALE, RankingParams), (SJE, RankingParams)]


def identity(method: Any, params: Any, scores: list[list[float]], y: list[int]) -> tuple[Any, Batch]:
    """A model whose scores for a batch are the given ones: features are scores, classes are unit vectors, W = 1."""
    x = torch.tensor(scores)
    n = x.shape[1]
    classes = ClassSet(torch.eye(n), tuple(map(str, range(n))), torch.ones(n, dtype=torch.bool))
    model = build(method, params, TrainView("inductive", x, torch.tensor(y), classes))
    with torch.no_grad():
        model.W.weight.copy_(torch.eye(n))
    return model, Batch(x, torch.tensor(y), classes, torch.Generator().manual_seed(0))


def gradient(model: Any, loss: Tensor) -> Tensor:
    return torch.autograd.grad(loss, model.W.weight)[0]


def hinges(model: Any, margin: float, images: int) -> list[list[float]]:
    """[m + F(x, c) - F(x, y)]+ of each image of VIEW and each wrong class, by loops."""
    x, y, s, W = (t.detach().double().numpy() for t in (VIEW.x[:images], VIEW.y, VIEW.semantics, model.W.weight))
    found: list[list[float]] = []
    for n in range(images):
        found.append([])
        for c in range(len(s)):
            if c != y[n]:
                wrong = right = 0.0
                for d in range(x.shape[1]):
                    wrong += x[n, d] * float(W[:, d] @ s[c])
                    right += x[n, d] * float(W[:, d] @ s[int(y[n])])
                found[n].append(max(0.0, margin + wrong - right))
    return found


@pytest.mark.parametrize("margin", [0.3, 1.0, 5.0])
@pytest.mark.parametrize(("method", "kind", "of_image"), [(DeViSE, RankingParams, sum), (SJE, RankingParams, max)])
def test_devise_sums_the_hinge_over_wrong_classes_and_sje_takes_the_largest(
    method: Any, kind: Any, of_image: Callable[[list[float]], float], margin: float
) -> None:
    model = build(method, kind(margin=margin), VIEW)
    torch.nn.init.normal_(model.W.weight)
    expected = sum(of_image(image) for image in hinges(model, margin, 9)) / 9
    batch = Batch(VIEW.x[:9], VIEW.y[:9], VIEW.classes, torch.Generator())
    assert float(model.loss(batch).detach()) == pytest.approx(expected, rel=1e-4)


def test_devise_by_hand() -> None:
    model, batch = identity(DeViSE, RankingParams(margin=1.0), [[2.0, 1.5, 0.0], [0.0, 3.0, 2.0]], [0, 1])
    assert float(model.loss(batch).detach()) == pytest.approx((0.5 + 0.0 + 0.0 + 0.0) / 2)


def test_sje_by_hand() -> None:
    model, batch = identity(SJE, RankingParams(margin=1.0), [[2.0, 1.5, 1.25], [0.0, 3.0, 2.25]], [0, 1])
    loss = model.loss(batch)
    assert float(loss.detach()) == pytest.approx((0.5 + 0.25) / 2)
    # x of the first image falls to the true class 0 and its worst rival 1, that of the second to 1 and 2
    expected = torch.tensor([[-2.0, -1.5, -1.25], [2.0 - 0.0, 1.5 - 3.0, 1.25 - 2.25], [0.0, 3.0, 2.25]]) / 2
    assert torch.equal(gradient(model, loss), expected)


def test_sje_pushes_classes_that_violate_equally_alike() -> None:
    model, batch = identity(SJE, RankingParams(margin=1.0), [[1.0, 1.0, 1.0]], [1])
    pull = -gradient(model, model.loss(batch))
    assert pull.tolist() == [[-0.5, -0.5, -0.5], [1.0, 1.0, 1.0], [-0.5, -0.5, -0.5]]


def weight(rank: int) -> float:
    return sum(1 / k for k in range(1, rank + 1))


def expected_warp(violations: list[float]) -> dict[float, float]:
    """Value of the loss of one image -> its probability, over all orders in which the wrong classes may be drawn."""
    orders = list(permutations(violations))
    chances: dict[float, float] = {}
    for order in orders:
        value = 0.0
        for trials, violation in enumerate(order, start=1):
            if violation > 0:
                value = weight(len(violations) // trials) * violation
                break
        value = round(value, 3)
        chances[value] = chances.get(value, 0.0) + 1 / len(orders)
    return chances


@pytest.mark.parametrize(
    "scores",
    [
        [0.0, 0.5, -3.0, -4.0, -2.0],  # one violator among four wrong classes
        [0.0, 0.5, -0.25, -4.0, -2.0],  # two
        [0.0, 0.5, -0.25, 2.0, 0.125],  # all
    ],
)
def test_ale_weighs_the_first_violator_by_its_sampled_rank(scores: list[float]) -> None:
    expected = expected_warp([max(0.0, 1.0 + score - scores[0]) for score in scores[1:]])
    ale, batch = identity(ALE, RankingParams(margin=1.0), [scores], [0])
    draws = 4000
    found: dict[float, int] = {}
    for _ in range(draws):
        value = round(float(ale.loss(batch).detach()), 3)
        found[value] = found.get(value, 0) + 1
    assert found.keys() == expected.keys()
    for value, probability in expected.items():
        deviation = np.sqrt(max(probability * (1 - probability), 1e-9) / draws)
        assert abs(found[value] / draws - probability) <= 5 * deviation


def test_ale_draws_for_every_image_by_itself() -> None:
    scores = [0.0, 0.5, -0.25, -4.0, -2.0]
    ale, batch = identity(ALE, RankingParams(margin=1.0), [scores] * 3000, [0] * 3000)
    violations = [max(0.0, 1.0 + score) for score in scores[1:]]
    expected = expected_warp(violations)
    mean = sum(value * probability for value, probability in expected.items())
    deviation = np.sqrt(sum((value - mean) ** 2 * p for value, p in expected.items()) / 3000)
    assert float(ale.loss(batch).detach()) == pytest.approx(mean, abs=5 * deviation)


def test_ale_with_one_wrong_class_is_the_hinge() -> None:
    ale, batch = identity(ALE, RankingParams(margin=1.0), [[0.0, 0.5], [2.0, 1.75], [3.0, 0.0]], [0, 0, 0])
    assert float(ale.loss(batch).detach()) == pytest.approx((1.5 + 0.75 + 0.0) / 3)  # rank 1, weight 1


def test_ale_never_draws_the_true_class() -> None:
    ale, batch = identity(ALE, RankingParams(margin=1.0), [[-9.0, 0.0, -9.0]] * 500, [1] * 500)
    assert float(ale.loss(batch).detach()) == 0.0  # only the true class would violate its own margin


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_without_a_violator_loss_and_gradient_are_zero(method: Any, kind: Any) -> None:
    model, batch = identity(method, kind(margin=1.0), [[5.0, 0.0, 1.0], [0.0, 0.0, 9.0]], [0, 2])
    loss = model.loss(batch)
    assert float(loss.detach()) == 0.0
    assert gradient(model, loss).abs().max() == 0.0


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_the_gradient_pulls_towards_the_true_class_and_away_from_violators(method: Any, kind: Any) -> None:
    model, batch = identity(method, kind(margin=2.0), [[1.0, 0.0]], [0])
    pull = -gradient(model, model.loss(batch))  # (A, D)
    assert pull[0, 0] > 0 > pull[1, 0]
    assert pull[:, 1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_ranking_separates_the_training_classes(method: Any, kind: Any) -> None:
    view = toy_view(noise=0.02)
    model, _ = train(method, kind(epochs=60, batch_size=16), view)
    accuracy = (model.scores(view.x, view.classes).argmax(dim=1) == view.y).float().mean()
    assert accuracy > 0.5  # chance: 1/7


def test_the_map_is_linear_and_without_bias() -> None:
    for method, kind in KINDS:
        model = method(kind())
        model.build(ProblemShape(4, 3, 5))
        assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {"W.weight": (3, 4)}


def rotated(view: TrainView) -> TrainView:
    """The same problem with class embeddings turned in their space."""
    random = np.random.default_rng(7)
    turn = torch.from_numpy(np.linalg.qr(random.normal(size=(view.semantics.shape[1],) * 2))[0])
    classes = replace(view.classes, semantics=(view.semantics.double() @ turn).float())
    return replace(view, classes=classes)


def scores_of(method: Any, params: Any, view: TrainView, **how: Any) -> Tensor:
    model, _ = train(method, params, view, **how)
    return model.scores(view.x, view.classes).detach()


def unsolved(model: Any, view: TrainView) -> None:
    """Leaves the weights in the coordinates of the embeddings."""


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


ADAM = [(DeViSE, RankingParams), (ALE, RankingParams), (SJE, RankingParams)]


@pytest.mark.parametrize("attributes", [5, 9], ids=["more classes than attributes", "fewer"])
@pytest.mark.parametrize(("method", "kind"), ADAM)
def test_what_adam_learns_does_not_depend_on_how_embeddings_are_turned(method: Any, kind: Any, attributes: int) -> None:
    view, params = toy_view(attributes=attributes, seed=2), kind(epochs=10, batch_size=16, lr=0.2)
    expected = scores_of(method, params, view)
    assert apart(scores_of(method, params, rotated(view)), expected) < 1e-2
    params = kind(epochs=10, batch_size=16, lr=0.01)
    plain = scores_of(method, params, view, solve=unsolved)
    assert apart(scores_of(method, params, rotated(view), solve=unsolved), plain) > 5e-2


def length_of(model: Any) -> float:
    return float(model.basis[:, 0].double().norm())


@pytest.mark.parametrize("attributes", [5, 9], ids=["more classes than attributes", "fewer"])
@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_plain_sgd_learns_the_same_in_principal_axes(method: Any, kind: Any, attributes: int) -> None:
    """The axes' length multiplies the gradient and the weights, so its square multiplies the rate."""
    view = toy_view(attributes=attributes, seed=2)
    model = build(method, kind(batch_size=1), view)
    model.solve(view)
    own, plain = (
        kind(epochs=5, batch_size=1, lr=lr, optimizer="sgd", beta1=0.0) for lr in (0.5, 0.5 * length_of(model) ** 2)
    )
    assert apart(scores_of(method, own, view), scores_of(method, plain, view, solve=unsolved)) < 1e-4


@pytest.mark.parametrize(
    ("margin", "batch_size", "steps"), [(0.5, 1000, 1), (4.0, 1, len(VIEW.x)), (1.0, 16, -(-len(VIEW.x) // 16))]
)
@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_an_epoch_of_steps_by_one_wanders_by_a_margin(
    method: Any, kind: Any, margin: float, batch_size: int, steps: int
) -> None:
    """Moves each weight to where it moves an image's score of a class most, against the mean of all classes."""
    model = build(method, kind(margin=margin, batch_size=batch_size), VIEW)
    model.solve(VIEW)
    along = VIEW.semantics.double().numpy() @ model.basis.double().numpy()
    moves = []
    for x in VIEW.x.double().numpy():
        for c in range(len(along)):
            weights = np.sign(np.outer(along[c] - along.mean(axis=0), x))
            scores = along @ weights @ x
            moves.append(scores[c] - scores.mean())
    assert np.mean(moves) * steps**0.5 == pytest.approx(margin, rel=1e-5)


@pytest.mark.parametrize(("method", "kind"), KINDS)
def test_neither_units_nor_margin_change_what_is_chosen(method: Any, kind: Any) -> None:
    view = toy_view(seed=2)
    larger = replace(view, x=300 * view.x, classes=replace(view.classes, semantics=0.02 * view.semantics))
    settings = {"epochs": 10, "batch_size": 16, "lr": 0.4}
    expected = scores_of(method, kind(**settings), view)
    assert apart(scores_of(method, kind(**settings), larger), expected) < 1e-3
    assert apart(scores_of(method, kind(**settings, margin=7.0), view) / 7, expected) < 1e-3


@pytest.mark.parametrize(("method", "kind"), ADAM)
def test_axes_are_orthonormal_and_uncorrelated_over_seen_classes(method: Any, kind: Any) -> None:
    model = build(method, kind(), VIEW)
    model.solve(VIEW)
    axes, s = model.basis.double().numpy(), VIEW.semantics.double().numpy()
    assert axes.T @ axes == pytest.approx(length_of(model) ** 2 * np.eye(s.shape[1]), abs=1e-6)
    along = s @ axes / length_of(model)
    assert along.T @ along == pytest.approx(np.diag(np.linalg.svd(s)[1] ** 2), abs=1e-5)
    assert (along[np.abs(along).argmax(axis=0), range(s.shape[1])] > 0).all()


@pytest.mark.parametrize(("method", "kind"), ADAM)
def test_nothing_is_said_of_directions_in_which_no_seen_embedding_reaches(method: Any, kind: Any) -> None:
    view = toy_view(attributes=9, seed=2)
    model, _ = train(method, kind(epochs=10, batch_size=16, lr=0.2), view)
    beyond = np.linalg.svd(view.semantics.double().numpy())[2][len(view.classes) :]  # (2, 9)
    classes = ClassSet(torch.from_numpy(beyond).float(), ("a", "b"), torch.zeros(2).bool())
    assert model.scores(view.x, view.classes).abs().max() > 0.1
    assert model.scores(view.x, classes).abs().max() < 1e-5
