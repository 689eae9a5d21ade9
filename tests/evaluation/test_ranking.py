"""Metrics of the score of every class, against scikit-learn, scipy and loops."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import skew
from scored import Scored, scored
from sklearn.metrics import average_precision_score, top_k_accuracy_score
from toy import matrix_scorer

from zslbench.api import evaluator as interface
from zslbench.api.evaluator import Evaluator
from zslbench.errors import NeedsScores
from zslbench.evaluation import ranking
from zslbench.evaluation.accuracy import draw_weights
from zslbench.evaluation.evaluators import GeneralizedZSL
from zslbench.evaluation.ranking import AveragePrecision, CalibrationError, Hubness, TopK, average_precision
from zslbench.evaluation.scorers import StoredScorer

KINDS: list[type[Evaluator]] = [TopK, AveragePrecision, Hubness, CalibrationError]

FEW = settings(max_examples=20, deadline=None)


def many(images: int = 400, classes: int = 12, seed: int = 0) -> Scored:
    """Scores of which some tie, of images that are mostly right."""
    random = np.random.default_rng(seed)
    seen = np.arange(classes) < classes * 2 // 3
    y = np.sort(random.integers(classes, size=images))
    scores = random.normal(size=(images, classes)) + 1.5 * (y[:, None] == np.arange(classes))
    return Scored(scores.round(1), y, seen)


def over_orders(row: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """The chance of each class to be among the k highest scores, over every order of the classes."""
    orders = list(permutations(range(len(row))))
    counts = np.zeros(len(row))
    for order in orders:
        for c in sorted(order, key=lambda c: -row[c])[:k]:  # sorted() keeps the order of equals
            counts[c] += 1
    return counts / len(orders)


@FEW
@given(scored(most_classes=6, most_images=6))
def test_top_k_is_the_expectation_over_the_orders_of_ties(case: Scored) -> None:
    found = TopK().evaluate(case.scorer)
    for k in (1, 2, 5):
        right = np.array([over_orders(row, k)[y] for row, y in zip(case.scores, case.y, strict=True)])
        for task, side in (("st", case.seen[case.y]), ("ut", ~case.seen[case.y])):
            assert found[f"hit{k}_{task}"] == pytest.approx(right[side].mean(), abs=1e-6)
            if k > 1:
                expected = np.mean([right[case.y == c].mean() for c in np.unique(case.y[side])])
                assert found[f"top{k}_{task}"] == pytest.approx(expected, abs=1e-6)
    assert found["top5_uu"] == found["hit20_uu"] == 1  # there are at most five unseen classes


@pytest.mark.parametrize("k", [2, 5, 10, 20])
def test_top_k_without_ties_is_that_of_scikit_learn(k: int) -> None:
    case = many(classes=69)
    case = Scored(case.scores + np.random.default_rng(1).random(case.scores.shape) * 1e-3, case.y, case.seen)
    found, unseen = TopK().evaluate(case.scorer), np.flatnonzero(~case.seen)
    rows = np.flatnonzero(~case.seen[case.y])
    for task, some, classes in (("uu", rows, unseen), ("ut", rows, np.arange(len(case.seen)))):
        scores, y = case.scores[some][:, classes], case.y[some]
        flat = top_k_accuracy_score(y, scores, k=k, labels=classes)
        by_class = [top_k_accuracy_score(y[y == c], scores[y == c], k=k, labels=classes) for c in np.unique(y)]
        assert found[f"hit{k}_{task}"] == pytest.approx(flat)
        assert found[f"top{k}_{task}"] == pytest.approx(np.mean(by_class))


def test_hit_at_1_counts_images_where_top_1_counts_classes() -> None:
    y, seen = np.array([0, 0, 0, 1, 2]), np.array([True, True, False])
    case = Scored(np.eye(3)[[0, 0, 0, 0, 2]], y, seen)
    found = TopK().evaluate(case.scorer)
    assert found["hit1_st"] == 3 / 4 and GeneralizedZSL().evaluate(case.scorer)["acc_st"] == 1 / 2


@FEW
@given(scored())
def test_average_precision_is_that_of_scikit_learn(case: Scored) -> None:
    by_class = {c: average_precision_score(case.y == c, case.scores[:, c]) for c in np.unique(case.y)}
    found = AveragePrecision().evaluate(case.scorer)
    assert found["map"] == pytest.approx(np.mean(list(by_class.values())))
    assert found["map_seen"] == pytest.approx(np.mean([own for c, own in by_class.items() if case.seen[c]]))
    assert found["map_unseen"] == pytest.approx(np.mean([own for c, own in by_class.items() if not case.seen[c]]))


@FEW
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12))
def test_the_influence_on_average_precision_is_its_slope(ranked: list[tuple[int, bool]]) -> None:
    scores, own = np.array([s for s, _ in ranked], dtype=float), np.array([o for _, o in ranked])
    own[0] = True
    influence = average_precision(scores, own)[1]
    for image in range(len(own)):
        both = []
        for step in (1e-5, -1e-5):
            weights = np.ones(len(own))
            weights[image] += step
            value = average_precision_score(own, scores, sample_weight=weights)
            both.append(value * weights[own].sum() / own.sum())  # there, the number sought is weighted, too
        assert influence[image] == pytest.approx((both[0] - both[1]) / 2e-5, abs=1e-6)


def test_intervals_of_average_precision_are_near_those_of_a_full_bootstrap() -> None:
    case, replicates = many(images=150), 100
    weights = draw_weights(case.y, replicates, seed=1)
    evaluator = AveragePrecision()
    evaluator.evaluate(case.scorer)
    linear = evaluator.resample(case.scorer, weights)["map"]
    full = [
        np.mean([average_precision_score(case.y == c, case.scores[:, c], sample_weight=w) for c in np.unique(case.y)])
        for w in weights
    ]
    assert np.corrcoef(linear, full)[0, 1] > 0.95
    assert linear.std() == pytest.approx(np.std(full), rel=0.15)


@FEW
@given(scored(most_classes=6, most_images=8))
def test_hubness_is_the_skewness_of_occurrences(case: Scored) -> None:
    found = Hubness().evaluate(case.scorer)
    for k in (1, 5):
        occurrences = np.sum([over_orders(row, k) for row in case.scores], axis=0)
        alike = np.ptp(occurrences) < 1e-9
        assert found[f"hubness_{k}"] == pytest.approx(0.0 if alike else skew(occurrences), abs=1e-6)


@FEW
@given(scored(most_images=30))
def test_calibration_error_is_that_of_a_loop_over_bins(case: Scored) -> None:
    found, probabilities, credit = CalibrationError().evaluate(case.scorer), softmax(case.scores, axis=1), []
    for row, y in zip(case.scores, case.y, strict=True):
        credit.append((row[y] == row.max()) / (row == row.max()).sum())
    sides = {"ece": np.ones(len(case.y), dtype=bool), "ece_seen": case.seen[case.y], "ece_unseen": ~case.seen[case.y]}
    for name, side in sides.items():
        error = 0.0
        for lower in range(15):
            own = [i for i in np.flatnonzero(side) if lower / 15 < probabilities[i].max() <= (lower + 1) / 15]
            if own:
                gap = np.mean([credit[i] for i in own]) - np.mean([probabilities[i].max() for i in own])
                error += len(own) / side.sum() * abs(gap)
        assert found[name] == pytest.approx(error, abs=1e-9)


@pytest.mark.parametrize("kind", [TopK, CalibrationError])
def test_a_bootstrap_replicate_is_the_metric_of_the_images_drawn(kind: Callable[[], Evaluator]) -> None:
    case = many(images=120)
    weights, evaluator = draw_weights(case.y, 3), kind()
    evaluator.evaluate(case.scorer)
    resampled = evaluator.resample(case.scorer, weights)
    for replicate, counts in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(len(case.y)), counts)
        other = kind().evaluate(Scored(case.scores[drawn], case.y[drawn], case.seen).scorer)
        assert {name: values[replicate] for name, values in resampled.items()} == pytest.approx(other, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_gives_the_metrics_without_the_model_and_nothing_else_does(kind: type[Evaluator]) -> None:
    case, evaluator = many(), kind()
    values = evaluator.evaluate(case.scorer)
    stored = StoredScorer(case.scorer.view, case.scorer.generalized)
    with pytest.raises(NeedsScores):
        kind().evaluate(stored)
    kept = dict(evaluator.arrays(case.scorer))
    assert kind().recomputed(stored, {}, kept) == pytest.approx(values, abs=1e-6)
    assert all(array.size <= max(2 * len(case.y), 24) for array in kept.values())  # not images x classes


def test_scores_are_never_all_in_memory_and_parts_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    case = many()
    whole = [kind().evaluate(case.scorer) for kind in KINDS]
    largest = 0

    class Watched(type(case.scorer)):  # type: ignore[misc]
        def scores(self, rows, classes):  # type: ignore[no-untyped-def]
            nonlocal largest
            found = super().scores(rows, classes)
            largest = max(largest, found.numel())
            return found

    monkeypatch.setattr(interface, "SCORES_AT_ONCE", 70)
    monkeypatch.setattr(ranking, "COLUMNS_AT_ONCE", 3 * len(case.y))  # three classes at a time
    watched = Watched(matrix_scorer(*case).matrix, case.scorer.view)
    for kind, values in zip(KINDS, whole, strict=True):
        assert kind().evaluate(watched) == pytest.approx(values, abs=1e-6)
    assert 0 < largest <= 70
