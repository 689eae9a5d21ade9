"""The regressions that DAP, IAP and CONSE learn against scikit-learn's, and what the three methods have in common."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from planned import execute, plan
from sklearn.linear_model import LogisticRegression
from toy import build, same, toy_data, toy_view, train

from zslbench.api.embedder import Embedder
from zslbench.api.views import TrainView
from zslbench.runs.request import Request
from zslbench_methods.attributes import DAP, IAP, AttributeParams
from zslbench_methods.conse import CONSE, CONSEParams
from zslbench_methods.logistic import BinaryRegressions, SoftmaxRegression

Array = NDArray[np.float64]
METHODS = [(DAP, AttributeParams()), (IAP, AttributeParams(l2=0.1)), (CONSE, CONSEParams(top=3))]
VIEW = toy_view(seed=5, noise=0.5)


def reference(x: torch.Tensor, y: Array, l2: float) -> LogisticRegression:
    return LogisticRegression(C=1 / (l2 * len(x)), tol=1e-10, max_iter=100_000).fit(x.double().numpy(), y)


def difficult(kind: str) -> TrainView:
    """Features as they may come: as they are, far from 0 and of very different scales, more than images."""
    x = VIEW.x
    if kind == "uneven":
        x = torch.cat([x * torch.logspace(-2, 2, x.shape[1]) + 30.0, torch.ones(len(x), 2)], dim=1)
    elif kind == "wide":
        x = torch.from_numpy(np.random.default_rng(0).normal(size=(len(x), 2 * len(x)))).float()
    return VIEW.with_features(x, None)


@pytest.mark.parametrize("l2", [1e-3, 0.1, 10.0])
def test_binary_regressions_are_those_of_scikit_learn_for_each_target(l2: float) -> None:
    targets = np.random.default_rng(1).random((len(VIEW.x), 4)) < [0.1, 0.4, 0.5, 0.8]
    model = BinaryRegressions(VIEW.x.shape[1], 4)
    model.fit(replace(VIEW, y=torch.arange(len(VIEW.x))), torch.from_numpy(targets), l2)  # a class of its own for each
    for k in range(4):
        expected = reference(VIEW.x, targets[:, k], l2)
        assert model.W[k].numpy() == pytest.approx(expected.coef_[0], rel=1e-3, abs=1e-5)
        assert float(model.b[k]) == pytest.approx(expected.intercept_[0], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("l2", [1e-3, 0.1, 10.0])
def test_softmax_regression_is_that_of_scikit_learn(l2: float) -> None:
    model = SoftmaxRegression(VIEW.x.shape[1], len(VIEW.classes))
    model.fit_classes(VIEW, l2)
    expected = reference(VIEW.x, VIEW.y.numpy(), l2)
    assert model.W.numpy() == pytest.approx(expected.coef_, rel=1e-3, abs=1e-4)
    p = model.logits(VIEW.x).softmax(dim=1)
    assert p.numpy() == pytest.approx(expected.predict_proba(VIEW.x.double().numpy()), abs=1e-4)


@pytest.mark.parametrize("kind", ["plain", "uneven", "wide"])
@pytest.mark.parametrize("l2", [1e-4, 1e-2])
def test_at_the_solution_no_weight_can_lower_the_loss(kind: str, l2: float) -> None:
    """The gradient of the penalised mean loss, written out, is 0 there and nowhere else: the problem is convex."""
    view = difficult(kind)
    model = SoftmaxRegression(view.x.shape[1], len(view.classes))
    model.fit_classes(view, l2)
    x, W, b = (tensor.double().numpy() for tensor in (view.x, model.W, model.b))
    z = x @ W.T + b
    p = np.exp(z - z.max(axis=1, keepdims=True))
    excess = p / p.sum(axis=1, keepdims=True) - np.eye(len(view.classes))[view.y.numpy()]
    fall, spread = excess.T @ (x - x.mean(axis=0)) / len(x), 1e-3 + x.std(axis=0)
    assert np.abs((fall + l2 * W) / spread).max() < 2e-4 * np.abs(excess).mean() + 1e-5
    assert np.abs(excess.mean(axis=0)).max() < 1e-4


def test_the_penalty_means_the_same_for_any_number_of_images() -> None:
    once, thrice = (SoftmaxRegression(VIEW.x.shape[1], len(VIEW.classes)) for _ in range(2))
    once.fit_classes(VIEW, 0.01)
    thrice.fit_classes(replace(VIEW, x=VIEW.x.repeat(3, 1), y=VIEW.y.repeat(3)), 0.01)
    assert thrice.W.numpy() == pytest.approx(once.W.numpy(), rel=1e-3, abs=1e-4)


def scores(model: Embedder[Any]) -> torch.Tensor:
    test = toy_data(seed=5, noise=0.5).test_view()
    return model.scores(test.x(slice(0, 12)), test.classes)


@pytest.mark.parametrize(("method", "params"), METHODS)
def test_a_fitted_model_is_its_state(method: Any, params: Any) -> None:
    fitted, empty = train(method, params, VIEW)[0], build(method, params, VIEW)
    assert not torch.equal(scores(fitted), scores(empty))
    empty.load_state_dict(fitted.state_dict())
    assert torch.equal(scores(fitted), scores(empty))


@pytest.mark.parametrize(("method", "params"), METHODS)
def test_nothing_is_random(method: Any, params: Any) -> None:
    first, second = (train(method, params, VIEW, seed=seed)[0].state_dict() for seed in (0, 1))
    assert same(first, second)


@pytest.mark.parametrize(("method", "params"), METHODS)
def test_scores_follow_the_classes_in_training_and_in_scoring(method: Any, params: Any) -> None:
    """Reordering the classes, in either place, only moves the columns."""
    model, test = train(method, params, VIEW)[0], toy_data(seed=5, noise=0.5).test_view()
    x, order = test.x(slice(0, 12)), np.random.default_rng(0).permutation(len(test.classes))
    expected = model.scores(x, test.classes)
    moved = model.scores(x, test.classes.select(order))
    assert moved.numpy() == pytest.approx(expected[:, torch.from_numpy(order)].numpy(), rel=1e-5, abs=1e-5)

    order = np.random.default_rng(1).permutation(len(VIEW.classes))
    y = torch.from_numpy(np.argsort(order))[VIEW.y]
    other = train(method, params, TrainView("inductive", VIEW.x, y, VIEW.classes.select(order)))[0]
    assert other.scores(x, test.classes).numpy() == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("name", ["dap", "iap", "conse"])
def test_real_images_of_unseen_classes_are_told_apart_but_taken_for_seen_ones(name: str, real_data: Path) -> None:
    """The pattern that was published for the three: U->U twice chance (10 %), U->T about 0, S->T high (chance 2 %)."""
    [planned] = plan([name], ["awa1"], Request(root=real_data, features="bow512"))
    metrics = execute(planned.runs[0])[0].metrics
    assert metrics["acc_uu"] >= 0.2
    assert metrics["acc_ut"] <= 0.03
    assert metrics["acc_st"] >= 0.3
