"""AUSUC is exact, does not depend on any order, and its best gamma is the best there is."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scored import Scored, scored
from toy import matrix_scorer

from zslbench.evaluation.accuracy import draw_weights, seen_unseen_curve
from zslbench.evaluation.evaluators import AUSUC, Calibrated, GeneralizedZSL

Points = list[tuple[float, float]]


def brute_force(scores: NDArray[np.float64], y: NDArray[np.int64], seen: NDArray[np.bool_]) -> Points:
    """(U->T, S->T) at one gamma between any two breakpoints: argmax over all classes, per-class accuracies."""
    gaps = sorted({max(row[seen]) - max(row[~seen]) for row in scores})
    gammas = [gaps[0] - 1, *[(a + b) / 2 for a, b in pairwise(gaps)], gaps[-1] + 1]
    points = []
    for gamma in gammas:
        calibrated = scores - gamma * seen
        sides = []
        for side in (False, True):
            accuracies = []
            for c in np.flatnonzero(seen == side):
                credits = []
                for row in calibrated[y == c]:
                    best = np.flatnonzero(row == row.max())
                    credits.append(1 / len(best) if c in best else 0.0)
                if credits:
                    accuracies.append(sum(credits) / len(credits))
            sides.append(sum(accuracies) / len(accuracies))
        points.append((sides[0], sides[1]))
    return points


def trapezoid(points: Points) -> float:
    area = 0.0
    for (left, high), (right, low) in pairwise(points):
        area += (right - left) * (high + low) / 2
    return area


def ausuc(case: Scored) -> float:
    return AUSUC().evaluate(case.scorer)["ausuc"]


def h(point: tuple[float, float]) -> float:
    return 2 * point[0] * point[1] / sum(point) if sum(point) else 0.0


@given(scored())
@settings(max_examples=300, deadline=None)
def test_the_curve_is_brute_force_over_every_breakpoint(case: Scored) -> None:
    points = brute_force(*case)
    curve = seen_unseen_curve(case.scorer.generalized)
    assert curve.acc_ut.shape == curve.acc_st.shape == (1, len(points))  # one point per distinct breakpoint, and one
    assert curve.acc_ut[0] == pytest.approx([ut for ut, _ in points])
    assert curve.acc_st[0] == pytest.approx([st_ for _, st_ in points])
    assert ausuc(case) == pytest.approx(trapezoid(points))


def test_brute_force_agrees_on_real_valued_scores_too() -> None:
    random = np.random.default_rng(0)
    y, seen = np.sort(random.integers(9, size=120)), np.arange(9) < 6
    scores = random.normal(size=(120, 9)) + 1.5 * np.eye(9)[y]
    case = Scored(scores, y, seen)
    assert ausuc(case) == pytest.approx(trapezoid(brute_force(*case)), abs=1e-12)


def test_the_area_of_three_points_by_hand() -> None:
    # gaps: 1 for the seen image, -1 and 3 for the unseen ones, which are right once gamma passes their gap
    scores = [[2.0, 1.0], [1.0, 2.0], [3.0, 0.0]]
    curve = seen_unseen_curve(matrix_scorer(scores, [0, 1, 1], [True, False]).generalized)
    assert curve.gaps.tolist() == [-1.0, 1.0, 3.0]
    assert curve.acc_ut.tolist() == [[0.0, 0.5, 0.5, 1.0]]
    assert curve.acc_st.tolist() == [[1.0, 1.0, 0.0, 0.0]]
    assert curve.area.tolist() == [0.5]


@given(scored())
@settings(deadline=None)
def test_the_curve_rises_for_unseen_and_falls_for_seen_images(case: Scored) -> None:
    curve = seen_unseen_curve(case.scorer.generalized)
    assert (np.diff(curve.gaps) > 0).all()
    assert (np.diff(curve.acc_ut) >= 0).all() and (np.diff(curve.acc_st) <= 1e-12).all()
    assert curve.acc_ut[0, 0] == 0 and curve.acc_st[0, -1] == pytest.approx(0)


@given(scored())
@settings(deadline=None)
def test_the_ends_of_the_curve_are_the_two_conventional_problems(case: Scored) -> None:
    curve = seen_unseen_curve(case.scorer.generalized)
    unseen_only = brute_force(case.scores - 100.0 * case.seen, case.y, case.seen)
    seen_only = brute_force(case.scores + 100.0 * case.seen, case.y, case.seen)
    assert curve.acc_ut[0, -1] == pytest.approx(unseen_only[-1][0])
    assert curve.acc_st[0, 0] == pytest.approx(seen_only[0][1])


@given(scored(), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_the_order_of_images_and_classes_does_not_matter(case: Scored, seed: int) -> None:
    random = np.random.default_rng(seed)
    is_seen = case.seen[case.y]
    rows = np.concatenate([random.permutation(np.flatnonzero(is_seen)), random.permutation(np.flatnonzero(~is_seen))])
    order = random.permutation(len(case.seen))
    place = np.argsort(order)
    shuffled = Scored(case.scores[rows][:, order], place[case.y[rows]], case.seen[order])
    assert ausuc(shuffled) == pytest.approx(ausuc(case), abs=1e-12)
    plain, mixed = (GeneralizedZSL().evaluate(c.scorer) for c in (case, shuffled))
    assert mixed == pytest.approx(plain, abs=1e-12)


@given(scored(), st.integers(-5, 5), st.integers(1, 3))
@settings(deadline=None)
def test_shifting_seen_scores_or_scaling_all_leaves_the_area(case: Scored, shift: int, factor: int) -> None:
    moved = case._replace(scores=factor * (case.scores + shift * case.seen))
    assert ausuc(moved) == pytest.approx(ausuc(case), abs=1e-12)


@given(scored())
@settings(deadline=None)
def test_weights_are_the_same_as_images_that_occur_more_than_once(case: Scored) -> None:
    drawn = draw_weights(case.y, 3)
    areas = seen_unseen_curve(case.scorer.generalized, drawn).area
    for area, counts in zip(areas, drawn.astype(int), strict=True):
        rows = np.repeat(np.arange(len(case.y)), counts)
        assert area == pytest.approx(trapezoid(brute_force(case.scores[rows], case.y[rows], case.seen)), abs=1e-12)


@given(scored())
@settings(deadline=None)
def test_the_calibrated_gamma_gives_the_highest_h_on_the_images_it_was_chosen_on(case: Scored) -> None:
    calibrated = Calibrated()
    calibrated.prepare(case.scorer)
    metrics = calibrated.evaluate(case.scorer)
    best = max(h(point) for point in brute_force(*case))
    assert metrics["h_cal"] == pytest.approx(best)
    assert metrics["h_cal"] == pytest.approx(h((metrics["acc_ut_cal"], metrics["acc_st_cal"])))


def test_the_calibrated_gamma_comes_from_validation_not_from_the_images_evaluated() -> None:
    seen = [True, False]
    validation = matrix_scorer([[12.0, 0.0], [10.0, 0.0]], [0, 1], seen)  # both right between 10 and 12
    test = matrix_scorer([[9.0, 1.0], [2.0, 1.0]], [0, 1], seen)  # both right between 1 and 8
    calibrated = Calibrated()
    calibrated.prepare(validation)
    assert calibrated.evaluate(validation)["h_cal"] == 1.0
    assert calibrated.evaluate(test) == {"acc_ut_cal": 1.0, "acc_st_cal": 0.0, "h_cal": 0.0, "gamma": 11.0}


def test_calibration_without_validation_is_refused() -> None:
    with pytest.raises(ValueError, match="prepare"):
        Calibrated().evaluate(matrix_scorer([[1.0, 0.0], [0.0, 1.0]], [0, 1], [True, False]))
