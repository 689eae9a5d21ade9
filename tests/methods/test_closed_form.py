"""ESZSL and SAE against independent solutions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from planned import execute, plan
from scipy.linalg import solve_sylvester
from toy import toy_view, train

from zslbench.discovery.plugins import registry
from zslbench.runs.request import Request
from zslbench_methods.eszsl import ESZSL, ESZSLParams
from zslbench_methods.sae import SAE, SAEParams

Array = NDArray[np.float64]


def problem(**options: int) -> tuple[Array, NDArray[np.int64], Array]:
    view = toy_view(**options)
    return view.x.numpy().astype(np.float64), view.y.numpy(), view.semantics.numpy().astype(np.float64)


def objective_sae(W: Array, X: Array, S: Array, lam: float) -> float:
    return float(np.square(X - W.T @ S).sum() + lam * np.square(W @ X - S).sum())


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 1.0), (1000.0, 0.1), (1e-3, 100.0)])
def test_eszsl_is_its_formula_with_plain_inverses(gamma: float, lam: float) -> None:
    X, y, S = problem(seed=3)
    Y = -np.ones((len(y), len(S)))
    Y[np.arange(len(y)), y] = 1.0
    V = (
        np.linalg.inv(X.T @ X + gamma * np.eye(X.shape[1]))
        @ X.T
        @ Y
        @ S
        @ np.linalg.inv(S.T @ S + lam * np.eye(S.shape[1]))
    )
    eszsl, _ = train(ESZSL, ESZSLParams(gamma=gamma, lam=lam, relative=False), toy_view(seed=3))
    assert eszsl.V.numpy() == pytest.approx(V, rel=1e-4, abs=1e-6 * np.abs(V).max())
    scores = eszsl.scores(torch.from_numpy(X).float(), toy_view(seed=3).classes)
    assert scores.numpy() == pytest.approx(X @ V @ S.T, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("lam", [0.1, 1.0, 50.0])
def test_sae_solves_its_sylvester_equation(lam: float) -> None:
    X, y, S = problem(seed=4)
    X, S = X.T, S[y].T  # columns are images
    W = solve_sylvester(S @ S.T, lam * X @ X.T, (1 + lam) * S @ X.T)
    sae, _ = train(SAE, SAEParams(lam=lam, relative=False), toy_view(seed=4))
    assert sae.W.numpy() == pytest.approx(W, rel=1e-3, abs=1e-5 * np.abs(W).max())


def test_sae_minimises_its_objective() -> None:
    X, y, S = problem(seed=4)
    X, S = X.T, S[y].T
    sae, _ = train(SAE, SAEParams(lam=2.0, relative=False), toy_view(seed=4))
    W, random = sae.W.numpy().astype(np.float64), np.random.default_rng(0)
    least = objective_sae(W, X, S, 2.0)
    for _ in range(20):
        assert objective_sae(W + 0.01 * random.normal(size=W.shape), X, S, 2.0) > least


def test_sae_survives_features_that_span_less_than_their_space() -> None:
    view = toy_view(seed=4)
    wide = view.with_features(torch.cat([view.x, view.x[:, :3], torch.zeros(len(view.x), 2)], dim=1), None)
    sae, _ = train(SAE, SAEParams(lam=1.0, relative=False), wide)
    X, S = wide.x.numpy().T.astype(np.float64), view.semantics.numpy()[view.y].T.astype(np.float64)
    W = sae.W.numpy().astype(np.float64)
    left, right = S @ S.T @ W + W @ X @ X.T, 2.0 * S @ X.T
    assert np.abs(left - right).max() < 1e-4 * np.abs(right).max()
    assert np.abs(W[:, -2:]).max() < 1e-6


@pytest.mark.parametrize("direction", ["f2s", "s2f"])
def test_sae_compares_by_cosine_in_the_space_of_its_direction(direction: str) -> None:
    def cosine(a: Array, b: Array) -> float:
        return float(a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b)))

    view = toy_view(seed=4)
    sae, _ = train(SAE, SAEParams(lam=1.0, direction=direction, relative=False), view)
    W, x, s = (tensor.numpy().astype(np.float64) for tensor in (sae.W, view.x[:6], view.semantics))
    expected = [[cosine(W @ image, c) if direction == "f2s" else cosine(image, W.T @ c) for c in s] for image in x]
    assert sae.scores(view.x[:6], view.classes).numpy() == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize(
    ("method", "relative", "absolute"),
    [
        (ESZSL, ESZSLParams(gamma=3.0, lam=0.2), lambda e, f, a: ESZSLParams(gamma=3 * e, lam=0.2 * f, relative=False)),
        (SAE, SAEParams(lam=0.7), lambda e, f, a: SAEParams(lam=0.7 * a / e, relative=False)),
    ],
    ids=["eszsl", "sae"],
)
def test_strengths_are_multiples_of_mean_eigenvalues(method: Any, relative: Any, absolute: Any) -> None:
    X, y, S = problem(seed=4)
    if method is ESZSL:
        S = S - S.mean(axis=0)
    # a trace is the sum of the eigenvalues, and the rank says how many are not zero
    e, f, a = (float(np.trace(M.T @ M)) / np.linalg.matrix_rank(M) for M in (X, S, S[y]))
    found, expected = (train(method, params, toy_view(seed=4))[0] for params in (relative, absolute(e, f, a)))
    for name, value in expected.state_dict().items():
        assert found.state_dict()[name].numpy() == pytest.approx(value.numpy(), rel=1e-4, abs=1e-6)
    plain, _ = train(method, type(relative)(**{**relative.model_dump(), "relative": False}), toy_view(seed=4))
    assert not np.allclose(next(iter(plain.state_dict().values())), next(iter(found.state_dict().values())), rtol=0.01)


@pytest.mark.parametrize(("method", "params"), [(ESZSL, ESZSLParams()), (SAE, SAEParams())])
def test_defaults_decide_alike_whatever_the_units_of_features_and_embeddings(method: Any, params: Any) -> None:
    view = toy_view(seed=4, noise=0.5)
    classes = replace(view.classes, semantics=20 * view.semantics)
    other = replace(view, x=0.05 * view.x, classes=classes)
    model, again = (train(method, params, given)[0] for given in (view, other))
    scores, expected = again.scores(other.x, classes), model.scores(view.x, view.classes)
    factor = float(scores.abs().max() / expected.abs().max())
    assert scores.numpy() == pytest.approx(factor * expected.numpy(), rel=1e-3, abs=1e-4 * float(scores.abs().max()))


@pytest.mark.parametrize(("name", "preset"), [("eszsl", "port"), ("sae", "f2s"), ("sae", "s2f")])
def test_published_strengths_are_absolute(name: str, preset: str) -> None:
    card = next(entry.card for entry in registry().entries("method") if entry.name == name)
    for dataset in card.preset(preset).datasets:
        assert card.preset(preset).resolve(dataset, "res101")[0]["relative"] is False


def test_columns_that_repeat_others_do_not_change_what_defaults_of_eszsl_decide() -> None:
    view = toy_view(seed=4, noise=0.5)
    classes = replace(view.classes, semantics=view.semantics.repeat(1, 5) / 5**0.5)
    other = replace(view, x=view.x.repeat(1, 3) / 3**0.5, classes=classes)
    model, again = (train(ESZSL, ESZSLParams(), given)[0] for given in (view, other))
    scores, expected = again.scores(other.x, classes), model.scores(view.x, view.classes)
    assert scores.numpy() == pytest.approx(expected.numpy(), rel=1e-3, abs=1e-4 * float(expected.abs().max()))


def test_what_all_classes_share_does_not_weaken_the_default_penalty_of_eszsl() -> None:
    """However long the part that all class embeddings share: the penalty on what tells them apart stays as it is."""
    view = toy_view(seed=4)
    centred = view.semantics - view.semantics.mean(dim=0)
    beside = torch.cat([centred, torch.zeros(len(centred), 1)], dim=1)
    found = []
    for offset in (0.0, 3.0, 30.0):
        beside[:, -1] = offset
        model, _ = train(ESZSL, ESZSLParams(), replace(view, classes=replace(view.classes, semantics=beside.clone())))
        found.append(model.V[:, :-1].numpy())
    for V in found[1:]:
        assert np.allclose(V, found[0], rtol=1e-3, atol=1e-4 * float(np.abs(V).max()))


def test_closed_forms_do_not_depend_on_the_seed() -> None:
    for method, params in ((ESZSL, ESZSLParams()), (SAE, SAEParams())):
        first, second = (train(method, params, toy_view(), seed=seed)[0].state_dict() for seed in (0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first)


# from an independent calculation in float64, in percent
AWA1_BOW512 = {
    "eszsl:gamma=1,lam=1,relative=false": ("none", 33.82, 4.70, 34.14, 8.26, 9.18),
    "sae:lam=1,relative=false,direction=f2s": ("l2", 27.29, 3.98, 19.51, 6.61, 4.08),
    "sae:lam=1,relative=false,direction=s2f": ("l2", 29.70, 7.78, 21.60, 11.44, 5.04),
}


@pytest.mark.parametrize("row", AWA1_BOW512)
def test_closed_forms_on_real_features_give_the_known_figures(row: str, real_data: Path) -> None:
    scale, *expected = AWA1_BOW512[row]
    (planned,) = plan([row], ["awa1"], Request(root=real_data, features="bow512", scale=scale))
    record, _ = execute(planned.runs[0])
    found = [100 * record.metrics[metric] for metric in ("acc_uu", "acc_ut", "acc_st", "h", "ausuc")]
    assert found == pytest.approx(expected, abs=0.1)
