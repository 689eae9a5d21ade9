"""The evaluator `probe`: how much an embedding keeps of attributes in which seen classes hardly differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Metric, Scorer
from zslbench.errors import NotApplicable
from zslbench.evaluation.evaluators import WeightedEvaluator

LOSABLE = 0.5
"""An attribute is losable if its deviation over seen classes is below this share of that over unseen classes."""
VARYING = 1e-5
"""Deviations over unseen classes below this share of the largest value are rounding."""
PENALTIES = tuple(10.0 ** np.arange(-5, 3.5, 0.5))
"""Of the ridge, in units of the mean square of the inputs times their number."""
FEWEST = 4
"""Images of unseen classes without which there are no two halves."""

Array = NDArray[np.float64]
READ_OUT = "share of the attributes' variance over images of unseen classes that a linear read-out recovers"


class Probe(WeightedEvaluator):
    """How well a ridge regression reads attributes of unseen classes from E(x), and from the features x themselves.

    It is fitted on one half of the test images of unseen classes and tested on the other, and the other way round. So
    it measures what information is there, which no training of the method and no choice of anything may look at.
    Every image has the attributes of its class. The losable ones, which hardly differ between seen classes and do
    between unseen ones, are what a classifier of seen classes may discard (Chen et al., CVPR 2018, Fig. 1); the kept
    ones are all others that unseen classes differ in. A value is R^2, the mean over attributes: 1 is perfect, 0 no
    better than their mean, and what the other attributes tell of them is in it.
    """

    metrics: ClassVar = (
        Metric("probe_lost", "losable R2 of E(x)", percent=False, shown=False, note=READ_OUT),
        Metric("probe_kept", "other R2 of E(x)", percent=False, shown=False, note=READ_OUT),
        Metric("probe_lost_x", "losable R2 of x", percent=False, shown=False, note=READ_OUT),
        Metric("probe_kept_x", "other R2 of x", percent=False, shown=False, note=READ_OUT),
    )
    needs_images: ClassVar = True  # on features alone it would cost more than many methods take to train

    def __init__(self) -> None:
        self._errors: dict[str, Array] = {}

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        """Returns the metrics.

        Raises:
            NotApplicable: no attribute is losable, or all are; there are too few images, or no embeddings.
        """
        losable, other = attributes_by_kind(scorer)
        rows = np.flatnonzero(~scorer.view.seen)
        if len(rows) < FEWEST:
            raise NotApplicable(f"{len(rows)} images of unseen classes are too few to fit a read-out on half of them")
        x, embedded = (part.cpu().double().numpy() for part in scorer.embeddings(slice(rows[0], rows[-1] + 1)))
        targets = scorer.view.classes.semantics.cpu().double().numpy()[scorer.view.y[rows]]
        second = _second_half(scorer.view.y[rows], scorer.view.images[rows])
        self._errors = {}
        for inputs, suffix in ((embedded, ""), (x, "_x")):
            squares = _errors(inputs, targets[:, losable | other], second)
            is_losable = losable[losable | other]
            for name, own in (("probe_lost", is_losable), ("probe_kept", ~is_losable)):
                errors = np.zeros(len(scorer.view))
                errors[rows] = squares[:, own].mean(axis=1)
                self._errors[name + suffix] = errors
        return super().evaluate(scorer)

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns the metrics for each row of weights; the read-outs stay as they were fitted."""
        own = ~scorer.view.seen
        total = weights[:, own].sum(axis=1)
        return {name: 1 - weights[:, own] @ errors[own] / total for name, errors in self._errors.items()}

    def recomputed(
        self, scorer: Scorer, metrics: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, float]:
        """Returns the metrics by the stored errors."""
        self._errors = {metric.name: arrays[metric.name].astype(np.float64) for metric in self.metrics}
        return super().evaluate(scorer)

    def arrays(self, scorer: Scorer) -> Mapping[str, NDArray[Any]]:
        """Returns by metric each test image's squared error in units of the attributes' variance, `(N,)` float32."""
        return {name: errors.astype(np.float32) for name, errors in self._errors.items()}


def attributes_by_kind(scorer: Scorer) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Returns which attributes are losable, and which others differ between unseen classes, `(A,)` each.

    Raises:
        NotApplicable: there are none of one kind.
    """
    classes = scorer.view.classes
    semantics, seen = classes.semantics.cpu().double().numpy(), classes.seen.cpu().numpy()
    over_seen, over_unseen = semantics[seen].std(axis=0), semantics[~seen].std(axis=0)
    varying = over_unseen > VARYING * np.abs(semantics).max(initial=0)
    losable = varying & (over_seen < LOSABLE * over_unseen)
    if not losable.any():
        raise NotApplicable("no attribute differs between unseen classes and hardly between seen ones")
    if losable.sum() == varying.sum():
        raise NotApplicable("every attribute that unseen classes differ in hardly differs between seen ones")
    return losable, varying & ~losable


def _second_half(y: NDArray[np.int64], images: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns every other image of each class, in the order of the data set."""
    second = np.zeros(len(y), dtype=bool)
    for c in np.unique(y):
        own = np.flatnonzero(y == c)
        second[own[np.argsort(images[own])][1::2]] = True
    return second


def _errors(inputs: Array, targets: Array, second: NDArray[np.bool_]) -> Array:
    """Returns squared errors of targets `(n, a)` in units of their variances, each image read out by the other half."""
    errors = np.empty_like(targets)
    for half in (second, ~second):
        errors[half] = (targets[half] - ridge(inputs[~half], targets[~half], inputs[half])) ** 2
    scaled: Array = errors / targets.var(axis=0)
    return scaled


def ridge(inputs: Array, targets: Array, new: Array) -> Array:
    """Returns what ridge regression on `(n, D)` and `(n, a)` says of new inputs, `(m, a)`.

    Inputs are standardised; the penalty has the least leave-one-out error, which is exact for ridge regression
    (Golub, Heath and Wahba: Generalized cross-validation as a method for choosing a good ridge parameter. 1979).
    """
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    scale[scale <= VARYING * np.abs(inputs).max(initial=0)] = 1.0
    middle = targets.mean(axis=0)
    u, s, v = np.linalg.svd((inputs - centre) / scale, full_matrices=False)
    projected = u.T @ (targets - middle)
    best, chosen = np.inf, np.zeros_like(s)
    for penalty in PENALTIES:
        shrunk = s / (s**2 + penalty * max(float((s**2).sum()), 1e-12) / len(inputs))
        leverage = 1 / len(inputs) + (u**2 * (s * shrunk)).sum(axis=1)
        left = targets - middle - u @ (projected * (s * shrunk)[:, None])
        error = float(((left / np.maximum(1 - leverage, 1e-9)[:, None]) ** 2).sum())
        if error < best:
            best, chosen = error, shrunk
    predicted: Array = middle + ((new - centre) / scale) @ (v.T @ (projected * chosen[:, None]))
    return predicted
