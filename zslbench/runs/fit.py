"""One fit: seed, build, train, score. Runs, grids of closed forms and checks all use it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Scorer
from zslbench.api.views import TrainView
from zslbench.errors import NotApplicable
from zslbench.evaluation.scorers import ModelScorer
from zslbench.runs.problem import Problem
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, Fitted, fit

Watch = Callable[[Scorer], dict[str, float]]


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

    embedder, fitted = fit_new(make, problem.view(how.device), seed, replace(how, watch=measure if watch else None))
    return Model(embedder, problem, how.device, fitted)


def fit_new(make: Callable[[], Embedder[Any]], view: TrainView, seed: int, how: Fit) -> tuple[Embedder[Any], Fitted]:
    """Makes, builds and fits an embedder; the seed decides all that is random, whatever the process drew before."""
    with seeded(seed, how.device):
        embedder = make()
        embedder.build(view.shape)
        embedder.to(how.device)
        return embedder, fit(embedder, view, seed, how)
