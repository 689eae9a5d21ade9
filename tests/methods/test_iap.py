"""IAP: attribute probabilities as marginals of class probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from toy import build, toy_data, toy_view, train

from zslbench_methods.attributes import IAP, AttributeParams


def test_iap_is_its_formula_with_scikit_learns_softmax() -> None:
    data = toy_data(seed=8, noise=0.3)
    view, test = data.train_view("inductive"), data.test_view()
    iap, _ = train(IAP, AttributeParams(l2=0.01), view)

    x, images = view.x.double().numpy(), test.x(slice(0, 20)).double().numpy()
    model = LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-10, max_iter=100_000).fit(x, view.y.numpy())
    seen, every = view.semantics.numpy(), test.classes.semantics.numpy()
    limit = seen.mean(axis=0)
    marginal, expected = np.zeros((len(images), seen.shape[1])), np.ones((len(images), len(every)))
    for n, p in enumerate(model.predict_proba(images)):
        for m in range(seen.shape[1]):
            share = sum(seen[k, m] > limit[m] for k in range(len(seen))) / len(seen)
            marginal[n, m] = sum(p[k] for k in range(len(seen)) if seen[k, m] > limit[m])
            for c in range(len(every)):
                has = every[c, m] > limit[m]
                expected[n, c] *= marginal[n, m] / share if has else (1 - marginal[n, m]) / (1 - share)
    assert iap.embed(test.x(slice(0, 20))).numpy() == pytest.approx(marginal, abs=1e-4)
    assert iap.scores(test.x(slice(0, 20)), test.classes).numpy() == pytest.approx(np.log(expected), rel=1e-3, abs=2e-3)


def test_a_classifier_that_is_sure_leaves_odds_of_the_right_size() -> None:
    """p(k | x) of e^-200 is 0 in float32, and 1 minus it is 1; logits 2000 apart are beyond any float."""
    view = toy_view(seen=2, unseen=2, attributes=2, size=2)
    iap = build(IAP, AttributeParams(), view)
    iap.classifier.W.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    iap.signatures.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    odds = iap.log_odds(torch.tensor([[200.0, 0.0], [-3.0, 0.0], [2000.0, 0.0]]))
    assert odds[:2].numpy() == pytest.approx(np.array([[-200.0, 200.0], [3.0, -3.0]]), rel=1e-5)
    assert (odds[2] * torch.tensor([-1.0, 1.0]) > 700).all() and odds.isfinite().all()
    assert iap.scores(torch.tensor([[2000.0, 0.0]]), view.classes).isfinite().all()
