"""The seen-unseen curve and its area, exact (Chao et al., ECCV 2016).

As gamma, subtracted from every seen class's score, runs over the reals, an image changes sides once: where gamma
passes the gap between its best seen and its best unseen score. So the curve has one point for each interval between
distinct gaps, and no grid of gammas is needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Decisions
from zslbench.evaluation.accuracy import accuracy_influence, class_share, harmonic_mean

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SeenUnseenCurve:
    """Points of the curve from gamma = -inf to +inf; R replicates of image weights share the gammas.

    Attributes:
        gaps: distinct breakpoints of gamma, ascending, `(K,)`.
        acc_ut: U->T in each interval of gamma, `(R, K + 1)`, rising.
        acc_st: S->T in each interval, `(R, K + 1)`, falling.
    """

    gaps: Array
    acc_ut: Array
    acc_st: Array

    @property
    def area(self) -> Array:
        """AUSUC: the area under S->T over U->T by the trapezoid rule, `(R,)`."""
        widths = np.diff(self.acc_ut, axis=1)
        heights = (self.acc_st[:, 1:] + self.acc_st[:, :-1]) / 2
        return np.asarray((widths * heights).sum(axis=1))

    def best_gamma(self) -> float:
        """Returns the gamma with the highest harmonic mean on these images: the middle of its interval.

        Chosen on validation images it is a calibration; chosen on test images it is an oracle.
        """
        k = int(np.argmax(harmonic_mean(self.acc_ut[0], self.acc_st[0])))
        edges = np.concatenate([[self.gaps[0] - 2.0], self.gaps, [self.gaps[-1] + 2.0]])
        return float((edges[k] + edges[k + 1]) / 2)


def seen_unseen_curve(decisions: Decisions, weights: Array | None = None) -> SeenUnseenCurve:
    """Computes the curve from decisions among all classes; `weights` as for `per_class_accuracy`."""
    d = decisions
    weights = np.ones((1, len(d.y))) if weights is None else weights
    share = np.zeros(len(d.y))
    for side in (d.seen, ~d.seen):
        share[side] = class_share(d.y[side])
    gap = d.best_seen - d.best_unseen
    order = np.argsort(gap, kind="stable")
    last_of_gap = np.append(np.flatnonzero(np.diff(gap[order])), len(gap) - 1)

    loss = np.where(d.seen, share * d.hit_seen / np.maximum(d.ties_seen, 1), 0.0)
    gain = np.where(~d.seen, share * d.hit_unseen / np.maximum(d.ties_unseen, 1), 0.0)
    start = np.zeros((len(weights), 1))
    gained = np.cumsum(weights[:, order] * gain[order], axis=1)[:, last_of_gap]
    lost = np.cumsum(weights[:, order] * loss[order], axis=1)[:, last_of_gap]
    acc_st = lost[:, -1:] - np.concatenate([start, lost], axis=1)
    return SeenUnseenCurve(gap[order][last_of_gap], np.concatenate([start, gained], axis=1), acc_st)


def area_influence(d: Decisions) -> Array:
    """Returns the influences on AUSUC, `(N,)`.

    It is a two-sample U-statistic, as DeLong et al. (Biometrics 1988) have it for the area under a ROC curve. An unseen
    image u is right once gamma has passed its gap g_u, a seen image s until gamma reaches g_s, so

        area = sum_u sum_s a_u a_s K(g_u, g_s),    K = 1 if g_u < g_s, 1/2 if equal (the trapezoid), else 0,

    where a is the image's share of the per-class accuracy within its own side. The derivative by the weight of u is
    a_u times the S->T at its gap, that by the weight of s is a_s times the U->T at its gap.
    """
    u, s = ~d.seen, d.seen
    a_u = accuracy_influence(d.hit_unseen / np.maximum(d.ties_unseen, 1), d.y, u)[u]
    a_s = accuracy_influence(d.hit_seen / np.maximum(d.ties_seen, 1), d.y, s)[s]
    gap = d.best_seen - d.best_unseen
    influence = np.empty(len(gap))
    influence[u] = a_u * _beyond(-gap[s], a_s, -gap[u])
    influence[s] = a_s * _beyond(gap[u], a_u, gap[s])
    return influence


def _beyond(places: Array, amounts: Array, at: Array) -> Array:
    """Returns the sum of the amounts placed below each of `at`, and half of those exactly there."""
    order = np.argsort(places)
    total = np.concatenate([[0.0], np.cumsum(amounts[order])])
    left, right = (np.searchsorted(places[order], at, side=side) for side in ("left", "right"))
    return np.asarray((total[left] + total[right]) / 2)
