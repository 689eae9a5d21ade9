"""DAP, and the product of attribute probabilities that IAP shares, in plain probabilities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from toy import build, toy_data, toy_view, train

from zslbench.api.views import ClassSet, TrainView
from zslbench_methods.attributes import DAP, IAP, AttributeParams


def classes(rows: list[list[float]]) -> ClassSet:
    return ClassSet(torch.tensor(rows), tuple(map(str, range(len(rows)))), torch.ones(len(rows), dtype=torch.bool))


def test_the_product_by_hand() -> None:
    dap = build(
        DAP, AttributeParams(), TrainView("inductive", torch.zeros(1, 2), torch.tensor([0]), classes([[0.0, 0.0]]))
    )
    dap.attributes.W.copy_(torch.eye(2))
    dap.thresholds.copy_(torch.tensor([0.3, 0.5]))
    dap.prior.copy_(torch.tensor([0.5, 0.25]))
    x = torch.tensor([[0.0, math.log(3)], [math.log(4), -math.log(9)]])  # p(a | x) = (1/2, 3/4) and (4/5, 1/10)
    ratios = dap.scores(x, classes([[0.4, 0.6], [0.4, 0.5], [0.1, 0.9], [0.3, 0.0]])).exp()
    first = [1 * 3, 1 * (1 / 4) / (3 / 4), 1 * 3, 1 * (1 / 4) / (3 / 4)]
    present, absent = (4 / 5) / (1 / 2), (1 / 5) / (1 / 2)
    yes, no = (1 / 10) / (1 / 4), (9 / 10) / (3 / 4)
    second = [present * yes, present * no, absent * yes, absent * no]
    assert ratios.numpy() == pytest.approx(np.array([first, second]), rel=1e-5)
    assert dap.embed(x).numpy() == pytest.approx(np.array([[1 / 2, 3 / 4], [4 / 5, 1 / 10]]), rel=1e-5)


@pytest.mark.parametrize("threshold", ["mean", "median", "positive"])
def test_dap_is_its_formula_with_scikit_learns_regressions(threshold: str) -> None:
    data = toy_data(seed=6, noise=0.3)
    semantics = np.where(np.random.default_rng(2).random(data.semantics.shape) < 0.3, 0.0, data.semantics)
    object.__setattr__(data, "semantics", semantics.astype(np.float32))
    view, test = data.train_view("inductive"), data.test_view()
    dap, _ = train(DAP, AttributeParams(l2=0.01, threshold=threshold), view)

    seen, every = view.semantics.numpy(), test.classes.semantics.numpy()
    limit = {"mean": seen.mean(axis=0), "median": np.median(seen, axis=0), "positive": np.zeros(seen.shape[1])}[
        threshold
    ]
    x, images = view.x.double().numpy(), test.x(slice(0, 20)).double().numpy()
    expected = np.ones((len(images), len(every)))
    for m in range(seen.shape[1]):
        share = sum(seen[k, m] > limit[m] for k in range(len(seen))) / len(seen)
        assert 0 < share < 1
        target = seen[view.y.numpy(), m] > limit[m]
        model = LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-10, max_iter=100_000).fit(x, target)
        p = model.predict_proba(images)[:, 1]
        for c in range(len(every)):
            expected[:, c] *= p / share if every[c, m] > limit[m] else (1 - p) / (1 - share)
    found = dap.scores(test.x(slice(0, 20)), test.classes)
    assert found.numpy() == pytest.approx(np.log(expected), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize(("method", "params"), [(DAP, AttributeParams), (IAP, AttributeParams)])
@pytest.mark.parametrize("threshold", ["mean", "median", "positive"])
def test_attributes_that_all_seen_classes_share_do_not_count(method: Any, params: Any, threshold: str) -> None:
    view = toy_view(seed=7)
    plain = train(method, params(threshold=threshold), view)[0]
    two = torch.tensor([[0.4, 0.0]]).expand(len(view.classes), 2)  # all have the first, none has the second
    more = ClassSet(torch.cat([two, view.semantics], dim=1), view.classes.names, view.classes.seen)
    extended = train(method, params(threshold=threshold), TrainView("inductive", view.x, view.y, more))[0]
    for values in ([0.0, 0.0], [0.9, 0.9], [0.4, 0.0]):  # whatever the classes to be told apart have of them
        unseen = torch.cat([torch.tensor([values]).expand(len(view.classes), 2), view.semantics], dim=1)
        found = extended.scores(view.x, ClassSet(unseen, more.names, ~more.seen))
        assert found.numpy() == pytest.approx(plain.scores(view.x, view.classes).numpy(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize(("method", "params"), [(DAP, AttributeParams()), (IAP, AttributeParams())])
def test_classes_without_any_difference_tie_at_0(method: Any, params: Any) -> None:
    view = toy_view(seed=7)
    alike = ClassSet(torch.full_like(view.semantics, 0.3), view.classes.names, view.classes.seen)
    model = train(method, params, TrainView("inductive", view.x, view.y, alike))[0]
    assert model.scores(view.x, view.classes).abs().max() < 1e-6
