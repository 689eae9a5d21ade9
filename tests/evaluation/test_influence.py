"""Influences are the derivatives of the metrics, and give the standard error of the bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scored import Scored, scored
from toy import matrix_scorer

from zslbench.api.evaluator import Evaluator, Scorer
from zslbench.evaluation.accuracy import draw_weights
from zslbench.evaluation.evaluators import AUSUC, Calibrated, ConventionalZSL, GeneralizedZSL
from zslbench.evaluation.scorers import StoredScorer
from zslbench.evaluation.significance import Strata

GAMMA = 0.5


def calibrated() -> Evaluator:
    """An evaluator whose gamma is `GAMMA`, the middle of the only interval in which both its images are right."""
    evaluator = Calibrated()
    evaluator.prepare(matrix_scorer([[1.0, 0.0], [0.0, 0.0]], [0, 1], [True, False]))
    return evaluator


EVALUATORS: dict[str, Callable[[], Evaluator]] = {
    **dict.fromkeys(("acc_ut", "acc_st", "h"), GeneralizedZSL),
    **dict.fromkeys(("acc_ut_cal", "acc_st_cal", "h_cal"), calibrated),
    "acc_uu": ConventionalZSL,
    "ausuc": AUSUC,
}


def influence(metric: str, scorer: Scorer) -> NDArray[np.float64]:
    """The influences as a new evaluator finds them in what is stored of a run."""
    live = EVALUATORS[metric]()
    stored = StoredScorer(scorer.view, scorer.generalized)
    return np.asarray(type(live)().influence(stored, live.evaluate(scorer), {})[metric])


def weighted(metric: str, scorer: Scorer, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The metric as its evaluator computes it under image weights, `(R,)`."""
    return np.asarray(EVALUATORS[metric]().resample(scorer, weights)[metric])


def clumsy(images: int = 30, seed: int = 0) -> Scored:
    """Four seen and three unseen classes of at least `images` images; integer scores, so that a fifth of all tie."""
    random = np.random.default_rng(seed)
    seen = np.arange(7) < 4
    y = np.repeat(np.arange(7), images + 5 * np.arange(7))
    scores = random.integers(0, 5, size=(len(y), 7)).astype(float)
    scores[np.arange(len(y)), y] += random.integers(0, 4, size=len(y))
    return Scored(scores, y, seen)


def test_every_built_in_metric_but_gamma_has_an_influence() -> None:
    reported = {metric.name for kind in (ConventionalZSL, GeneralizedZSL, AUSUC, Calibrated) for metric in kind.metrics}
    assert reported - {"gamma"} == set(EVALUATORS)
    scorer = clumsy().scorer
    known = [kind().influence(scorer, {"gamma": GAMMA}, {}) for kind in dict.fromkeys(EVALUATORS.values())]
    assert {name for found in known for name in found} == set(EVALUATORS)


@pytest.mark.parametrize("metric", EVALUATORS)
@given(case=scored())
@settings(max_examples=60, deadline=None)
def test_influences_are_the_derivatives_by_the_images_weights(metric: str, case: Scored) -> None:
    ones, steps = np.ones(len(case.y)), 1e-4 * np.eye(len(case.y))
    slopes = weighted(metric, case.scorer, ones + steps) - weighted(metric, case.scorer, ones - steps)
    assert influence(metric, case.scorer) == pytest.approx(slopes / 2e-4, abs=1e-6)


@pytest.mark.parametrize("metric", ["acc_uu", "acc_ut", "acc_st"])
@given(case=scored())
@settings(max_examples=20, deadline=None)
def test_influences_on_a_mean_are_shares_of_it(metric: str, case: Scored) -> None:
    assert influence(metric, case.scorer).sum() == pytest.approx(EVALUATORS[metric]().evaluate(case.scorer)[metric])


@pytest.mark.parametrize("metric", EVALUATORS)
def test_the_standard_error_is_that_of_the_bootstrap(metric: str) -> None:
    case = clumsy()
    replicates = np.concatenate([weighted(metric, case.scorer, draw_weights(case.y, 200, seed)) for seed in range(5)])
    found = Strata(case.y).variances(influence(metric, case.scorer)).sum() ** 0.5
    assert found == pytest.approx(replicates.std(), rel=0.08)


def test_the_standard_error_of_one_class_is_that_of_a_proportion() -> None:
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    scorer = matrix_scorer([wrong] * 6 + [right] * 15 + [wrong] * 5, [0] * 6 + [1] * 20, [True, False])
    found, strata = influence("acc_ut", scorer), Strata(scorer.view.y)
    assert found.sum() == pytest.approx(0.75)
    assert strata.variances(found) == pytest.approx([0.0, 0.75 * 0.25 / 19])  # p (1 - p) / (n - 1)
    assert strata.degrees_of_freedom.tolist() == [5, 19]


def test_the_only_image_of_a_class_counts_from_zero() -> None:
    strata = Strata(np.array([0, 1, 1]))
    assert strata.variances(np.array([0.3, 0.1, 0.5])) == pytest.approx([0.09, 2 * 0.08])
    assert strata.degrees_of_freedom.tolist() == [1, 1]


def test_h_moves_nowhere_where_no_image_is_right() -> None:
    scorer = matrix_scorer([[0.0, 1.0], [1.0, 0.0]], [0, 1], [True, False])
    assert influence("h", scorer).tolist() == [0.0, 0.0]


def test_images_of_seen_classes_do_not_move_accuracy_among_unseen_classes() -> None:
    scorer = clumsy().scorer
    assert not influence("acc_uu", scorer)[scorer.view.seen].any()
