"""Evaluators on request that look at the score of every class: top-k, average precision, hubness, calibration error.

Each keeps arrays from which its metrics follow, so that they can be checked, resampled and compared without the model.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from zslbench.api.evaluator import Evaluator, Metric, Scorer
from zslbench.evaluation.accuracy import accuracy_influence, per_class_accuracy
from zslbench.evaluation.evaluators import Stored, Values, WeightedEvaluator

Array = NDArray[np.float64]
PLACES = 1, 2, 5, 10, 20
"""The k of top-k accuracy."""
NEIGHBOURS = 1, 5
"""The k of k-occurrences."""
BINS = 15
"""Of confidences, as in Guo et al."""
COLUMNS_AT_ONCE = 2**25
"""Scores of whole classes held in memory at a time, to rank images by them: 128 MB."""


class KeepingEvaluator(WeightedEvaluator):
    """A weighted evaluator that looks at the scores once, and keeps arrays that all its metrics follow from."""

    on_request: ClassVar = True

    def __init__(self) -> None:
        self._kept: Stored = {}

    @abstractmethod
    def look(self, scorer: Scorer) -> Stored:
        """Returns the arrays to keep."""

    @abstractmethod
    def influences(self, scorer: Scorer) -> Mapping[str, Array]:
        """Returns what `influence` does, from the arrays that were kept."""

    def evaluate(self, scorer: Scorer) -> Values:
        """Returns the metrics, from one look at every score."""
        self._kept = self.look(scorer)
        return super().evaluate(scorer)

    def arrays(self, scorer: Scorer) -> Stored:
        """Returns what `look` did."""
        return self._kept

    def recomputed(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Values:
        """Returns the metrics from the arrays that were kept."""
        self._kept = arrays
        return super().evaluate(scorer)

    def influence(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Mapping[str, Array]:
        """Returns how much each test image moves the metrics."""
        self._kept = arrays
        return self.influences(scorer)


TASKS = {"uu": "U->U", "ut": "U->T", "st": "S->T"}


class Among(NamedTuple):
    """How often the true class is among the k best: the mean over classes, or over images; and in which task."""

    per_class: bool
    k: int
    task: str


AMONG = {
    f"{'top' if per_class else 'hit'}{k}_{task}": Among(per_class, k, task)
    for per_class in (True, False)
    for k in PLACES
    for task in TASKS
    if not (per_class and k == 1)  # other evaluators measure that
}
"""What `TopK` measures, by the name of the metric."""


class TopK(KeepingEvaluator):
    """Top-k accuracy: how often the true class is among the k with the highest scores, for k of 1, 2, 5, 10 and 20.

    `top5_uu` is the mean over classes among unseen classes alone, `top5_ut` and `top5_st` among all, as Xian et al.
    (TPAMI 2018, Sec. 5) report it. `hit5_uu` and so on count every image once: flat hit@k, the measure of the ImageNet
    splits (Frome et al., NIPS 2013; Norouzi et al., ICLR 2014). Top-1 per class is what the evaluators of every run
    measure, so there is `hit1` alone.

    If the true class ties with others, it is the expectation over their orders: with b classes before it and t that
    share its score, min(max((k - b) / t, 0), 1).
    """

    version = 2
    metrics: ClassVar = tuple(
        Metric(name, f"{'top-' if own.per_class else 'hit@'}{own.k} {TASKS[own.task]}", shown=False)
        for name, own in AMONG.items()
    )

    def look(self, scorer: Scorer) -> Stored:
        """Returns how many classes lie before each image's own, and how many share its score; see `Scorer.ranks`."""
        return scorer.ranks()

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns the metrics."""
        y, found = scorer.view.y, {}
        for name, credit, images in self._credits(scorer):
            if AMONG[name].per_class:
                found[name] = per_class_accuracy(credit[images], y[images], weights[:, images])
            else:
                found[name] = weights[:, images] @ credit[images] / images.sum()
        return found

    def influences(self, scorer: Scorer) -> Mapping[str, Array]:
        """Returns each image's share."""
        y = scorer.view.y
        return {
            name: accuracy_influence(credit, y, images) if AMONG[name].per_class else credit * images / images.sum()
            for name, credit, images in self._credits(scorer)
        }

    def _credits(self, scorer: Scorer) -> Iterator[tuple[str, Array, NDArray[np.bool_]]]:
        """Yields each metric, the correctness of all images in it, and the images that it is about."""
        seen = scorer.view.seen
        for name, own in AMONG.items():
            images, kind = (seen if own.task == "st" else ~seen), "unseen" if own.task == "uu" else "all"
            if f"before_{kind}" in self._kept and images.any():
                credit = np.zeros(len(seen))
                credit[images if kind == "unseen" else slice(None)] = self._credit(kind, own.k)
                yield name, credit, images

    def _credit(self, kind: str, k: int) -> Array:
        before, alike = (self._kept[f"{name}_{kind}"].astype(np.int64) for name in ("before", "alike"))
        return np.asarray(np.clip((k - before) / alike, 0, 1))


