"""A trial: one method with one set of hyper-parameters on one data set, to be fitted once or more."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Evaluator, Scorer
from zslbench.api.progress import Progress
from zslbench.api.views import TestView, TrainView
from zslbench.data.scaling import Scaler
from zslbench.discovery.plugins import registry
from zslbench.errors import NotApplicable
from zslbench.evaluation.evaluators import AUSUC, ConventionalZSL, GeneralizedZSL
from zslbench.evaluation.scorers import ModelScorer
from zslbench.records.spec import RunSpec
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, Fitted, fit


def method_class(name: str) -> type[Embedder[Any]]:
    """Returns the class of a registered method."""
    method: type[Embedder[Any]] = registry().resolve("method", name, Embedder)
    return method


@dataclass
class Part:
    """What one fold, or all of trainval, gives: the training view, scaled, and the images to score."""

    train: TrainView
    test: TestView
    scale: Scaler


def part_of(data: ZSLData, spec: RunSpec, fold: tuple[int, ...]) -> Part:
    """Cuts a fold (none for the proposed split) and scales it by what its training part says."""
    assert spec.setting != "unknown"  # that is for scores made elsewhere
    view = data.train_view(spec.setting, fold)
    scale = Scaler.fit(spec.scale, view.x)
    view = view.with_features(scale(view.x), None if view.unlabelled is None else scale(view.unlabelled))
    return Part(view, data.test_view(fold), scale)


@dataclass
class Trial:
    """Attributes: the run's spec and parameters, its data, where and how to fit, and files of weights by part."""

    spec: RunSpec
    params: Any
    data: ZSLData
    device: torch.device
    checkpoints: Path | None = None
    weights: Mapping[str, Path] = field(default_factory=dict)
    on_epoch: Callable[[Progress], None] = lambda progress: None

    def fit(
        self,
        fold: tuple[int, ...],
        name: str,
        *,
        epochs: int | None = None,
        stop_on: str = "",
        watch: bool = False,
    ) -> tuple[Scorer, Fitted]:
        """Fits a fresh model on a fold's training part, or on all of trainval; returns the scores of its test part.

        With `watch` the test part, which must then be of validation classes, is scored after each epoch; `stop_on`
        names the metric that decides when to stop.
        """
        part = part_of(self.data, self.spec, fold)

        def measure(model: Embedder[Any]) -> dict[str, float]:
            return quick_metrics(ModelScorer(model, part.test, part.scale, self.device))

        with seeded(self.spec.seed, self.device):
            embedder = method_class(self.spec.method)(self.params)
            embedder.weights, embedder.pretrained = self.weights, self.spec.pretrained
            embedder.build(part.train.shape)
            embedder.to(self.device)
            how = Fit(
                device=self.device,
                name=name,
                precision=self.spec.precision,
                epochs=epochs,
                watch=measure if watch or stop_on else None,
                stop_on=stop_on,
                on_epoch=self.on_epoch,
                checkpoint=self.checkpoints / f"{name}.safetensors" if self.checkpoints else None,
            )
            fitted = fit(embedder, part.train, self.spec.seed, how)
            scorer = ModelScorer(embedder, part.test, part.scale, self.device)
            with suppress(NotApplicable):
                scorer.check_independence()
                _ = scorer.conventional
        return scorer, fitted


OF_METRIC: dict[str, type[Evaluator]] = {
    metric.name: evaluator for evaluator in (ConventionalZSL, GeneralizedZSL, AUSUC) for metric in evaluator.metrics
}
"""What may be chosen by, and the evaluators that give it."""


def quick_metrics(scorer: Scorer, wanted: Iterable[str] = tuple(OF_METRIC)) -> dict[str, float]:
    """Returns what may be chosen by, where the method answers it."""
    metrics: dict[str, float] = {}
    for evaluator in dict.fromkeys(OF_METRIC[name] for name in wanted):
        with suppress(NotApplicable):
            metrics |= evaluator().evaluate(scorer)
    return metrics
