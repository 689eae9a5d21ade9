"""Influences are the derivatives of the metrics, and give the standard error of the bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scored import Scored, scored
from toy import matrix_scorer

from zslbench.api.evaluator import Decisions, Evaluator, Scorer
from zslbench.evaluation.accuracy import draw_weights
from zslbench.evaluation.evaluators import AUSUC, Calibrated, ConventionalZSL, GeneralizedZSL
from zslbench.evaluation.influence import METRICS, Strata, influence

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
    assert set(METRICS) == reported - {"gamma"} == set(EVALUATORS)


@pytest.mark.parametrize("metric", METRICS)
@given(case=scored())
@settings(max_examples=60, deadline=None)
def test_influences_are_the_derivatives_by_the_images_weights(metric: str, case: Scored) -> None:
    value, phi = influence(case.scorer.generalized, metric, GAMMA)
    ones, steps = np.ones(len(case.y)), 1e-4 * np.eye(len(case.y))
    assert value == pytest.approx(weighted(metric, case.scorer, ones[None])[0])
    slopes = weighted(metric, case.scorer, ones + steps) - weighted(metric, case.scorer, ones - steps)
    assert phi == pytest.approx(slopes / 2e-4, abs=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_the_standard_error_is_that_of_the_bootstrap(metric: str) -> None:
    case = clumsy()
    estimate = influence(case.scorer.generalized, metric, GAMMA)
    replicates = np.concatenate([weighted(metric, case.scorer, draw_weights(case.y, 200, seed)) for seed in range(5)])
    assert Strata(case.y).variances(estimate.influence).sum() ** 0.5 == pytest.approx(replicates.std(), rel=0.08)


def test_the_standard_error_of_one_class_is_that_of_a_proportion() -> None:
    right, wrong = [0.0, 1.0], [1.0, 0.0]
    d = matrix_scorer([wrong] * 6 + [right] * 15 + [wrong] * 5, [0] * 6 + [1] * 20, [True, False]).generalized
    estimate = influence(d, "acc_ut")
    assert estimate.value == pytest.approx(0.75)
    assert Strata(d.y).variances(estimate.influence) == pytest.approx([0.0, 0.75 * 0.25 / 19])  # p (1 - p) / (n - 1)
    assert Strata(d.y).degrees_of_freedom.tolist() == [5, 19]


def test_the_only_image_of_a_class_counts_from_zero() -> None:
    strata = Strata(np.array([0, 1, 1]))
    assert strata.variances(np.array([0.3, 0.1, 0.5])) == pytest.approx([0.09, 2 * 0.08])
    assert strata.degrees_of_freedom.tolist() == [1, 1]


def test_h_moves_nowhere_where_no_image_is_right() -> None:
    d = matrix_scorer([[0.0, 1.0], [1.0, 0.0]], [0, 1], [True, False]).generalized
    estimate = influence(d, "h")
    assert estimate.value == 0 and estimate.influence.tolist() == [0.0, 0.0]


def test_images_among_unseen_classes_only_give_the_same_accuracy() -> None:
    scorer = clumsy().scorer
    among_all, among_unseen = (influence(d, "acc_uu") for d in (scorer.generalized, scorer.conventional))
    assert among_unseen.value == pytest.approx(among_all.value)
    assert among_unseen.influence.tolist() == among_all.influence[~scorer.view.seen].tolist()
    assert not among_all.influence[scorer.view.seen].any()


def test_a_side_without_images_has_no_accuracy() -> None:
    d: Decisions = clumsy().scorer.conventional
    assert np.isnan(influence(d, "acc_st").value)


def test_unknown_metrics_and_a_missing_gamma_are_refused() -> None:
    d = clumsy().scorer.generalized
    with pytest.raises(ValueError, match="acc_xx"):
        influence(d, "acc_xx")
    with pytest.raises(ValueError, match="h_cal needs the gamma"):
        influence(d, "h_cal")