class Hubness(Evaluator):
    """Skewness of the k-occurrence N_k, the number of test images among whose k nearest classes a class is.

    It is E[(N_k - mean)^3] / std^3 over all classes, seen and unseen (Radovanovic et al., JMLR 2010, Sec. 2), where
    nearest means highest score (in zero-shot learning: Shigeto et al., ECML 2015, with k = 1 and 10). A high value says
    that some classes are hubs, chosen for very many images. Of classes that tie for the last of the k places, each
    counts its share. Where all classes occur alike, it is 0.
    """

    metrics: ClassVar = tuple(
        Metric(f"hubness_{k}", f"hubness N{k}", percent=False, higher_is_better=False, shown=False) for k in NEIGHBOURS
    )
    on_request: ClassVar = True

    def __init__(self) -> None:
        self._occurrences: dict[str, Array] = {}

    def evaluate(self, scorer: Scorer) -> Values:
        """Returns the metrics, from one look at every score."""
        self._occurrences = {name: np.zeros(len(scorer.view.classes)) for name in map(str, NEIGHBOURS)}
        for _, scores in scorer.parts():
            for k in NEIGHBOURS:
                self._occurrences[str(k)] += _occurrences(scores, k)
        return self.recomputed(scorer, {}, self._occurrences)

    def arrays(self, scorer: Scorer) -> Stored:
        """Returns the k-occurrences of the classes by k, `(C,)` each."""
        return self._occurrences

    def recomputed(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Values:
        """Returns the metrics from the k-occurrences."""
        return {f"hubness_{k}": _skewness(arrays[str(k)]) for k in NEIGHBOURS}


def _occurrences(scores: torch.Tensor, k: int) -> Array:
    """Returns among the k highest scores of how many images each class is, `(C,)`; ties for the last place share it."""
    if k >= scores.shape[1]:
        return np.full(scores.shape[1], float(len(scores)))
    last = scores.topk(k, dim=1).values[:, -1:]
    before, alike = scores > last, scores == last
    share = (k - before.sum(dim=1)) / alike.sum(dim=1, dtype=torch.float64)
    return np.asarray(before.sum(dim=0).double().numpy() + (alike.T.double() @ share).numpy())


def _skewness(values: NDArray[Any]) -> float:
    centred = values - values.mean()
    deviation = float(np.sqrt((centred**2).mean()))
    return float((centred**3).mean()) / deviation**3 if deviation > 1e-9 * max(1.0, np.abs(values).max()) else 0.0


class AveragePrecision(KeepingEvaluator):
    """Mean over classes of the average precision: each class ranks all test images by its score, and seeks its own.

    The average precision of a class is the sum over its images of the precision at that image's score, divided by their
    number: the area below its precision-recall curve as a step function, without interpolation. Images of equal score
    are one step, as in scikit-learn's `average_precision_score`. `map` is the mean over all classes with test images
    (Everingham et al., IJCV 2010, define it so for PASCAL VOC, with interpolation), `map_unseen` over unseen ones and
    `map_seen` over seen ones.

    Intervals are those of a bootstrap of the metric's linear part, the influences of images: resampled in full it would
    need every score again for every replicate.
    """

    metrics: ClassVar = (
        Metric("map", "mAP", shown=False),
        Metric("map_unseen", "mAP unseen", shown=False),
        Metric("map_seen", "mAP seen", shown=False),
    )

    def look(self, scorer: Scorer) -> Stored:
        """Returns `precision`, that of each class, NaN where it has no images, `(C,)`, and `influence_unseen`, `_seen`.

        The influences, `(N,)`, are those on the sum over unseen and over seen classes.
        """
        y, is_seen = scorer.view.y, scorer.view.classes.seen.cpu().numpy()
        precision, influence = np.full(len(is_seen), np.nan), np.zeros((2, len(y)))
        tested = np.unique(y)
        step = max(1, COLUMNS_AT_ONCE // max(1, len(y)))
        for start in range(0, len(tested), step):  # one pass over the scores unless there are very many
            some = tested[start : start + step]
            columns = np.empty((len(some), len(y)), dtype=np.float32)
            for span, scores in scorer.parts():  # a class's score may depend on the classes beside it
                columns[:, span] = scores[:, torch.from_numpy(some)].T.numpy()
            for c, column in zip(some, columns, strict=True):
                precision[c], own = average_precision(column, y == c)
                influence[int(is_seen[c])] += own
        return {"precision": precision, "influence_unseen": influence[0], "influence_seen": influence[1]}

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns the metrics, linear in the weights."""
        precision, is_seen = self._kept["precision"], scorer.view.classes.seen.cpu().numpy()
        sides = {"map": np.ones_like(is_seen), "map_unseen": ~is_seen, "map_seen": is_seen}
        influences = self.influences(scorer)
        return {
            name: float(np.nanmean(precision[side])) + (weights - 1) @ influences[name] for name, side in sides.items()
        }

    def influences(self, scorer: Scorer) -> Mapping[str, Array]:
        """Returns the derivatives of the metrics by the weights of images."""
        tested = np.isfinite(self._kept["precision"])
        is_seen = scorer.view.classes.seen.cpu().numpy()
        unseen, seen = self._kept["influence_unseen"], self._kept["influence_seen"]
        return {
            "map": (unseen + seen) / tested.sum(),
            "map_unseen": unseen / (tested & ~is_seen).sum(),
            "map_seen": seen / (tested & is_seen).sum(),
        }


def average_precision(scores: NDArray[np.floating[Any]], own: NDArray[np.bool_]) -> tuple[float, Array]:
    """Returns the average precision of a ranking, and its derivative by the weight of each image, `(N,)`.

    Args:
        scores: of the images, `(N,)`; equal ones are one step of the ranking.
        own: which images are sought, `(N,)`, at least one. Their number is fixed, as where each class is resampled.
    """
    values, step = np.unique(-scores, return_inverse=True)
    own_at, all_at = (np.bincount(step, which, len(values)) for which in (own, None))
    own_so_far, all_so_far = np.cumsum(own_at), np.cumsum(all_at)
    precision, share = own_so_far / all_so_far, own_at / own.sum()
    own_gain, loss = (np.cumsum((share * part)[::-1])[::-1] for part in (1 / all_so_far, precision / all_so_far))
    influence = own * (precision / own.sum() + own_gain)[step] - loss[step]
    return float((share * precision).sum()), influence


class CalibrationError(KeepingEvaluator):
    """Expected calibration error: how far confidence is from accuracy (Guo et al., ICML 2017, Eq. 2 and 3).

    Confidence is the largest of the softmax over all classes of the scores as the method gives them, temperature 1, so
    it depends on their scale: cosines say little in a softmax without a temperature. Images fall into 15 bins of equal
    width, (0, 1/15], (1/15, 2/15] and so on; the error is the sum over bins of the share of images in it times
    |accuracy - confidence|. Every image counts once. `ece_unseen` and `ece_seen` are of images of unseen and of seen
    classes alone. Ties count as in top-1: 1/k where the true class is one of k.
    """

    metrics: ClassVar = tuple(
        Metric(name, title, higher_is_better=False, shown=False, note="of the softmax of the scores as they are")
        for name, title in (("ece", "ECE"), ("ece_unseen", "ECE unseen"), ("ece_seen", "ECE seen"))
    )

    def look(self, scorer: Scorer) -> Stored:
        """Returns `confidence` in its decision, `(N,)`."""
        confidence = np.empty(len(scorer.view))
        for span, scores in scorer.parts():
            confidence[span] = torch.softmax(scores.double(), dim=1).amax(dim=1).numpy()
        return {"confidence": confidence}

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns the metrics."""
        return {name: np.abs(self._gaps(scorer, side, weights)[0]).sum(axis=1) for name, side in _sides(scorer)}

    def influences(self, scorer: Scorer) -> Mapping[str, Array]:
        """Returns each image's share: its confidence's excess over its correctness, or the reverse, as its bin says."""
        found, ones = {}, np.ones((1, len(scorer.view)))
        for name, side in _sides(scorer):
            gaps, bins, excess = self._gaps(scorer, side, ones)
            found[name] = np.zeros(len(scorer.view))
            found[name][side] = np.sign(gaps[0])[bins] * excess
        return found

    def _gaps(self, scorer: Scorer, side: NDArray[np.bool_], weights: Array) -> tuple[Array, NDArray[np.int64], Array]:
        """Returns accuracy minus confidence of each bin times its share, `(R, BINS)`; the bin and excess of images."""
        confidence = self._kept["confidence"][side]
        bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
        excess = (scorer.generalized.credit()[side] - confidence) / max(1, side.sum())
        return (weights[:, side] * excess) @ np.eye(BINS)[bins], bins, excess


def _sides(scorer: Scorer) -> list[tuple[str, NDArray[np.bool_]]]:
    seen = scorer.view.seen
    return [("ece", np.ones_like(seen)), ("ece_unseen", ~seen), ("ece_seen", seen)]
