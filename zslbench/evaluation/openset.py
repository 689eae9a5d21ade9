"""Evaluators on request that follow from decisions: seen against unseen images, and seen among seen classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Decisions, Metric, Scorer
from zslbench.evaluation.accuracy import (
    accuracy_influence,
    beyond,
    harmonic_influence,
    harmonic_mean,
    per_class_accuracy,
)
from zslbench.evaluation.evaluators import Stored, Values, WeightedEvaluator

Array = NDArray[np.float64]
TPR = 0.95
"""The share of seen images that must be recognised as seen, where false positives are counted."""
TOLD_BY = "an image is taken for seen by its best seen minus its best unseen score; every image counts once"


class OpenSet(WeightedEvaluator):
    """How well the scores tell images of seen classes, the known ones, from images of unseen classes.

    The score is best seen minus best unseen, the gamma at which an image changes sides; a positive is an image of a
    seen class. Every image counts once, as in the literature on open sets, not every class.

    - `auroc`: area under the ROC curve. It is the chance that an image of a seen class has a higher score than one of
      an unseen class; equal scores count half (Hanley & McNeil, Radiology 1982).
    - `fpr95`: share of the images of unseen classes that are taken for seen at the highest threshold that at least 95 %
      of the images of seen classes reach (Liang et al., ICLR 2018; of seen against unseen: Atzmon & Chechik, CVPR
      2019).
    - `oscr`: area under the curve of the correct classification rate, images of seen classes that reach the threshold
      and are right among seen classes, over the false positive rate, images of unseen classes that reach it (Dhamija
      et al., NeurIPS 2018, Eq. 4 and 5; there the score is the largest probability of a known class). It is at most
      `auroc`, and equal where every image of a seen class is right. Where the true class ties with k - 1 other seen
      ones, the image counts 1/k.
    """

    metrics: ClassVar = (
        Metric("auroc", "AUROC", shown=False, note=TOLD_BY),
        Metric("fpr95", "FPR95", higher_is_better=False, shown=False, note=TOLD_BY),
        Metric("oscr", "OSCR", shown=False, note=TOLD_BY),
    )
    on_request: ClassVar = True

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns auroc, fpr95 and oscr."""
        d = scorer.generalized
        gap = d.best_seen - d.best_unseen
        known, correct, unknown = _shares(d)
        order = np.argsort(gap, kind="stable")
        first = np.flatnonzero(np.diff(gap[order], prepend=-np.inf) > 0)

        def by_gap(share: Array) -> Array:
            return np.asarray(np.add.reduceat((weights * share)[:, order], first, axis=1))

        known_at, correct_at, unknown_at = map(by_gap, (known, correct, unknown))
        below = np.cumsum(unknown_at, axis=1) - unknown_at / 2
        reached = np.cumsum(known_at[:, ::-1], axis=1)[:, ::-1]
        threshold = (reached >= TPR * reached[:, :1] - 1e-9).sum(axis=1) - 1  # the highest that enough images reach
        taken = np.cumsum(unknown_at[:, ::-1], axis=1)[:, ::-1]
        return {
            "auroc": (known_at * below).sum(axis=1),
            "fpr95": np.take_along_axis(taken, threshold[:, None], axis=1)[:, 0],
            "oscr": (correct_at * below).sum(axis=1),
        }

    def influence(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Mapping[str, Array]:
        """Returns those on auroc and oscr (DeLong et al., Biometrics 1988); fpr95 has no slope."""
        d = scorer.generalized
        known, correct, unknown = _shares(d)
        return {"auroc": _pair_influence(d, known, unknown), "oscr": _pair_influence(d, correct, unknown)}


def _shares(d: Decisions) -> tuple[Array, Array, Array]:
    """Returns the share of each image in the known ones, in those that are right among seen classes, and in others."""
    known, unknown = d.seen / max(1, d.seen.sum()), ~d.seen / max(1, (~d.seen).sum())
    return known, known * d.hit_seen / np.maximum(d.ties_seen, 1), unknown


def _pair_influence(d: Decisions, a: Array, b: Array) -> Array:
    """Returns the derivative of sum_i sum_j a_i b_j K(g_i, g_j) by the weights, K = 1 if g_i > g_j, 1/2 if equal."""
    gap = d.best_seen - d.best_unseen
    influence = np.empty(len(gap))
    influence[d.seen] = a[d.seen] * beyond(gap[~d.seen], b[~d.seen], gap[d.seen])
    influence[~d.seen] = b[~d.seen] * beyond(-gap[d.seen], a[d.seen], -gap[~d.seen])
    return influence


class BaseToNew(WeightedEvaluator):
    """S->S, and its harmonic mean with U->U: how the prompt-learning literature reports base and new classes.

    S->S is the accuracy of images of seen (base) classes among seen classes alone; U->U, the metric of `zsl`, that of
    images of unseen (new) classes among unseen classes alone (Zhou et al., Conditional Prompt Learning for
    Vision-Language Models, CVPR 2022). Accuracies are per class here, as all of this harness; that paper counts every
    image once, which differs where classes have different numbers of images. Nothing has to tell seen from unseen, so
    neither compares with S->T, U->T and H.

    S->S is decided by the scores among all classes, without the unseen ones; a method whose scores of seen classes
    depend on the unseen ones beside them is not asked again.
    """

    metrics: ClassVar = (
        Metric("acc_ss", "S->S", shown=False),
        Metric("h_base_new", "H base-new", shown=False, note="of S->S and U->U"),
    )
    on_request: ClassVar = True

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns acc_ss and h_base_new."""
        d, alone, seen = scorer.generalized, scorer.conventional, scorer.view.seen
        base = per_class_accuracy(_among_seen(d)[seen], d.y[seen], weights[:, seen])
        new = per_class_accuracy(alone.credit(), alone.y, weights[:, ~seen])
        return {"acc_ss": base, "h_base_new": harmonic_mean(new, base)}

    def influence(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Mapping[str, Array]:
        """Returns those on acc_ss and h_base_new."""
        d, seen = scorer.generalized, scorer.view.seen
        credit = _among_seen(d)
        credit[~seen] = scorer.conventional.credit()
        base, new = (accuracy_influence(credit, d.y, side) for side in (seen, ~seen))
        return {"acc_ss": base, "h_base_new": harmonic_influence(new, base)}


def _among_seen(d: Decisions) -> Array:
    """Returns each image's correctness among seen classes, `(N,)`; 1/k where the true class ties with k - 1 others."""
    return np.asarray(d.hit_seen / np.maximum(d.ties_seen, 1), dtype=np.float64)
