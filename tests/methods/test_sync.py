"""SYNC: classifiers against scikit-learn and a quadratic program, synthesis against its formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.svm import LinearSVC
from toy import build, toy_data, toy_view, train

from zslbench.api.views import ClassSet, TrainView
from zslbench_methods.sync import SYNC, SYNCParams

Array = NDArray[np.float64]


def arrays(view: TrainView) -> tuple[Array, NDArray[np.int64], Array]:
    return view.x.double().numpy(), view.y.numpy(), view.semantics.double().numpy()


def fitted(view: TrainView, **values: Any) -> SYNC:
    model, _ = train(SYNC, SYNCParams(**values), view)
    assert isinstance(model, SYNC)
    return model


def classifiers(view: TrainView, **values: Any) -> Array:
    model = build(SYNC, SYNCParams(**values), view)
    assert isinstance(model, SYNC)
    return model.classifiers(view).numpy()


def every_class() -> ClassSet:
    return toy_data().test_view().classes


def struct_objective(W: Array, view: TrainView, lam: float) -> float:
    x, y, s = arrays(view)
    total = 0.0
    for n in range(len(x)):
        worst = max(np.square(s[c] - s[y[n]]).sum() + W[c] @ x[n] - W[y[n]] @ x[n] for c in range(len(s)))
        total += max(0.0, worst) ** 2
    return float(total / len(x) + lam / 2 * np.square(W).sum())


def quadratic_program(view: TrainView, lam: float) -> Array:
    """The classifiers of the struct loss, with a slack variable an image for its hinge."""
    x, y, s = arrays(view)
    N, D, C = len(x), x.shape[1], len(s)
    distances = np.square(s[:, None] - s[None]).sum(axis=2)

    def slack(v: Array) -> Array:
        W, xi = v[: C * D].reshape(C, D), v[C * D :]
        scores = x @ W.T
        return (xi[:, None] - distances[y] - scores + scores[np.arange(N), y][:, None]).ravel()

    def objective(v: Array) -> float:
        return float(np.square(v[C * D :]).mean() + lam / 2 * np.square(v[: C * D]).sum())

    start = np.concatenate([np.zeros(C * D), np.full(N, 2.0)])
    solution = minimize(
        objective,
        start,
        method="SLSQP",
        constraints={"type": "ineq", "fun": slack},
        options={"maxiter": 500, "ftol": 1e-12},
    )
    assert solution.success
    return np.asarray(solution.x[: C * D]).reshape(C, D)


@pytest.mark.parametrize("lam", [2.0**-4, 2.0**-8, 2.0**-14])
def test_one_vs_other_classifiers_are_the_linear_svms_of_each_class(lam: float) -> None:
    view = toy_view(seed=3, noise=1.0)
    x, y, s = arrays(view)
    W = classifiers(view, loss="one-vs-other", lam=lam)
    for c in range(len(s)):
        # mean of squares + lam / 2 |w|^2 is lam times |w|^2 / 2 + C * sum of squares
        svm = LinearSVC(
            loss="squared_hinge", fit_intercept=False, C=1 / (lam * len(x)), dual=False, tol=1e-10, max_iter=10_000
        )
        expected = svm.fit(x, y == c).coef_[0]
        assert W[c] == pytest.approx(expected, rel=1e-3, abs=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("lam", [0.5, 2.0**-4, 2.0**-8])
def test_struct_classifiers_solve_their_quadratic_program(lam: float) -> None:
    view = toy_view(seed=5, noise=0.5, seen=3, unseen=1, images=6, size=3, attributes=4)
    expected = quadratic_program(view, lam)
    W = classifiers(view, loss="struct", lam=lam)
    least = struct_objective(expected, view, lam)
    assert least * (1 - 1e-6) < struct_objective(W, view, lam) < least * 1.002  # the maximum is smoothed
    assert np.abs(W - expected).max() < 0.04 * np.abs(expected).max()


def test_no_change_of_the_struct_classifiers_lowers_their_objective() -> None:
    view, lam, random = toy_view(seed=4, noise=0.5), 2.0**-6, np.random.default_rng(0)
    W = classifiers(view, loss="struct", lam=lam)
    least = struct_objective(W, view, lam)
    assert least < 0.9 * struct_objective(np.zeros_like(W), view, lam)
    for _ in range(20):
        assert struct_objective(W + 0.1 * random.normal(size=W.shape), view, lam) > least


@pytest.mark.parametrize("loss", ["one-vs-other", "struct"])
def test_features_that_span_less_than_their_space_leave_the_rest_of_w_at_zero(loss: str) -> None:
    view = toy_view(seed=3, noise=0.5)
    wide = view.with_features(torch.cat([view.x, torch.zeros(len(view.x), 70)], dim=1), None)
    expected = classifiers(view, loss=loss, lam=2.0**-20)
    W = classifiers(wide, loss=loss, lam=2.0**-20)
    assert W.shape[1] > len(wide.x)
    assert np.abs(W[:, view.x.shape[1] :]).max() < 1e-4 * np.abs(W).max()
    assert W[:, : view.x.shape[1]] == pytest.approx(expected, abs=0.01 * np.abs(expected).max())


@pytest.mark.parametrize("similarity", [2.0**-5, 1.0, 2.0**5])
def test_similarities_are_their_formula_and_sum_to_one(similarity: float) -> None:
    view, classes = toy_view(), every_class()
    found = fitted(view, similarity=similarity).similarities(classes.semantics).numpy()
    _, _, b = arrays(view)
    for row, a in zip(found, classes.semantics.double().numpy(), strict=True):
        weights = [np.exp(-similarity * sum((a[i] - r[i]) ** 2 for i in range(len(a)))) for r in b]
        assert row == pytest.approx(np.array(weights) / sum(weights), rel=1e-6)
    assert found.sum(axis=1) == pytest.approx(np.ones(len(classes)))


@pytest.mark.parametrize("loss", ["one-vs-other", "struct"])
@pytest.mark.parametrize("similarity", [0.5, 8.0])
def test_seen_classes_keep_their_classifiers(loss: str, similarity: float) -> None:
    view = toy_view()
    model = fitted(view, loss=loss, similarity=similarity)
    expected = view.x.double().numpy() @ model.classifiers(view).numpy().T
    found = model.scores(view.x, view.classes).numpy()
    assert found == pytest.approx(expected, abs=1e-4 * np.abs(expected).max())


def test_unseen_classifiers_are_synthesised_from_the_phantom_ones() -> None:
    view, classes = toy_view(), every_class().unseen_only
    model = fitted(view, similarity=2.0)
    seen, unseen = (model.similarities(s).numpy() for s in (view.semantics, classes.semantics))
    V = np.linalg.solve(seen, model.classifiers(view).numpy())
    expected = view.x.double().numpy() @ sum(unseen[:, r, None] * V[r] for r in range(len(V))).T
    assert model.scores(view.x, classes).numpy() == pytest.approx(expected, abs=1e-4 * np.abs(expected).max())


def test_classes_with_one_embedding_share_a_classifier_and_the_others_keep_theirs() -> None:
    view = toy_view()
    semantics = view.semantics.clone()
    semantics[1] = semantics[0]
    view = TrainView("inductive", view.x, view.y, ClassSet(semantics, view.classes.names, view.classes.seen))
    model = fitted(view, loss="one-vs-other")
    W = model.classifiers(view).numpy()
    W[:2] = W[:2].mean(axis=0)  # least squares
    expected = view.x.double().numpy() @ W.T
    assert model.scores(view.x, view.classes).numpy() == pytest.approx(expected, abs=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("loss", ["one-vs-other", "struct"])
def test_the_order_of_classes_and_images_does_not_matter(loss: str) -> None:
    view, classes = toy_view(noise=0.5), every_class()
    order, images = [4, 2, 6, 0, 1, 5, 3], torch.randperm(len(view.x), generator=torch.Generator().manual_seed(0))
    place = torch.tensor([order.index(c) for c in range(len(order))])
    shuffled = TrainView("inductive", view.x[images], place[view.y[images]], view.classes.select(order))
    expected = fitted(view, loss=loss).scores(view.x, classes)
    reverse = list(range(len(classes)))[::-1]
    found = fitted(shuffled, loss=loss).scores(view.x, classes.select(reverse))[:, reverse]
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("loss", ["one-vs-other", "struct"])
@pytest.mark.parametrize("lam", [2.0**-30, 2.0**-8])
@pytest.mark.parametrize("similarity", [2.0**-5, 2.0**5])
def test_scores_are_finite_at_the_ends_of_the_search_space(loss: str, lam: float, similarity: float) -> None:
    view = toy_view(attributes=2)  # fewer attributes than classes: the similarities are nearly singular
    model = fitted(view, loss=loss, lam=lam, similarity=similarity)
    assert torch.isfinite(model.scores(view.x, toy_data(attributes=2).test_view().classes)).all()


def test_a_stored_model_scores_as_before() -> None:
    view, classes = toy_view(), every_class()
    model, other = fitted(view), build(SYNC, SYNCParams(), view, seed=1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.scores(view.x, classes), model.scores(view.x, classes))


@pytest.mark.parametrize("loss", ["one-vs-other", "struct"])
def test_the_seed_does_not_matter(loss: str) -> None:
    first, second = (train(SYNC, SYNCParams(loss=loss), toy_view(), seed=seed)[0].state_dict() for seed in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
