"""Per-class top-1 accuracy and its kin under image weights, and how much each image moves them: exact derivatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    return {int(c): float(credit[y == c].mean()) for c in np.unique(y)}


def harmonic_mean(a: Array, b: Array) -> Array:
    """Returns 2ab / (a + b), and 0 where both are 0."""
    total = a + b
    return np.divide(2 * a * b, total, out=np.zeros_like(total), where=total > 0)


def accuracy_influence(credit: Array, y: NDArray[np.int64], side: NDArray[np.bool_]) -> Array:
    """Returns the influences on per-class accuracy on one side, `(N,)`: it is linear, so they are shares of it.

    Args:
        credit: correctness of each image, `(N,)`.
        y: class of each image, `(N,)`.
        side: which images are on the side, `(N,)`; the others have no influence.
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
    for c in np.unique(y):
        rows = np.flatnonzero(y == c)
        drawn = random.integers(len(rows), size=(replicates, len(rows)))
        offsets = np.arange(replicates)[:, None] * len(rows)
        weights[:, rows] = np.bincount((drawn + offsets).ravel(), minlength=replicates * len(rows)).reshape(drawn.shape)
    return weights
