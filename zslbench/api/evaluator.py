"""The evaluator interface, and what evaluators receive: a `Scorer` over the test images, reduced to `Decisions`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api.embedder import Embedder
from zslbench.api.metric import Metric as Metric
from zslbench.api.views import TestView
from zslbench.errors import NotApplicable, RunError

Reduce = Callable[[Tensor, NDArray[np.int64], NDArray[np.int64]], Mapping[str, NDArray[Any]]]
"""What makes of scores `(n, C)`, true classes and the classes of the columns some numbers for each image, by name."""
SCORES_AT_ONCE = 2**22
"""Scores held in memory at a time, so that memory does not grow with images x classes."""


@dataclass(frozen=True)
class Decisions:
    """Each test image's best seen and best unseen class.

    Every metric of (generalized) zero-shot recognition follows from these, at any calibration gamma. All `(N,)`.

    Attributes:
        y: true class, a position in the class set.
        seen: whether the true class is seen.
        best_seen, best_unseen: highest score among seen, unseen classes (-inf where there are none), float64.
        ties_seen, ties_unseen: how many classes share that score.
        hit_seen, hit_unseen: whether the true class is one of them.
        choice_seen, choice_unseen: the first of them, for confusion matrices (-1 where there are none).
    """

    y: NDArray[np.int64]
    seen: NDArray[np.bool_]
    best_seen: NDArray[np.float64]
    best_unseen: NDArray[np.float64]
    ties_seen: NDArray[np.int64]
    ties_unseen: NDArray[np.int64]
    hit_seen: NDArray[np.bool_]
    hit_unseen: NDArray[np.bool_]
    choice_seen: NDArray[np.int64]
    choice_unseen: NDArray[np.int64]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Decisions:
        """Returns the decisions among the arrays stored beside a record."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def credit(self, gamma: float = 0.0) -> NDArray[np.float64]:
        """Returns each image's correctness when gamma is subtracted from seen scores, `(N,)`.

        It is 1 or 0. If the true class ties with k - 1 others it is 1/k, the expectation over their orders.
        """
        ahead = self.best_seen - gamma - self.best_unseen
        seen = self.hit_seen / np.maximum(self.ties_seen, 1)
        unseen = self.hit_unseen / np.maximum(self.ties_unseen, 1)
        either = (self.hit_seen | self.hit_unseen) / np.maximum(self.ties_seen + self.ties_unseen, 1)
        return np.where(ahead > 0, seen, np.where(ahead < 0, unseen, either))

    def choice(self, gamma: float = 0.0) -> NDArray[np.int64]:
        """Returns the class chosen for each image; the seen class wins a tie between sides."""
        return np.where(self.best_seen - gamma >= self.best_unseen, self.choice_seen, self.choice_unseen)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Returns all arrays by name, for storage."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Scorer(ABC):
    """Scores of one view's test images, computed in chunks; each chunk is reduced at once, where it was computed."""

    embedder: Embedder[Any] | None = None
    """The trained model, for evaluators that look deeper than scores; None for scores made elsewhere."""
    independent: bool = False
    """Whether no score depends on which other classes are scored with it, as is so with dot products."""

    def __init__(self, view: TestView) -> None:
        self.view = view

    def reconstruct(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns the centre crops of some test images, and their reconstructions, both `(n, 3, H, W)` in [0, 1].

        Raises `NotApplicable` if the input is not images, or the method makes none.
        """
        raise NotApplicable("there is no model to make images")

    def embeddings(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns the features of some test images as the model receives them, `(n, D)`, and E(x), `(n, A)`.

        If the input is images, these are of centre crops. Raises `NotApplicable` if there is no model, or if it has
        no embedding.
        """
        raise NotApplicable("there is no model to embed images")

    @abstractmethod
    def scores(self, rows: slice, classes: NDArray[np.int64]) -> Tensor:
        """Returns the scores of some test images for some classes of the view, `(n, C)`; `classes` are positions."""

    @cached_property
    def generalized(self) -> Decisions:
        """Every test image decided among all classes."""
        return self._decided(*self._all)

    @cached_property
    def conventional(self) -> Decisions:
        """Test images of unseen classes, decided among unseen classes."""
        return among_unseen(self.generalized) if self.independent else self._decided(*self.unseen_side)

    def ranks(self) -> dict[str, NDArray[np.int32]]:
        """Returns how many classes have a higher score than each image's own, and how many have the same, itself too.

        `before_all` and `alike_all`, `(N,)`, are among all classes; `before_unseen` and `alike_unseen`, of images of
        unseen classes, are among these alone, unless the method cannot choose among them.

        Raises:
            NeedsScores: of a stored run without its model.
        """
        (images, every), (rows, unseen) = self._all, self.unseen_side
        if self.independent:
            found = self._gathered(images, every, partial(_ranks, sides={"all": every, "unseen": unseen}))
            return {name: own[rows] if name.endswith("_unseen") else own for name, own in found.items()}
        found = self._gathered(images, every, partial(_ranks, sides={"all": every}))
        with suppress(NotApplicable):
            found |= self._gathered(rows, unseen, partial(_ranks, sides={"unseen": np.arange(len(unseen))}))
        return found

    @property
    def _all(self) -> tuple[slice, NDArray[np.int64]]:
        return slice(0, len(self.view)), np.arange(len(self.view.classes))

    @property
    def unseen_side(self) -> tuple[slice, NDArray[np.int64]]:
        """The test images of unseen classes, and these classes; a view lists the images of seen classes first."""
        first = int(self.view.seen.sum())
        return slice(first, len(self.view)), np.flatnonzero(~self.view.classes.seen.cpu().numpy())

    def parts(
        self, rows: slice | None = None, classes: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[slice, Tensor]]:
        """Yields some test images and their scores for some classes, `(n, C)` in main memory, part by part.

        By default these are all images and all classes. A part has as many scores as may be held at a time, so reduce
        it before you take the next.

        Raises:
            RunError: a score is NaN or infinite.
            NeedsScores: of a stored run without its model.
        """
        images, every = self._all
        rows, classes = images if rows is None else rows, every if classes is None else classes
        for span, scores in self._parts(rows, classes):
            yield span, scores.cpu()

    def _parts(self, rows: slice, classes: NDArray[np.int64]) -> Iterator[tuple[slice, Tensor]]:
        """Does what `parts` does; the scores stay where they were computed."""
        step = max(1, SCORES_AT_ONCE // max(1, len(classes)))
        for start in range(rows.start, rows.stop, step):
            span = slice(start, min(start + step, rows.stop))
            scores = self.scores(span, classes)
            if scores.numel() and not bool(torch.isfinite(torch.stack(torch.aminmax(scores))).all()):  # NaN is both
                raise RunError("the method gave scores that are NaN or infinite")
            yield span, scores

    def _gathered(self, rows: slice, classes: NDArray[np.int64], reduce: Reduce) -> dict[str, NDArray[Any]]:
        """Returns what a function makes of all parts of scores: of n x C numbers, a few for each image are moved."""
        reduced: dict[str, NDArray[Any]] = {}
        for span, scores in self._parts(rows, classes):
            for name, part in reduce(scores, self.view.y[span], classes).items():
                if name not in reduced:  # whole at once: small arrays kept between large ones would tear the heap
                    reduced[name] = np.empty(rows.stop - rows.start, part.dtype)
                reduced[name][span.start - rows.start : span.stop - rows.start] = part
        return reduced

    def _decided(self, rows: slice, classes: NDArray[np.int64]) -> Decisions:
        found = self._gathered(rows, classes, self._decide)
        return Decisions(y=self.view.y[rows], seen=self.view.seen[rows], **found)

    def _decide(self, scores: Tensor, y: NDArray[np.int64], classes: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Returns the decisions of a part of the scores."""
        result: dict[str, NDArray[Any]] = {}
        own = own_scores(scores, y, classes)[:, 0]
        is_seen = self.view.classes.seen.cpu().numpy()
        for side, mask in (("seen", is_seen), ("unseen", ~is_seen)):
            columns = np.flatnonzero(mask[classes])
            if len(columns) == 0:
                best, ties = np.full(len(y), -np.inf), np.zeros(len(y), dtype=np.int64)
                hit, choice = np.zeros(len(y), dtype=bool), np.full(len(y), -1, dtype=np.int64)
            else:
                part = _columns(scores, columns)
                top, first = part.max(dim=1)
                best, ties = top.double().cpu().numpy(), _counted(part == top[:, None]).astype(np.int64)
                hit, choice = mask[y] & (own == top).cpu().numpy(), classes[columns[first.cpu().numpy()]]
            result |= {f"best_{side}": best, f"ties_{side}": ties, f"hit_{side}": hit, f"choice_{side}": choice}
        return result


def _columns(scores: Tensor, columns: NDArray[np.int64]) -> Tensor:
    """Returns some columns; those that lie beside each other, as those of a side do, without a copy."""
    first, end = (columns[0], columns[-1] + 1) if len(columns) else (0, 0)
    if end - first == len(columns):
        return scores[:, first:end]
    return scores[:, torch.from_numpy(columns).to(scores.device)]


def _counted(which: Tensor) -> NDArray[np.int32]:
    """Returns how many of each row are true; as 32 bits, which takes a third of the time of 64."""
    counts: NDArray[np.int32] = which.sum(dim=1, dtype=torch.int32).cpu().numpy()
    return counts


def _ranks(
    scores: Tensor, y: NDArray[np.int64], classes: NDArray[np.int64], sides: Mapping[str, NDArray[np.int64]]
) -> dict[str, NDArray[np.int32]]:
    """Returns, by side, how many of its columns have a higher score than each image's own class, and how many that."""
    own = own_scores(scores, y, classes)
    found: dict[str, NDArray[np.int32]] = {}
    for side, columns in sides.items():
        part = _columns(scores, columns)
        found |= {f"before_{side}": _counted(part > own), f"alike_{side}": _counted(part == own)}
    return found


def among_unseen(decisions: Decisions) -> Decisions:
    """Returns the images of unseen classes decided among these alone, if no score depends on the other classes."""
    rows = ~decisions.seen
    part = {name: array[rows] for name, array in decisions.arrays().items()}
    nothing = {"best_seen": -np.inf, "ties_seen": 0, "hit_seen": False, "choice_seen": -1}
    return Decisions(**part | {name: np.full_like(part[name], value) for name, value in nothing.items()})


def own_scores(scores: Tensor, y: NDArray[np.int64], classes: NDArray[np.int64]) -> Tensor:
    """Returns the score of each image's true class, `(n, 1)`, where the scores are.

    Args:
        scores: `(n, C)`.
        y: true classes, `(n,)`.
        classes: those of the columns, `(C,)`, ascending; every true class is one of them.
    """
    return scores.gather(1, torch.from_numpy(np.searchsorted(classes, y)).to(scores.device)[:, None])


class Evaluator(ABC):
    """Turns scores into metrics. Third parties subclass it and register the class.

    Class attributes:
        metrics: what `evaluate` returns, in the order of tables.
        version: raise it when the meaning of a metric changes.
        needs_validation: whether `prepare` must be called with a model fitted without the validation classes.
        needs_images: whether it is only used if the input is images.
        on_request: whether it only measures runs where one of its metrics is asked for, by `--metrics` for one. Then
            others do not pay for it, and its metrics have `shown=False`.
    """

    metrics: ClassVar[tuple[Metric, ...]]
    version: ClassVar[int] = 1
    needs_validation: ClassVar[bool] = False
    needs_images: ClassVar[bool] = False
    on_request: ClassVar[bool] = False

    def prepare(self, validation: Scorer) -> None:  # noqa: B027 (most evaluators choose nothing)
        """Makes its choices, such as a gamma, on validation classes."""

    @abstractmethod
    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        """Returns the value of each metric; accuracies are fractions in [0, 1].

        Raises:
            NotApplicable: the method cannot answer this question; the reason is shown in tables.
        """

    def remarks(self, metrics: Mapping[str, float]) -> Sequence[str]:
        """Returns warnings for a reader of a run, each a sentence without a full stop; nothing by default.

        It is called on a new evaluator whenever a run is shown. `metrics` are those of the run. They may come from an
        older version of this evaluator, so some may be missing.
        """
        return ()

    def arrays(self, scorer: Scorer) -> Mapping[str, NDArray[Any]]:
        """Returns arrays to store beside the record, by name; called after `evaluate`. Nothing by default."""
        return {}

    def resample(self, scorer: Scorer, weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        """Returns the metrics under resampled test images, for bootstrap intervals; nothing by default.

        Args:
            scorer: as for `evaluate`; `weights` of ones must give the result of `evaluate`.
            weights: how often each test image of the view was drawn, `(R, N)`.

        Returns:
            `(R,)` values for each metric that has an interval.
        """
        return {}

    def recomputed(
        self, scorer: Scorer, metrics: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, float]:
        """Computes the metrics of a stored run again, to check the stored values; by default it calls `evaluate`.

        The arguments are those of `influence`. `prepare` was called if decisions on validation classes are stored.

        Raises:
            NotApplicable: as `evaluate` does; `NeedsScores` if the stored data do not suffice.
        """
        return self.evaluate(scorer)

    def influence(
        self, scorer: Scorer, metrics: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, NDArray[np.float64]]:
        """Returns how much each test image moves a metric, for tests between rows of a table; nothing by default.

        For a mean over images this is each image's share: its value divided by the number of images. The shares sum
        to the metric. For any other metric it is the derivative by the weights of `resample`, at weights of one. It is
        called on a new evaluator for a stored run; the model is gone.

        Args:
            scorer: has the stored decisions and the classes of the images, but no scores.
            metrics: what `evaluate` returned.
            arrays: what `arrays` returned.

        Returns:
            `(N,)` values for each metric that has an influence, 0 for images that do not enter the metric.
        """
        return {}
