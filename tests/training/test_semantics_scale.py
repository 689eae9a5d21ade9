"""Scaling of class embeddings against NumPy, fitted on the seen classes of the training part and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from planned import entrant_of, execute
from toy import toy_data

from zslbench.api.cards import Scaling, Setting
from zslbench.api.dataset import Fold, ZSLData
from zslbench.data.scaling import SemanticsScaler
from zslbench.errors import DataError
from zslbench.runs.problem import Problem
from zslbench.runs.resolve import method_class


def shown(data: ZSLData, kind: Any, setting: Setting = "inductive", fold: Fold = None) -> Problem:
    return Problem.of(data, setting, Scaling(semantics_scale=kind), fold)


def everything(problem: Problem) -> np.ndarray:
    """All class embeddings as a method is shown them, seen classes first."""
    return problem.semantics(problem.test.classes).semantics.numpy()


def similarities(seen: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Inner products of whitened rows, from the inverse of the covariance alone: no axes, and no decomposition."""
    seen, every = seen.astype(np.float64), every.astype(np.float64)
    covariance = np.cov(seen.T, bias=True)
    inverse = np.linalg.pinv(covariance, rcond=1e-9, hermitian=True)
    centred = every - seen.mean(axis=0)
    return (
        centred @ inverse @ centred.T / np.linalg.matrix_rank(covariance, tol=1e-9 * covariance.max(), hermitian=True)
    )


def moved(data: ZSLData) -> ZSLData:
    """The same class embeddings, turned and shifted, and mirrored."""
    random = np.random.default_rng(3)
    turn = np.linalg.qr(random.normal(size=(data.semantics.shape[1],) * 2))[0]
    return replace(data, semantics=(data.semantics @ turn + random.normal(size=len(turn))).astype(np.float32))


@pytest.mark.parametrize("sizes", [(12, 5), (7, 5), (5, 9)], ids=["tall", "square", "more attributes than classes"])
@pytest.mark.parametrize("fold", [None, 0])
def test_whitened_embeddings_are_what_the_covariance_of_the_seen_classes_says(sizes: Any, fold: Fold) -> None:
    data = toy_data(seen=sizes[0], attributes=sizes[1])
    problem, split = shown(data, "whiten", fold=fold), data.split_for(fold)
    found = everything(problem)
    seen, every = data.semantics[split.seen], data.semantics[np.concatenate([split.seen, split.unseen])]
    assert found @ found.T == pytest.approx(similarities(seen, every), rel=1e-3, abs=1e-4)
    of_seen = found[: len(seen)].astype(np.float64)
    size = min(len(seen) - 1, sizes[1])
    assert problem.train.shape.attributes == found.shape[1] == size
    assert np.cov(of_seen.T, bias=True) == pytest.approx(np.eye(size) / size, abs=1e-5)
    assert of_seen.mean(axis=0) == pytest.approx(np.zeros(size), abs=1e-6)
    assert np.square(of_seen).sum(axis=1).mean() == pytest.approx(1, abs=1e-5)
    assert problem.train.semantics.numpy() == pytest.approx(of_seen, abs=1e-6)


def test_columns_that_repeat_others_are_dropped() -> None:
    data = toy_data()
    wide = replace(data, semantics=np.hstack([data.semantics, data.semantics[:, ::-1] * 2]))
    narrow = everything(shown(data, "whiten"))
    assert everything(shown(wide, "whiten")).shape == narrow.shape == (10, 5)


def test_turned_and_shifted_embeddings_are_the_same_once_they_are_whitened() -> None:
    data = toy_data()
    one, other = everything(shown(data, "whiten")), everything(shown(moved(data), "whiten"))
    assert other @ other.T == pytest.approx(one @ one.T, rel=1e-3, abs=1e-4)
    assert data.semantics @ data.semantics.T != pytest.approx(moved(data).semantics @ moved(data).semantics.T, abs=0.1)


@pytest.mark.parametrize("kind", ["l2", "whiten"])
@pytest.mark.parametrize("setting", ["inductive", "semantic-transductive"])
@pytest.mark.parametrize("fold", [None, 1])
def test_unseen_embeddings_change_nothing_but_themselves(kind: str, setting: Setting, fold: Fold) -> None:
    data = toy_data()
    split, changed = data.split_for(fold), data.semantics.copy()
    others = np.setdiff1d(np.arange(len(changed)), split.seen)
    changed[others] += 5 * np.random.default_rng(0).random((len(others), changed.shape[1]), dtype=np.float32)
    one, other = (shown(own, kind, setting, fold) for own in (data, replace(data, semantics=changed)))
    count = len(split.seen)
    assert torch.equal(one.train.semantics[:count], other.train.semantics[:count])
    assert np.array_equal(everything(one)[:count], everything(other)[:count])
    assert not np.isclose(everything(one)[count:], everything(other)[count:]).all(axis=1).any()
    assert len(one.train.semantics) == (count if setting == "inductive" else len(everything(one)))


def test_l2_divides_each_row_by_its_norm_and_none_changes_nothing() -> None:
    data = replace(toy_data(), semantics=toy_data().semantics * np.arange(1, 11, dtype=np.float32)[:, None])
    order = np.concatenate([data.split.seen, data.split.unseen])
    unit = data.semantics / np.linalg.norm(data.semantics, axis=1, keepdims=True)
    assert everything(shown(data, "l2")) == pytest.approx(unit[order], abs=1e-6)
    assert np.array_equal(everything(shown(data, "none")), data.semantics[order])


@pytest.mark.parametrize("kind", ["l2", "whiten"])
def test_evaluators_see_the_embeddings_of_the_data_set(kind: str) -> None:
    data = replace(toy_data(), semantics=toy_data().semantics * 3)
    problem = shown(data, kind)
    scorer = problem.scorer(method_class("eszsl")(method_class("eszsl").params_type()), torch.device("cpu"))
    assert torch.equal(scorer.view.classes.semantics, data.test_view().classes.semantics)


def test_seen_classes_that_are_all_alike_cannot_be_whitened() -> None:
    with pytest.raises(DataError, match=r"^the seen classes have one and the same class embedding; leave out"):
        SemanticsScaler.fit("whiten", torch.tensor([[0.1, 0.7]]).expand(7, 2))


def test_a_run_is_that_on_data_whose_class_embeddings_were_whitened_by_hand() -> None:
    data = toy_data(noise=0.5)
    s = data.semantics.astype(np.float64)
    values, axes = np.linalg.eigh(np.cov(s[data.split.seen].T, bias=True))
    by_hand = (s - s[data.split.seen].mean(axis=0)) @ axes / np.sqrt(values * len(values))
    method, how = method_class("eszsl"), {"calibrated": False}
    runs = [
        entrant_of(method, own, "eszsl", {}, semantics_scale=kind).run(0, **how)
        for own, kind in (
            (data, "whiten"),
            (replace(data, semantics=by_hand.astype(np.float32), attributes=False), "none"),
            (data, "none"),
        )
    ]
    found, expected, raw = (execute(run)[0].metrics for run in runs)
    assert runs[0].spec.semantics_scale == "whiten" and runs[0].id != runs[2].id
    assert found == pytest.approx(expected, abs=1e-6) and found["ausuc"] != pytest.approx(raw["ausuc"], abs=1e-3)
