"""One fit: cut and scale the data, seed, build, train, score. Runs, grids of closed forms and checks all use it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zslbench.api.cards import Scaling, Setting
from zslbench.api.dataset import Fold, ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Scorer
from zslbench.api.views import TestView, TrainView
from zslbench.data.scaling import Scaler, SemanticsScaler
from zslbench.errors import NotApplicable
from zslbench.evaluation.scorers import ModelScorer
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, Fitted, fit

Watch = Callable[[Scorer], dict[str, float]]


@dataclass(frozen=True)
class Problem:
    """What one fold, or all of trainval, gives.

    Attributes:
        train: what a method may see, scaled.
        test: the images to score and all classes, unscaled.
        scale: of features, fitted on the training part.
        semantics: of class embeddings, fitted on the seen classes of the training part.
    """

    train: TrainView
    test: TestView
    scale: Scaler
    semantics: SemanticsScaler

    @classmethod
    def of(cls, data: ZSLData, setting: Setting, scaling: Scaling, fold: Fold = None) -> Problem:
        """Cuts a fold (None for the proposed split) and scales it by what its training part says.

        Raises:
            DataError: class embeddings cannot be scaled so.
        """
        view = data.train_view(setting, fold)
        scaler = Scaler.fit(scaling.scale, view.x)
        semantics = SemanticsScaler.fit(scaling.semantics_scale, view.classes.seen_only.semantics)
        return cls(scaled(view, scaler, semantics), data.test_view(fold), scaler, semantics)

    def scorer(self, embedder: Embedder[Any], device: torch.device, x: Tensor | None = None) -> ModelScorer:
        """Returns the scores of its test images by a model; `x` are their scaled features, where these are at hand."""
        return ModelScorer(embedder, self.test, self.scale, device, x, self.semantics(self.test.classes))


@dataclass(frozen=True)
class Model:
    """A trained method, what it was trained on, and how that went."""

    embedder: Embedder[Any]
    problem: Problem
    device: torch.device
    fitted: Fitted

    def scorer(self, x: Tensor | None = None) -> ModelScorer:
        """Returns the scores of the problem's test images; `x` are their scaled features, where these are at hand."""
        scorer = self.problem.scorer(self.embedder, self.device, x)
        with seeded(0, self.device), suppress(NotApplicable):  # decided here, where sums are the same on any machine
            scorer.check_independence()
            _ = scorer.conventional
        return scorer


def train(
    make: Callable[[], Embedder[Any]], problem: Problem, seed: int, how: Fit, watch: Watch | None = None
) -> Model:
    """Makes, builds and fits a model; everything random about it comes from the seed.

    `watch` measures the scores of the problem's test images, which must then be of validation classes, after each
    epoch of the main stage.
    """

    def measure(model: Embedder[Any]) -> dict[str, float]:
        assert watch is not None
        return watch(problem.scorer(model, how.device))

    embedder, fitted = fit_new(make, problem.train, seed, replace(how, watch=measure if watch else None))
    return Model(embedder, problem, how.device, fitted)


def fit_new(make: Callable[[], Embedder[Any]], view: TrainView, seed: int, how: Fit) -> tuple[Embedder[Any], Fitted]:
    """Makes, builds and fits an embedder; the seed decides all that is random, whatever the process drew before."""
    with seeded(seed, how.device):
        embedder = make()
        embedder.build(view.shape)
        embedder.to(how.device)
        return embedder, fit(embedder, view, seed, how)


def scaled(view: TrainView, scale: Scaler, semantics: SemanticsScaler) -> TrainView:
    """Returns a view with scaled features and class embeddings."""
    unlabelled = None if view.unlabelled is None else scale(view.unlabelled)
    return view.with_features(scale(view.x), unlabelled).with_classes(semantics(view.classes))
