"""Metrics of open sets and of base and new classes, against scikit-learn and against loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from scored import Scored, scored
from sklearn.metrics import roc_auc_score, roc_curve

from zslbench.evaluation.accuracy import draw_weights
from zslbench.evaluation.evaluators import ConventionalZSL
from zslbench.evaluation.openset import BaseToNew, OpenSet
from zslbench.evaluation.scorers import StoredScorer

FEW = settings(max_examples=20, deadline=None)


def gaps(case: Scored) -> NDArray[np.float64]:
    """Best seen minus best unseen score of each image."""
    return np.asarray(case.scores[:, case.seen].max(axis=1) - case.scores[:, ~case.seen].max(axis=1))


def right_among_seen(case: Scored) -> list[float]:
    """The chance that each image is right among seen classes, if ties are broken at random."""
    result = []
    for row, y in zip(case.scores, case.y, strict=True):
        best = [c for c in np.flatnonzero(case.seen) if row[c] == row[case.seen].max()]
        result.append(1 / len(best) if y in best else 0.0)
    return result


@FEW
@given(scored())
def test_auroc_and_fpr95_are_those_of_scikit_learn(case: Scored) -> None:
    found, known = OpenSet().evaluate(case.scorer), case.seen[case.y]
    assert found["auroc"] == pytest.approx(roc_auc_score(known, gaps(case)))
    fpr, tpr, _ = roc_curve(known, gaps(case), drop_intermediate=False)
    assert found["fpr95"] == pytest.approx(fpr[np.argmax(tpr >= 0.95)])


@FEW
@given(scored())
def test_oscr_is_the_area_below_its_curve_threshold_by_threshold(case: Scored) -> None:
    gap, known, right = gaps(case), case.seen[case.y], right_among_seen(case)
    points = [(0.0, 0.0)]
    for threshold in sorted(set(gap.tolist()), reverse=True):
        correct = sum(credit for credit, g, k in zip(right, gap, known, strict=True) if k and g >= threshold)
        false = sum(1 for g, k in zip(gap, known, strict=True) if not k and g >= threshold)
        points.append((false / (~known).sum(), correct / known.sum()))
    area = sum((x2 - x1) * (y1 + y2) / 2 for (x1, y1), (x2, y2) in pairwise(points))
    found = OpenSet().evaluate(case.scorer)
    assert found["oscr"] == pytest.approx(area)
    assert found["oscr"] <= found["auroc"] + 1e-12


@FEW
@given(scored())
def test_base_to_new_are_the_accuracies_among_their_own_classes(case: Scored) -> None:
    right, seen = np.array(right_among_seen(case)), case.seen[case.y]
    base = np.mean([right[case.y == c].mean() for c in np.unique(case.y[seen])])
    new = ConventionalZSL().evaluate(case.scorer)["acc_uu"]
    found = BaseToNew().evaluate(case.scorer)
    assert found["acc_ss"] == pytest.approx(base)
    assert found["h_base_new"] == pytest.approx(2 * base * new / (base + new) if base + new else 0.0)


@FEW
@given(scored())
def test_a_bootstrap_replicate_is_the_metric_of_the_images_drawn(case: Scored) -> None:
    weights = draw_weights(case.y, 3)
    resampled = OpenSet().resample(case.scorer, weights)
    for replicate, counts in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(len(case.y)), counts)
        other = OpenSet().evaluate(Scored(case.scores[drawn], case.y[drawn], case.seen).scorer)
        assert {name: values[replicate] for name, values in resampled.items()} == pytest.approx(other)


@FEW
@given(scored(most_images=20))
def test_influences_come_from_stored_decisions_and_shares_sum_to_the_metric(case: Scored) -> None:
    stored = StoredScorer(case.scorer.view, case.scorer.generalized)
    found, values = OpenSet().influence(stored, {}, {}), OpenSet().evaluate(case.scorer)
    for name in ("auroc", "oscr"):  # linear in the weights of one side at a time
        for side in (case.seen[case.y], ~case.seen[case.y]):
            assert found[name][side].sum() == pytest.approx(values[name], abs=1e-12)
    assert BaseToNew().influence(stored, {}, {})["acc_ss"].sum() == pytest.approx(
        BaseToNew().evaluate(case.scorer)["acc_ss"], abs=1e-12
    )
