"""The built-in evaluators: zsl, gzsl, ausuc, calibrated (protocols of Xian et al., CVPR 2017 and Chao et al., 2016)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Decisions, Evaluator, Metric, Scorer
from zslbench.evaluation.accuracy import harmonic_mean, per_class_accuracy
from zslbench.evaluation.curve import seen_unseen_curve

Array = NDArray[np.float64]


class WeightedEvaluator(Evaluator):
    """An evaluator whose metrics are functions of the scores and of image weights."""

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        """Returns the metrics with every image counted once."""
        values = self.resample(scorer, np.ones((1, len(scorer.view))))
        return {name: float(value[0]) for name, value in values.items()}

    @abstractmethod
    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns the metrics for each row of weights."""


class ConventionalZSL(WeightedEvaluator):
    """U->U: per-class top-1 on test_unseen images, unseen classes to choose from."""

    metrics: ClassVar = (Metric("acc_uu", "U->U"),)

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns acc_uu."""
        d = scorer.conventional
        return {"acc_uu": per_class_accuracy(d.credit(), d.y, weights[:, ~scorer.view.seen])}


class GeneralizedZSL(WeightedEvaluator):
    """U->T, S->T and their harmonic mean H, all classes to choose from, no calibration."""

    metrics: ClassVar = (Metric("acc_ut", "U->T"), Metric("acc_st", "S->T"), Metric("h", "H"))

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns acc_ut, acc_st, h."""
        acc_ut, acc_st = _both_sides(scorer.generalized, 0.0, weights)
        return {"acc_ut": acc_ut, "acc_st": acc_st, "h": harmonic_mean(acc_ut, acc_st)}


class AUSUC(WeightedEvaluator):
    """Area under the seen-unseen curve, exact, from per-class accuracies."""

    metrics: ClassVar = (Metric("ausuc", "AUSUC"),)

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns ausuc."""
        return {"ausuc": seen_unseen_curve(scorer.generalized, weights).area}


class Calibrated(WeightedEvaluator):
    """U->T, S->T, H with gamma subtracted from seen scores, the gamma chosen on validation classes."""

    metrics: ClassVar = (
        Metric("acc_ut_cal", "U->T cal"),
        Metric("acc_st_cal", "S->T cal"),
        Metric("h_cal", "H cal"),
        Metric("gamma", "gamma", percent=False),
    )
    needs_validation = True

    def __init__(self) -> None:
        self.gamma: float | None = None

    def prepare(self, validation: Scorer) -> None:
        """Chooses the gamma with the highest H on validation classes."""
        self.gamma = seen_unseen_curve(validation.generalized).best_gamma()

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        """Returns the calibrated metrics and the gamma."""
        return {**super().evaluate(scorer), "gamma": self._chosen()}

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns the calibrated metrics; gamma stays as chosen."""
        acc_ut, acc_st = _both_sides(scorer.generalized, self._chosen(), weights)
        return {"acc_ut_cal": acc_ut, "acc_st_cal": acc_st, "h_cal": harmonic_mean(acc_ut, acc_st)}

    def _chosen(self) -> float:
        if self.gamma is None:
            raise ValueError("prepare() must choose gamma on validation classes first")
        return self.gamma


def _both_sides(d: Decisions, gamma: float, weights: Array) -> tuple[Array, Array]:
    credit = d.credit(gamma)
    unseen = per_class_accuracy(credit[~d.seen], d.y[~d.seen], weights[:, ~d.seen])
    return unseen, per_class_accuracy(credit[d.seen], d.y[d.seen], weights[:, d.seen])
