"""The built-in evaluators: zsl, gzsl, ausuc, calibrated (protocols of Xian et al., CVPR 2017 and Chao et al., 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Evaluator, Metric, Scorer
from zslbench.evaluation.accuracy import (
    accuracy_influence,
    area_influence,
    harmonic_influence,
    harmonic_mean,
    per_class_accuracy,
    seen_unseen_curve,
)

Array = NDArray[np.float64]
Values = Mapping[str, float]
Stored = Mapping[str, NDArray[Any]]
CHOSEN = "gamma chosen on validation classes cut from trainval"


class WeightedEvaluator(Evaluator):
    """An evaluator whose metrics are functions of the scores and of image weights: all that `resample` returns."""

    def evaluate(self, scorer: Scorer) -> Values:
        """Returns the metrics with every image counted once."""
        values = self.resample(scorer, np.ones((1, len(scorer.view))))
        return {name: float(value[0]) for name, value in values.items()}


class ConventionalZSL(WeightedEvaluator):
    """U->U: per-class top-1 on test_unseen images, unseen classes to choose from."""

    metrics: ClassVar = (Metric("acc_uu", "U->U"),)

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns acc_uu."""
        d = scorer.conventional
        return {"acc_uu": per_class_accuracy(d.credit(), d.y, weights[:, ~scorer.view.seen])}

    def influence(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Mapping[str, Array]:
        """Returns that on acc_uu."""
        credit = np.zeros(len(scorer.view))
        credit[~scorer.view.seen] = scorer.conventional.credit()
        return {"acc_uu": accuracy_influence(credit, scorer.view.y, ~scorer.view.seen)}


class GeneralizedZSL(WeightedEvaluator):
    """U->T, S->T and their harmonic mean H, all classes to choose from, no calibration."""

    metrics: ClassVar[tuple[Metric, ...]] = (Metric("acc_ut", "U->T"), Metric("acc_st", "S->T"), Metric("h", "H"))
    gamma: float | None = 0.0

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns U->T, S->T and H; gamma stays as it is."""
        d, credit = scorer.generalized, self._credit(scorer)
        sides = [per_class_accuracy(credit[side], d.y[side], weights[:, side]) for side in (~d.seen, d.seen)]
        return self._named(*sides, harmonic_mean(*sides))

    def influence(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Mapping[str, Array]:
        """Returns those on U->T, S->T and H."""
        d, credit = scorer.generalized, self._credit(scorer)
        sides = [accuracy_influence(credit, d.y, side) for side in (~d.seen, d.seen)]
        return self._named(*sides, harmonic_influence(*sides))

    def _credit(self, scorer: Scorer) -> Array:
        if self.gamma is None:
            raise ValueError("prepare() must choose gamma on validation classes first")
        return scorer.generalized.credit(self.gamma)

    def _named(self, *values: Array) -> Mapping[str, Array]:
        return {metric.name: value for metric, value in zip(self.metrics, values, strict=False)}


class AUSUC(WeightedEvaluator):
    """Area under the seen-unseen curve, exact, from per-class accuracies."""

    metrics: ClassVar = (Metric("ausuc", "AUSUC", ranks=True),)  # it needs no gamma to be chosen

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns ausuc."""
        return {"ausuc": seen_unseen_curve(scorer.generalized, weights).area}

    def influence(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Mapping[str, Array]:
        """Returns that on ausuc."""
        return {"ausuc": area_influence(scorer.generalized)}


class Calibrated(GeneralizedZSL):
    """U->T, S->T, H with gamma subtracted from seen scores, the gamma chosen on validation classes."""

    metrics: ClassVar = (
        Metric("acc_ut_cal", "U->T cal", shown=False, note=CHOSEN),
        Metric("acc_st_cal", "S->T cal", shown=False, note=CHOSEN),
        Metric("h_cal", "H cal", note=CHOSEN),
        Metric("gamma", "gamma", percent=False, shown=False, note=CHOSEN),
    )
    needs_validation = True
    gamma: float | None = None

    def prepare(self, validation: Scorer) -> None:
        """Chooses the gamma with the highest H on validation classes."""
        self.gamma = seen_unseen_curve(validation.generalized).best_gamma()

    def evaluate(self, scorer: Scorer) -> Values:
        """Returns the calibrated metrics and the gamma."""
        values = super().evaluate(scorer)
        assert self.gamma is not None
        return {**values, "gamma": self.gamma}

    def recomputed(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Values:
        """Returns the metrics at the gamma chosen anew, or the stored one where nothing is there to choose it on."""
        self.gamma = metrics.get("gamma", 0.0) if self.gamma is None else self.gamma
        return self.evaluate(scorer)

    def influence(self, scorer: Scorer, metrics: Values, arrays: Stored) -> Mapping[str, Array]:
        """Returns those on the calibrated metrics, at the gamma that the run chose."""
        self.gamma = metrics["gamma"]
        return super().influence(scorer, metrics, arrays)
