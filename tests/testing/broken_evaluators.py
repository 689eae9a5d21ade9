"""Evaluators that each break one promise, and the check that must catch them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from testing.sound import Right

from zslbench import Metric, Scorer
from zslbench.api import evaluator as interface
from zslbench.api.cards import EvaluatorCard
from zslbench.testing.subjects import EvaluatorSubject

CARD = EvaluatorCard("the share of test images that are right")
Sample = Callable[[], EvaluatorSubject]
SAMPLES: list[tuple[str, Sample]] = []
Array = NDArray[np.float64]
Stored = Mapping[str, Any]


def subject(evaluator: Any, card: EvaluatorCard = CARD) -> EvaluatorSubject:
    return EvaluatorSubject(evaluator.__name__, card, given=evaluator)


def breaks(check: str) -> Callable[[Any], Any]:
    """Adds a class to the samples."""

    def add(evaluator: Any) -> Any:
        SAMPLES.append((check, lambda: subject(evaluator)))
        return evaluator

    return add


SAMPLES += [
    ("importable", lambda: EvaluatorSubject("Instance", CARD, given=Right())),
    ("card", lambda: subject(Right, EvaluatorCard(""))),
]


@breaks("metrics")
class Twice(Right):
    metrics: ClassVar = (Metric("right", "right"), Metric("right", "also right"))


@breaks("metrics")
class Silent(Right):
    metrics: ClassVar = ()


@breaks("metrics")
class ShownOnRequest(Right):
    on_request: ClassVar = True


@breaks("names_are_free")
class Harmonic(Right):
    metrics: ClassVar = (Metric("h", "right"),)

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        return {"h": super().evaluate(scorer)["right"]}

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        return {"h": super().resample(scorer, weights)["right"]}

    def influence(self, scorer: Scorer, metrics: Stored, arrays: Stored) -> Mapping[str, Array]:
        return {"h": super().influence(scorer, metrics, arrays)["right"]}


@breaks("returns_its_metrics")
class MoreThanItSays(Right):
    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        return {**super().evaluate(scorer), "images": float(len(scorer.view))}


@breaks("finite")
class NothingRight(Right):
    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        right = super().evaluate(scorer)["right"]
        return {"right": right if right > 0 else float("nan")}


@breaks("fractions")
class Percent(Right):
    def credit(self, scorer: Scorer) -> Array:
        return 100 * super().credit(scorer)


@breaks("deterministic")
class Tires(Right):
    times: ClassVar = itertools.count(1)

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        return {"right": super().evaluate(scorer)["right"] / next(self.times)}


@breaks("global_state_untouched")
class SeedsPython(Right):
    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        random.seed(0)
        return super().evaluate(scorer)


@breaks("scorer_untouched")
class Reverses(Right):
    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        scorer.view.images[:] = scorer.view.images[::-1].copy()
        return super().evaluate(scorer)


@breaks("class_order")
class FirstClass(Right):
    """The share of images that are given to the first class."""

    def credit(self, scorer: Scorer) -> Array:
        return (scorer.generalized.choice() == 0).astype(float)


@breaks("image_order")
class LaterImagesCountMore(Right):
    def credit(self, scorer: Scorer) -> Array:
        return super().credit(scorer) * np.linspace(0, 1, len(scorer.view))


@breaks("chunking")
class MeanOfMeans(Right):
    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        rows = interface.SCORES_AT_ONCE // len(scorer.view.classes)
        credit = self.credit(scorer)
        means = [credit[start : start + rows].mean() for start in range(0, len(credit), rows)]
        return {"right": float(np.mean(means))}


@breaks("resample")
class BiasedResample(Right):
    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        return {"right": super().resample(scorer, weights)["right"] + 0.1}


@breaks("resample")
class SharedResample(Right):
    """Its replicates know of each other."""

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        return {"right": np.full(len(weights), super().resample(scorer, weights)["right"][-1])}


@breaks("influence")
class TotalsForShares(Right):
    """Forgets that a mean divides by the number of images."""

    def influence(self, scorer: Scorer, metrics: Stored, arrays: Stored) -> Mapping[str, Array]:
        return {"right": self.credit(scorer)}


@breaks("influence")
class UnseenOnly(Right):
    """Is about images of unseen classes, and says that the others move it too."""

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        return {"right": (weights * self.credit(scorer) * ~scorer.view.seen).sum(axis=1) / (~scorer.view.seen).sum()}

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        return {"right": float(self.credit(scorer)[~scorer.view.seen].mean())}

    def influence(self, scorer: Scorer, metrics: Stored, arrays: Stored) -> Mapping[str, Array]:
        share = self.credit(scorer) / (~scorer.view.seen).sum()
        return {"right": np.where(scorer.view.seen, 0.5, share)}


@breaks("influence")
class OneForEachClass(Right):
    def influence(self, scorer: Scorer, metrics: Stored, arrays: Stored) -> Mapping[str, Array]:
        return {"right": np.zeros(len(scorer.view.classes))}


@breaks("influence")
class Forgets(Right):
    """Counts on what evaluate() left in it, where there is a new evaluator for a stored run."""

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        self.kept = self.credit(scorer)
        return super().evaluate(scorer)

    def influence(self, scorer: Scorer, metrics: Stored, arrays: Stored) -> Mapping[str, Array]:
        return {"right": self.kept / len(self.kept)}
