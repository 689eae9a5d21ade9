"""How much each test image moves a metric: exact derivatives, which give standard errors without a bootstrap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Decisions
from zslbench.evaluation.accuracy import class_share

Array = NDArray[np.float64]


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


def of_accuracy(credit: Array, y: NDArray[np.int64], side: NDArray[np.bool_]) -> Array:
    """Returns the influences on per-class accuracy on one side, `(N,)`: it is linear, so they are shares of it.

    Args:
        credit: correctness of each image, `(N,)`.
        y: class of each image, `(N,)`.
        side: which images are on the side, `(N,)`; the others have no influence.
    """
    influence = np.zeros(len(y))
    influence[side] = class_share(y[side]) * credit[side]
    return influence


def of_harmonic(unseen: Array, seen: Array) -> Array:
    """Returns the influences on H = 2us / (u + s) from those on u and s, whose sums are u and s.

    By the delta method dH = 2 (s^2 du + u^2 ds) / (u + s)^2, taken as 0 where H has no slope.
    """
    u, s = unseen.sum(), seen.sum()
    total = u + s
    if total == 0:
        return np.zeros_like(unseen)
    return np.asarray(2 * (s / total) ** 2 * unseen + 2 * (u / total) ** 2 * seen)


def of_area(d: Decisions) -> Array:
    """Returns the influences on AUSUC, `(N,)`.

    It is a two-sample U-statistic, as DeLong et al. (Biometrics 1988) have it for the area under a ROC curve. An unseen
    image u is right once gamma has passed its gap g_u, a seen image s until gamma reaches g_s, so

        area = sum_u sum_s a_u a_s K(g_u, g_s),    K = 1 if g_u < g_s, 1/2 if equal (the trapezoid), else 0,

    where a is the image's share of the per-class accuracy within its own side. The derivative by the weight of u is
    a_u times the S->T at its gap, that by the weight of s is a_s times the U->T at its gap.
    """
    u, s = ~d.seen, d.seen
    a_u = of_accuracy(d.hit_unseen / np.maximum(d.ties_unseen, 1), d.y, u)[u]
    a_s = of_accuracy(d.hit_seen / np.maximum(d.ties_seen, 1), d.y, s)[s]
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
