"""Scores reduced to decisions: ties, chunks, scores that are no numbers."""

from __future__ import annotations

from itertools import permutations
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scored import Scored, scored
from toy import matrix_scorer

from zslbench.api import evaluator
from zslbench.errors import RunError
from zslbench.evaluation.evaluators import ConventionalZSL, GeneralizedZSL
from zslbench.evaluation.scorers import MatrixScorer


def expected_credit(row: NDArray[np.float64], y: int, orders: list[tuple[int, ...]]) -> float:
    """How often the first of the best classes is the true one, over all orders of the classes."""
    return float(np.mean([max(order, key=lambda c: row[c]) == y for order in orders]))  # max() keeps the first


@given(scored(most_classes=5, most_images=8), st.integers(-3, 3))
@settings(max_examples=60, deadline=None)
def test_a_tie_counts_as_the_average_over_all_orders_of_the_classes(case: Scored, gamma: int) -> None:
    orders = list(permutations(range(len(case.seen))))
    calibrated = case.scores - gamma * case.seen
    expected = [expected_credit(row, y, orders) for row, y in zip(calibrated, case.y, strict=True)]
    assert case.scorer.generalized.credit(gamma) == pytest.approx(expected)


@given(scored(most_classes=5, most_images=8))
@settings(max_examples=60, deadline=None)
def test_unseen_images_among_unseen_classes_alone_count_likewise(case: Scored) -> None:
    unseen = np.flatnonzero(~case.seen)
    orders = list(permutations(range(len(unseen))))
    rows = np.flatnonzero(~case.seen[case.y])
    expected = [expected_credit(case.scores[i, unseen], int(case.y[i]) - unseen[0], orders) for i in rows]
    decisions = case.scorer.conventional
    assert decisions.credit() == pytest.approx(expected)
    assert (decisions.y == case.y[rows]).all()


def test_constant_scores_give_chance() -> None:
    y = np.array([0, 0, 1, 2, 3, 4, 4])
    scorer = matrix_scorer(np.full((7, 5), 0.3), y, [True, True, True, False, False])
    assert ConventionalZSL().evaluate(scorer)["acc_uu"] == pytest.approx(1 / 2)
    metrics = GeneralizedZSL().evaluate(scorer)
    assert metrics == pytest.approx({"acc_ut": 1 / 5, "acc_st": 1 / 5, "h": 1 / 5})


@given(scored(), st.integers(-3, 3))
@settings(deadline=None)
def test_the_choice_is_one_of_the_best_classes(case: Scored, gamma: int) -> None:
    calibrated = case.scores - gamma * case.seen
    choice = case.scorer.generalized.choice(gamma)
    assert (calibrated[np.arange(len(choice)), choice] == calibrated.max(axis=1)).all()


def test_a_tie_between_a_seen_and_an_unseen_class_goes_to_the_seen_one() -> None:
    scorer = matrix_scorer([[1.0, 2.0, 2.0]], [0], [True, True, False])
    assert scorer.generalized.choice().tolist() == [1]


def test_credit_without_ties_is_whether_the_choice_is_right() -> None:
    random = np.random.default_rng(1)
    y = np.sort(random.integers(7, size=60))
    scorer = matrix_scorer(random.normal(size=(60, 7)), y, np.arange(7) < 4)
    for gamma in (-0.5, 0.0, 0.7):
        decisions = scorer.generalized
        assert (decisions.credit(gamma) == (decisions.choice(gamma) == y)).all()


class CountingScorer(MatrixScorer):
    """Remembers how many scores it was asked for at a time."""

    def scores(self, rows: slice, classes: NDArray[np.int64]) -> torch.Tensor:
        part = super().scores(rows, classes)
        self.sizes = [*getattr(self, "sizes", []), part.numel()]
        return part


