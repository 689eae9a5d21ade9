"""SSE: its mixtures against scipy and their optimality conditions, its scores and its objective by loops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from planned import execute, plan
from scipy.optimize import minimize
from toy import build, same, toy_data, toy_view, train, weights

from zslbench import Batch, ClassSet, TrainView
from zslbench.runs.request import Request
from zslbench_methods.simplex import mixtures
from zslbench_methods.sse import SSE, SSEParams

Array = NDArray[np.float64]
VIEW = toy_view(seed=6)
TRANSFORMS = ["intersection", "relu"]


def semantics(classes: int, size: int, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).random((classes, size))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def objective(a: Array, s: Array, basis: Array, gamma: float) -> float:
    return float(gamma / 2 * a @ a + np.square(s - a @ basis).sum() / 2)


def solved(targets: Array, basis: Array, gamma: float) -> Array:
    found: Array = mixtures(torch.from_numpy(targets), torch.from_numpy(basis), gamma).numpy()
    return found


@pytest.mark.parametrize("gamma", [1e-3, 0.05, 1.0])
@pytest.mark.parametrize(("classes", "size"), [(6, 4), (12, 20)])
def test_mixtures_are_those_of_a_general_solver(gamma: float, classes: int, size: int) -> None:
    basis, targets = semantics(classes, size), semantics(5, size, seed=1)
    for s, a in zip(targets, solved(targets, basis, gamma), strict=True):
        general = minimize(
            objective,
            np.full(classes, 1 / classes),
            args=(s, basis, gamma),
            method="SLSQP",
            bounds=[(0, 1)] * classes,
            constraints={"type": "eq", "fun": lambda a: a.sum() - 1},
            options={"ftol": 1e-14, "maxiter": 1000},
        )
        assert objective(a, s, basis, gamma) <= general.fun + 1e-12
        assert a == pytest.approx(general.x, abs=2e-4)


@pytest.mark.parametrize("gamma", [1e-6, 1e-2, 0.5])
def test_mixtures_are_optimal_where_there_are_many_classes(gamma: float) -> None:
    """KKT: the gradient is least, and the same, on the support."""
    basis, targets = semantics(150, 40), semantics(20, 40, seed=1)
    basis[7] = basis[3]  # classes that nothing tells apart
    a = solved(np.vstack([targets, basis[:10]]), basis, gamma)
    gradient = gamma * a + (a @ basis - np.vstack([targets, basis[:10]])) @ basis.T
    level = (a * gradient).sum(axis=1, keepdims=True)
    assert a.min() >= 0
    assert a.sum(axis=1) == pytest.approx(np.ones(30), abs=1e-9)
    assert (gradient - level).min() > -1e-8
    assert np.abs((gradient - level)[a > 0]).max() < 1e-8
    assert a[:, 3] == pytest.approx(a[:, 7], abs=1e-6)


def test_mixtures_by_hand() -> None:
    corners = np.eye(2)
    found = solved(np.array([[1.0, 0.0], [0.5, 0.5], [3.0, -3.0], [0.75, 0.25]]), corners, 1.0)
    # with a = (t, 1 - t) and gamma 1 the minimum is at t = 1/2 + (s_1 - s_2) / 4, cut to [0, 1]
    assert found == pytest.approx(np.array([[0.75, 0.25], [0.5, 0.5], [1.0, 0.0], [0.625, 0.375]]))


def test_a_seen_class_is_itself_where_the_penalty_vanishes() -> None:
    basis = semantics(6, 8)
    assert solved(basis, basis, 1e-9) == pytest.approx(np.eye(6), abs=1e-6)


def sse(seed: int = 0, **values: Any) -> SSE:
    """A model whose w has both signs and whose v are off the class means, some negative before v = |u|."""
    model = build(SSE, SSEParams(**values), VIEW)
    model.solve(VIEW)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.w.copy_(torch.randn(model.w.shape, generator=generator))
        model.v.add_(0.3 * torch.randn(model.v.shape, generator=generator))
    assert (model.v < 0).any()
    return model


def arrays(model: SSE) -> tuple[Array, Array]:
    w, v = (parameter.detach().double().numpy() for parameter in (model.w, model.v))
    return w, np.abs(v)


def proportion(x: Array, v: Array, w: Array, transform: str) -> float:
    total = 0.0
    for d in range(len(x)):
        total += w[d] * (min(x[d], v[d]) if transform == "intersection" else max(0.0, x[d] - v[d]))
    return total


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_scores_compare_the_mixtures_of_image_and_class(transform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = sse(transform=transform, gamma=0.2)
    w, v = arrays(model)
    test = toy_data(seed=6).test_view()
    x, classes = test.x(slice(0, 12)), test.classes
    psi = solved(classes.semantics.double().numpy(), VIEW.semantics.double().numpy(), 0.2)
    expected = [
        [sum(proportion(image, v[y], w, transform) * psi[c, y] for y in range(len(v))) for c in range(len(classes))]
        for image in x.double().numpy()
    ]
    with torch.no_grad():
        assert model.scores(x, classes).numpy() == pytest.approx(np.array(expected), abs=1e-4)
        monkeypatch.setattr("zslbench_methods.sse.VALUES_AT_ONCE", 2 * v.size)  # two images at a time
        assert model.scores(x, classes).numpy() == pytest.approx(np.array(expected), abs=1e-4)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_the_objective_is_its_terms_one_pair_at_a_time(transform: str) -> None:
    model = sse(transform=transform, gamma=0.2, lambda1=0.5, lambda2=3.0, lambda3=7.0)
    w, v = arrays(model)
    rows = torch.where(VIEW.y != 2)[0][:11]  # class 2 is not in the batch
    x, y, s = VIEW.x[rows].double().numpy(), VIEW.y[rows].tolist(), VIEW.semantics.double().numpy()
    classes, psi = range(len(s)), solved(s, s, 0.2)
    pi = [[proportion(image, v[c], w, transform) for c in classes] for image in x]
    f = [[sum(image[k] * psi[c, k] for k in classes) for c in classes] for image in pi]

    def delta(a: int, b: int) -> float:
        return 1 - float(s[a] @ s[b]) if a != b else 0.0

    alignment = []
    for c in sorted(set(y)):
        own = [image for image, label in zip(pi, y, strict=True) if label == c]
        hinges = [max(0.0, delta(c, k) - sum(image[c] - image[k] for image in own) / len(own)) for k in classes]
        alignment.append(sum(hinges) / len(s))
    ranking = [
        sum(max(0.0, delta(label, c) - (image[label] - image[c])) for c in classes) / len(s)
        for image, label in zip(f, y, strict=True)
    ]
    expected = {
        "w": sum(w**2) / 2,
        "v": 0.5 / 2 * (v**2).sum(),
        "alignment": 3.0 * sum(alignment) / len(alignment),
        "ranking": 7.0 * sum(ranking) / len(ranking),
    }
    found = model.loss(Batch(VIEW.x[rows], VIEW.y[rows], VIEW.classes, torch.Generator()))
    assert {name: float(term.detach()) for name, term in found.items()} == pytest.approx(expected, rel=1e-4)
    assert expected["alignment"] > 0 and expected["ranking"] > 0


def test_v_starts_at_the_class_means() -> None:
    model = build(SSE, SSEParams(), VIEW)
    model.solve(VIEW)
    x, y = VIEW.x.numpy(), VIEW.y.numpy()
    means = np.array([np.maximum(x[y == c].mean(axis=0), 0) for c in range(len(VIEW.classes))])
    assert model.v.detach().numpy() == pytest.approx(means, abs=1e-5)
    assert (means > 0).any() and (means == 0).any()


def test_both_transforms_are_one_model_with_the_weights_of_the_other_negated() -> None:
    """Since min(x, v) = x - max(0, x - v), and mixtures sum to 1."""
    cut, rest = sse(transform="intersection"), sse(transform="relu")
    with torch.no_grad():
        rest.w.neg_()
        both = [model.scores(VIEW.x, VIEW.classes) for model in (cut, rest)]
        differences = [scores - scores[:, :1] for scores in both]
    assert differences[0].numpy() == pytest.approx(differences[1].numpy(), abs=1e-4)
    batch = Batch(VIEW.x, VIEW.y, VIEW.classes, torch.Generator())
    losses = [{name: float(term.detach()) for name, term in model.loss(batch).items()} for model in (cut, rest)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_training_lowers_the_hinges_and_tells_the_training_classes_apart() -> None:
    model, fitted = train(SSE, SSEParams(epochs=60, batch_size=32, lr=0.02), VIEW)
    first, last = fitted.losses[0], fitted.losses[-1]
    assert last["loss/alignment"] < 0.5 * first["loss/alignment"]
    assert last["loss/ranking"] < 0.5 * first["loss/ranking"]
    accuracy = (model.scores(VIEW.x, VIEW.classes).argmax(dim=1) == VIEW.y).float().mean()
    assert accuracy > 0.7  # chance: 1/7


def test_a_larger_v_weight_shrinks_v() -> None:
    sizes = [
        float(
            train(SSE, SSEParams(epochs=20, batch_size=16, lr=0.02, lambda1=weight), VIEW)[0].v.detach().square().sum()
        )
        for weight in (0.0, 100.0)
    ]
    assert sizes[1] < 0.5 * sizes[0]


def test_the_weights_are_the_whole_model() -> None:
    model, _ = train(SSE, SSEParams(epochs=2, batch_size=16), VIEW)
    other = build(SSE, model.params, VIEW, seed=9)
    other.load_state_dict(weights(model))
    test = toy_data(seed=6).test_view()
    with torch.no_grad():
        assert torch.equal(
            other.scores(test.x(slice(0, 9)), test.classes), model.scores(test.x(slice(0, 9)), test.classes)
        )


def test_the_order_of_the_training_classes_changes_nothing() -> None:
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])
    place = order.argsort()
    view = TrainView(VIEW.setting, VIEW.x, place[VIEW.y], VIEW.classes.select(order.tolist()))
    params = SSEParams(epochs=3, batch_size=16)
    one, two = train(SSE, params, VIEW)[0], train(SSE, params, view)[0]
    test = toy_data(seed=6).test_view()
    with torch.no_grad():
        scores = [model.scores(test.x(slice(0, 9)), test.classes).numpy() for model in (one, two)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-3 * float(np.abs(scores[0]).max()))


def test_a_batch_of_one_image_has_a_loss_and_a_gradient() -> None:
    classes = ClassSet(torch.eye(2), ("a", "b"), torch.tensor([True, True]))
    view = TrainView("inductive", torch.tensor([[0.5, 0.0], [0.0, 0.25]]), torch.tensor([0, 1]), classes)
    model = build(SSE, SSEParams(transform="intersection", gamma=1.0, lambda1=0.0, lambda2=1.0, lambda3=1.0), view)
    model.solve(view)
    with torch.no_grad():
        model.w.copy_(torch.tensor([1.0, 2.0]))
    losses = model.loss(Batch(view.x[:1], view.y[:1], classes, torch.Generator()))
    # pi = (1/2, 0); psi of a and b are (3/4, 1/4) and (1/4, 3/4), so f = (3/8, 1/8); Delta = 1
    expected = {"w": 2.5, "v": 0.0, "alignment": (1 - 1 / 2) / 2, "ranking": (1 - 1 / 4) / 2}
    assert {name: float(term.detach()) for name, term in losses.items()} == pytest.approx(expected)
    (gradient,) = torch.autograd.grad(losses["ranking"], model.w)
    assert gradient.tolist() == pytest.approx([-(1 / 2) * (1 / 2) / 2, 0.0])  # f(a) - f(b) = w_1 min(1/2, 1/2) / 2


def test_training_repeats_bit_for_bit() -> None:
    params = SSEParams(epochs=2, batch_size=16)
    assert same(weights(train(SSE, params, VIEW)[0]), weights(train(SSE, params, VIEW)[0]))


def test_on_real_features_sse_recognises_unseen_classes(real_data: Path) -> None:
    (row,) = plan(["sse"], ["awa1"], Request(root=real_data, features="bow512", calibrated=False))
    metrics = execute(row.runs[0])[0].metrics
    assert metrics["acc_uu"] >= 0.25  # chance: 0.1
    assert metrics["ausuc"] >= 0.06
