"""Per-class accuracy, related metrics and the seen-unseen curve under image weights, and each image's influence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Decisions

Array = NDArray[np.float64]


def per_class_accuracy(credit: Array, y: NDArray[np.int64], weights: Array) -> Array:
    """Returns the mean over classes of the accuracy in each class (Xian et al., CVPR 2017, Eq. 8).

    Args:
        credit: correctness of each image in [0, 1], `(N,)`.
        y: class of each image, `(N,)`.
        weights: how often each image counts, `(R, N)`, summing within a class to its number of images.

    Returns:
        `(R,)`; NaN where there is no image.
    """
    if len(y) == 0:
        return np.full(len(weights), np.nan)
    order = np.argsort(y, kind="stable")
    counts = np.unique(y, return_counts=True)[1]
    first_of_class = np.cumsum(counts) - counts
    correct = np.add.reduceat((weights * credit)[:, order], first_of_class, axis=1)
    return np.asarray((correct / counts).mean(axis=1))


def class_share(y: NDArray[np.int64]) -> Array:
    """Returns what one image adds to per-class accuracy: 1 / (images of its class x number of classes), `(N,)`."""
    _, position, counts = np.unique(y, return_inverse=True, return_counts=True)
    return np.asarray(1.0 / (counts[position] * len(counts)))


def accuracy_by_class(credit: Array, y: NDArray[np.int64]) -> dict[int, float]:
    """Returns the accuracy in each class that has images."""
    classes, position, counts = np.unique(y, return_inverse=True, return_counts=True)
    means = np.bincount(position, credit, len(classes)) / counts
    return {int(c): float(mean) for c, mean in zip(classes, means, strict=True)}


def harmonic_mean(a: Array, b: Array) -> Array:
    """Returns 2ab / (a + b), and 0 where both are 0."""
    total = a + b
    return np.divide(2 * a * b, total, out=np.zeros_like(total), where=total > 0)


def accuracy_influence(credit: Array, y: NDArray[np.int64], side: NDArray[np.bool_]) -> Array:
    """Returns the influences on per-class accuracy of the images on one side, `(N,)`; the others have none.

    It is linear in the weights, so they are shares of it.
    """
    influence = np.zeros(len(y))
    influence[side] = class_share(y[side]) * credit[side]
    return influence


def harmonic_influence(unseen: Array, seen: Array) -> Array:
    """Returns the influences on H = 2us / (u + s) from those on u and s, whose sums are u and s.

    By the delta method dH = 2 (s^2 du + u^2 ds) / (u + s)^2, taken as 0 where H has no slope.
    """
    u, s = unseen.sum(), seen.sum()
    total = u + s
    if total == 0:
        return np.zeros_like(unseen)
    return np.asarray(2 * (s / total) ** 2 * unseen + 2 * (u / total) ** 2 * seen)


def draw_weights(y: NDArray[np.int64], replicates: int, seed: int = 0) -> Array:
    """Draws bootstrap weights: in each class as many images as it has, with replacement; `(R, N)`."""
    random = np.random.default_rng(seed)
    weights = np.empty((replicates, len(y)))
    order, counts = np.argsort(y, kind="stable"), np.unique(y, return_counts=True)[1]
    for rows in np.split(order, np.cumsum(counts)[:-1]):
        drawn = random.integers(len(rows), size=(replicates, len(rows)))
        offsets = np.arange(replicates)[:, None] * len(rows)
        weights[:, rows] = np.bincount((drawn + offsets).ravel(), minlength=replicates * len(rows)).reshape(drawn.shape)
    return weights


@dataclass(frozen=True)
class SeenUnseenCurve:
    """The seen-unseen curve, exact (Chao et al., ECCV 2016); R replicates of image weights share the gammas.

    As gamma, subtracted from every seen class's score, runs from -inf to +inf, an image changes sides once: where gamma
    passes the gap between its best seen and its best unseen score. So the curve has one point for each interval between
    distinct gaps, and no grid of gammas is needed.

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
    influence[u] = a_u * beyond(-gap[s], a_s, -gap[u])
    influence[s] = a_s * beyond(gap[u], a_u, gap[s])
    return influence


def beyond(places: Array, amounts: Array, at: Array) -> Array:
    """Returns the sum of the amounts placed below each of `at`, and half of those exactly there."""
    order = np.argsort(places)
    total = np.concatenate([[0.0], np.cumsum(amounts[order])])
    left, right = (np.searchsorted(places[order], at, side=side) for side in ("left", "right"))
    return np.asarray((total[left] + total[right]) / 2)