@pytest.mark.parametrize("at_once", [1, 20, 64])
def test_scores_come_in_chunks_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    random = np.random.default_rng(2)
    y, seen = np.sort(random.integers(10, size=50)), np.arange(10) < 6
    whole = matrix_scorer(random.integers(4, size=(50, 10)).astype(float), y, seen)
    expected = {task: getattr(whole, task).arrays() for task in ("generalized", "conventional")}

    monkeypatch.setattr(evaluator, "SCORES_AT_ONCE", at_once)
    chunked = CountingScorer(whole.matrix, whole.view)
    for task, arrays in expected.items():
        for name, array in getattr(chunked, task).arrays().items():
            assert np.array_equal(array, arrays[name]), (task, name)
    assert max(chunked.sizes) <= max(at_once, 10)  # never less than one image
    assert len(chunked.sizes) > 2


def test_memory_is_bounded_by_default_too() -> None:
    assert evaluator.SCORES_AT_ONCE * 8 < 2**28  # bytes of float64


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_end_the_run(bad: float) -> None:
    scores = np.zeros((4, 3))
    scores[2, 1] = bad
    with pytest.raises(RunError, match="NaN or infinite"):
        _ = matrix_scorer(scores, [0, 0, 1, 2], [True, True, False]).generalized


class Dependent(MatrixScorer):
    """Scores that are computed for one side alone, too, as a model's are whose classes look at each other."""

    independent = False


@given(scored(), st.randoms(use_true_random=False), st.sampled_from([1, 2, 5, 2**22]))
@settings(deadline=None)
def test_ranks_are_those_of_a_loop_whatever_the_order_of_the_classes_and_the_size_of_parts(
    case: Scored, random: Random, at_once: int
) -> None:
    """Sides that do not lie beside each other among them, and scores that are computed once or for each side."""
    order = np.array(random.sample(range(len(case.seen)), len(case.seen)))
    scores, seen, y = case.scores[:, order], case.seen[order], np.argsort(order)[case.y]
    own = np.array([row[c] for row, c in zip(scores, y, strict=True)])
    unseen = ~seen[y]
    expected = {
        "before_all": [sum(row > best) for row, best in zip(scores, own, strict=True)],
        "alike_all": [sum(row == best) for row, best in zip(scores, own, strict=True)],
        "before_unseen": [sum(row[~seen] > best) for row, best in zip(scores[unseen], own[unseen], strict=True)],
        "alike_unseen": [sum(row[~seen] == best) for row, best in zip(scores[unseen], own[unseen], strict=True)],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluator, "SCORES_AT_ONCE", at_once)
        for kind in (MatrixScorer, Dependent):
            scorer = kind(scores, matrix_scorer(scores, y, seen).view)
            assert {name: found.tolist() for name, found in scorer.ranks().items()} == expected
            assert scorer.conventional.credit() == pytest.approx(case.scorer.conventional.credit())
            assert scorer.generalized.credit() == pytest.approx(case.scorer.generalized.credit())


def test_scores_that_depend_on_no_other_class_are_computed_once_for_both_sides() -> None:
    random = np.random.default_rng(3)
    view = matrix_scorer(np.zeros((8, 5)), np.arange(8) // 2, np.arange(5) < 2).view
    counted = {}
    for independent in (True, False):
        scorer = CountingScorer(random.normal(size=(8, 5)), view)
        scorer.independent = independent
        scorer.ranks()
        counted[independent] = sum(scorer.sizes)
    assert counted == {True: 8 * 5, False: 8 * 5 + 4 * 3}


@pytest.mark.parametrize("kind", [MatrixScorer, Dependent])
def test_where_there_is_no_unseen_class_there_are_ranks_among_all(kind: type[MatrixScorer]) -> None:
    scorer = kind(np.array([[2.0, 1.0], [1.0, 3.0]]), matrix_scorer(np.zeros((2, 2)), [0, 0], [True, True]).view)
    found = scorer.ranks()
    assert found["before_all"].tolist() == [0, 1] and found["alike_all"].tolist() == [1, 1]
    assert not any(len(own) for name, own in found.items() if name.endswith("_unseen"))
