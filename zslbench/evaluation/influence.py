"""How much each test image moves a metric: exact derivatives, which give standard errors without a bootstrap."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Decisions
from zslbench.evaluation.accuracy import class_share

Array = NDArray[np.float64]

METRICS = ("acc_uu", "acc_ut", "acc_st", "h", "ausuc", "acc_ut_cal", "acc_st_cal", "h_cal")
"""What `influence` knows."""


class Estimate(NamedTuple):
    """A metric on some test images, and its derivative by the weight of each image, `(N,)`."""

    value: float
    influence: Array


class Strata:
    """Variance of a metric over test images drawn anew within each class, the classes fixed.

    The infinitesimal jackknife (Jaeckel, 1972; Efron, The Jackknife, the Bootstrap and Other Resampling Plans, 1982):
    a metric T with derivatives phi_i by the images' weights has Var(T) = sum_c n_c Var_c(phi), what a bootstrap
    stratified by class comes to. Var_c is the sample variance, with n_c - 1.

    Attributes:
        degrees_of_freedom: n_c - 1 of each class, `(C,)`.
    """

    def __init__(self, y: NDArray[np.int64]) -> None:
        """Takes the class of each image, `(N,)`."""
        _, self._position, self._counts = np.unique(y, return_inverse=True, return_counts=True)
        self.degrees_of_freedom = np.maximum(self._counts - 1, 1)

    def variances(self, influence: Array) -> Array:
        """Returns what each class adds to the variance, `(C,)`; their sum is the squared standard error.

        The only image of a class has no sample variance. Its influence counts from zero, not from its mean: that is
        never too small on average, since E[phi^2] >= Var(phi).
        """
        mean = np.bincount(self._position, influence) / self._counts
        mean[self._counts == 1] = 0.0
        squares = np.bincount(self._position, (influence - mean[self._position]) ** 2)
        return np.asarray(squares * self._counts / self.degrees_of_freedom)


def influence(decisions: Decisions, metric: str, gamma: float | None = None) -> Estimate:
    """Returns one of `METRICS` and the influence of each image on it.

    Args:
        decisions: of each image among all classes; for acc_uu also among unseen classes. Decisions among all classes
            hold acc_uu only if a score does not depend on the other classes asked for; where it does, the value
            differs from the run's acc_uu.
        metric: its name.
        gamma: as it was chosen for a `_cal` metric; the others ignore it.

    Raises:
        ValueError: the metric is unknown, or calibrated and gamma is missing.
    """
    if metric not in METRICS:
        raise ValueError(f"no influence is known for {metric!r}, only for {', '.join(METRICS)}")
    if metric == "acc_uu":
        return _accuracy(decisions, _credit_within(decisions, seen=False), seen=False)
    if metric == "ausuc":
        return _area(decisions)
    if metric.endswith("_cal") and gamma is None:
        raise ValueError(f"{metric} needs the gamma that was chosen for it")
    credit = decisions.credit(gamma if gamma is not None and metric.endswith("_cal") else 0.0)
    unseen, seen = (_accuracy(decisions, credit, seen=side) for side in (False, True))
    return {"acc_ut": unseen, "acc_st": seen, "h": _harmonic(unseen, seen)}[metric.removesuffix("_cal")]


def _accuracy(d: Decisions, credit: Array, *, seen: bool) -> Estimate:
    """Per-class accuracy on one side: linear in the weights, so the influence is an image's share of it."""
    side = d.seen == seen
    influence = np.zeros(len(d.y))
    influence[side] = class_share(d.y[side]) * credit[side]
    return Estimate(float(influence.sum()) if side.any() else float("nan"), influence)


def _credit_within(d: Decisions, *, seen: bool) -> Array:
    """Correctness of each image among the classes of one side, ties shared."""
    hit, ties = (d.hit_seen, d.ties_seen) if seen else (d.hit_unseen, d.ties_unseen)
    return np.asarray(hit / np.maximum(ties, 1))


def _harmonic(unseen: Estimate, seen: Estimate) -> Estimate:
    """H = 2us / (u + s) by the delta method: dH = 2 (s^2 du + u^2 ds) / (u + s)^2, taken as 0 where H has no slope."""
    u, s = unseen.value, seen.value
    total = u + s
    if total == 0:
        return Estimate(0.0, np.zeros_like(unseen.influence))
    slopes = 2 * (s / total) ** 2, 2 * (u / total) ** 2
    return Estimate(2 * u * s / total, slopes[0] * unseen.influence + slopes[1] * seen.influence)


def _area(d: Decisions) -> Estimate:
    """AUSUC as a two-sample U-statistic, as DeLong et al. (Biometrics 1988) have it for the area under a ROC curve.

    An unseen image u is right once gamma has passed its gap g_u, a seen image s until gamma reaches g_s, so

        area = sum_u sum_s a_u a_s K(g_u, g_s),    K = 1 if g_u < g_s, 1/2 if equal (the trapezoid), else 0,

    where a is the image's share of the per-class accuracy within its own side. The derivative by the weight of u is
    a_u times the S->T at its gap, that by the weight of s is a_s times the U->T at its gap.
    """
    unseen, seen = (_accuracy(d, _credit_within(d, seen=side), seen=side) for side in (False, True))
    gap = d.best_seen - d.best_unseen
    of_unseen, of_seen = gap[~d.seen], gap[d.seen]
    influence = np.empty(len(gap))
    influence[~d.seen] = unseen.influence[~d.seen] * _beyond(-of_seen, seen.influence[d.seen], -of_unseen)
    influence[d.seen] = seen.influence[d.seen] * _beyond(of_unseen, unseen.influence[~d.seen], of_seen)
    return Estimate(float(influence[~d.seen].sum()), influence)


def _beyond(places: Array, amounts: Array, at: Array) -> Array:
    """Returns the sum of the amounts placed below each of `at`, and half of those exactly there."""
    order = np.argsort(places)
    total = np.concatenate([[0.0], np.cumsum(amounts[order])])
    left, right = (np.searchsorted(places[order], at, side=side) for side in ("left", "right"))
    return np.asarray((total[left] + total[right]) / 2)
