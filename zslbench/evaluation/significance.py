"""Which rows of a table really differ: tests over test images and seeds, Holm's correction, a compact letter display.

Two rows A and B are means over their seeds on the same test images. Their difference has the variance

    V = sum_c V_c + V_A + V_B,

V_c is the variance from the images of class c, computed from the difference of both rows' influences (so images are
paired; see `Strata`). V_A and V_B are each row's sample variance over seeds divided by the number of seeds, 0 for one
seed. Then t = (A - B) / sqrt(V) has approximately Student's distribution with the degrees of freedom of Satterthwaite
(1946) and Welch (1947), V^2 / sum_k (V_k^2 / df_k).

- Seeds are not paired. Rows under the same seed share hardly any randomness. Pairing would leave n - 1 in place of
  2(n - 1) degrees of freedom, too few for the small p that many comparisons need. In simulated tables of 14 equal rows
  of 3 seeds, where seeds cause most of the spread, pairing finds differences in 6 tables of 10, this test in 1. If rows
  do rise and fall together over seeds, this test is too conservative, never too liberal.
- Variance that depends on image and seed together counts in both V_c and V_A, which is conservative too.
- One seed says nothing about seeds. That is right for a closed form; for a trained method the standard error is a lower
  bound. Two seeds say very little: with 14 equal rows of two seeds, up to 4 tables of 10 show differences. Use three or
  more.
- The choice of gamma or parameters on validation classes is not resampled; the seeds cover the part that they vary.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from string import ascii_lowercase
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

Array = NDArray[np.float64]

ROUNDING = 1e-12
"""Differences and standard errors below it are none: metrics are fractions."""


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


class Estimate(NamedTuple):
    """A metric on some test images, and its derivative by the weight of each image, `(N,)`."""

    value: float
    influence: Array


@dataclass(frozen=True)
class Difference:
    """Two rows compared: by how much the better one leads, and how surprising that is if they are equal.

    Attributes:
        p: two-sided, of this pair alone.
        corrected: p by Holm's correction for all pairs of the table.
    """

    better: str
    worse: str
    difference: float
    standard_error: float
    degrees_of_freedom: float
    p: float
    corrected: float

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Returns the ends of the confidence interval of the difference, of this pair alone: what p goes with."""
        if self.standard_error == 0:
            return self.difference, self.difference
        half = self.standard_error * float(stdtrit(self.degrees_of_freedom, (1 + confidence) / 2))
        return self.difference - half, self.difference + half


@dataclass(frozen=True)
class Comparison:
    """All pairs of rows in one metric.

    Attributes:
        differences: every pair, in the order of the ranks of its rows.
        letters: for each row, best first; rows that share a letter are not told apart at `alpha`.
    """

    differences: tuple[Difference, ...]
    letters: dict[str, str]
    alpha: float


def compare_rows(
    rows: Mapping[str, Sequence[Estimate]], y: NDArray[np.int64], alpha: float = 0.05, *, higher_is_better: bool = True
) -> Comparison:
    """Tests every pair of rows in one metric; the module says how.

    Args:
        rows: at least one estimate for each, one a seed, all on the same test images in the same order.
        y: class of each image, `(N,)`.
        alpha: the chance allowed of telling any equal rows apart.
        higher_is_better: whether the row with the highest value is the best, not that with the lowest.

    Raises:
        ValueError: an estimate is not over these images.
    """
    for label, estimates in rows.items():
        if any(estimate.influence.shape != y.shape for estimate in estimates):
            raise ValueError(f"{label}: its influences are not those of the {len(y)} test images")
    strata = Strata(y)
    sign = 1.0 if higher_is_better else -1.0
    values = {label: sign * np.array([e.value for e in estimates]) for label, estimates in rows.items()}
    influences = {label: np.mean([e.influence for e in estimates], axis=0) for label, estimates in rows.items()}
    ranked = sorted(rows, key=lambda label: -values[label].mean())
    tests = []
    for a, b in combinations(ranked, 2):
        images = strata.variances(influences[a] - influences[b])
        parts = np.concatenate([images, [_seed_variance(values[a]), _seed_variance(values[b])]])
        freedom = np.concatenate([strata.degrees_of_freedom, [max(len(values[x]) - 1, 1) for x in (a, b)]])
        tests.append(_t_test(float(values[a].mean() - values[b].mean()), parts, freedom))
    corrected = holm(np.array([p for *_, p in tests]))
    differences = tuple(
        Difference(a, b, *test, float(p))
        for (a, b), test, p in zip(combinations(ranked, 2), tests, corrected, strict=True)
    )
    different = {(pair.better, pair.worse) for pair in differences if pair.corrected < alpha}
    return Comparison(differences, letters(ranked, different), alpha)


def _seed_variance(values: Array) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0


def _t_test(difference: float, parts: Array, freedom: Array) -> tuple[float, float, float, float]:
    """Returns difference, standard error, degrees of freedom and p, from independent parts of the variance."""
    variance = float(parts.sum())
    error = variance**0.5
    if error < ROUNDING:
        return difference, 0.0, float("inf"), 1.0 if abs(difference) < ROUNDING else 0.0
    df = variance**2 / float((parts**2 / freedom).sum())
    return difference, error, df, float(2 * stdtr(df, -abs(difference) / error))


def holm(p: Array) -> Array:
    """Returns p-values corrected for their number, strict in the family-wise error (Holm, Scand. J. Statist. 1979).

    The i-th smallest of m counts m - i + 1 times, and never less than those below it: reject what is under alpha.
    """
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def letters(ranked: Sequence[str], different: Collection[tuple[str, str]]) -> dict[str, str]:
    """Returns letters for rows such that two share one if and only if they are not different; `a` for the first.

    A compact letter display (Piepho, J. Comput. Graph. Statist. 2004): each letter is a clique in the graph of rows
    that are not different, and the cliques cover its edges. Cliques are grown from edges not covered yet, and those
    that others make superfluous are dropped (Gramm et al., Comput. Statist. Data Anal. 2007), because listing all
    maximal cliques may take exponentially long. After `z` come `a1`, `b1`, .... `ranked` are the rows, best first, and
    `different` pairs of them that are told apart, in this order.
    """
    told_apart = {frozenset(pair) for pair in different}
    cliques: list[set[str]] = []
    for pair in combinations_with_replacement(ranked, 2):
        if frozenset(pair) in told_apart or _covered(pair, cliques):
            continue
        clique = set(pair)
        for row in ranked:
            if all(frozenset((row, member)) not in told_apart for member in clique):
                clique.add(row)
        cliques.append(clique)
    for clique in cliques[::-1]:
        others = [other for other in cliques if other is not clique]
        if all(_covered(pair, others) for pair in combinations_with_replacement(clique, 2)):
            cliques = others
    cliques.sort(key=lambda clique: sorted(ranked.index(row) for row in clique))
    names = [f"{ascii_lowercase[i % 26]}{i // 26 or ''}" for i in range(len(cliques))]
    return {row: "".join(n for n, clique in zip(names, cliques, strict=True) if row in clique) for row in ranked}


def _covered(pair: tuple[str, str], cliques: Sequence[Collection[str]]) -> bool:
    return any(pair[0] in clique and pair[1] in clique for clique in cliques)
