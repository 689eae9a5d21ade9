"""A small learnable problem in memory, and scorers over matrices, for tests that need no files."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Scorer
from zslbench.api.params import Params
from zslbench.api.views import ClassSet, TestView, TrainView
from zslbench.evaluation.scorers import MatrixScorer
from zslbench.testing.isolation import differing
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, Fitted, fit

CPU = torch.device("cpu")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return not differing(a, b)


def toy_data(
    seen: int = 7,
    unseen: int = 3,
    images: int = 10,
    attributes: int = 5,
    size: int = 8,
    noise: float = 0.1,
    seed: int = 0,
) -> ZSLData:
    """Features are a linear map of the class embedding plus noise; every fifth seen image is in test_seen."""
    random = np.random.default_rng(seed)
    classes = seen + unseen
    semantics = random.random((classes, attributes)) + 0.05
    semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
    labels = random.permutation(np.repeat(np.arange(classes), images))
    features = semantics[labels] @ random.normal(size=(attributes, size)) + noise * random.normal(
        size=(len(labels), size)
    )
    rank = np.array([(labels[:i] == c).sum() for i, c in enumerate(labels)])
    is_unseen = np.isin(labels, random.choice(classes, unseen, replace=False))
    return ZSLData(
        name="toy",
        features_name="vectors",
        features=features.astype(np.float32),
        labels=labels,
        semantics=semantics.astype(np.float32),
        class_names=tuple(f"class {c}" for c in range(classes)),
        train=np.flatnonzero(~is_unseen & (rank % 5 != 4)),
        test_seen=np.flatnonzero(~is_unseen & (rank % 5 == 4)),
        test_unseen=np.flatnonzero(is_unseen),
    )


def toy_view(**options: Any) -> TrainView:
    return toy_data(**options).train_view("inductive")


def build(method: type[Embedder[Any]], params: Params, view: TrainView, seed: int = 0) -> Embedder[Any]:
    with seeded(seed, CPU):
        embedder = method(params)
        embedder.build(view.shape)
    return embedder


def fit_built(embedder: Embedder[Any], view: TrainView, **how: Any) -> Fitted:
    """Fits a model that was built before."""
    return fit(embedder, view, 0, Fit(CPU, **how))


def train(
    method: type[Embedder[Any]], params: Params, view: TrainView, seed: int = 0, **how: Any
) -> tuple[Embedder[Any], Fitted]:
    """Builds and fits as the runner does: the seed is set before the model is built."""
    with seeded(seed, CPU):
        embedder = method(params)
        embedder.build(view.shape)
        fitted = fit(embedder, view, seed, Fit(CPU, **how))
    return embedder, fitted


def weights(embedder: Embedder[Any]) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in embedder.state_dict().items()}


def matrix_scorer(scores: Any, y: Any, seen: Any) -> Scorer:
    """Scores `(N, C)` of images with classes `y`; `seen` marks the seen classes, images of which must come first."""
    scores, y, seen = np.asarray(scores), np.asarray(y), np.asarray(seen, dtype=bool)
    names = tuple(str(c) for c in range(len(seen)))
    classes = ClassSet(torch.zeros(len(seen), 2), names, torch.from_numpy(seen))
    return MatrixScorer(scores, TestView(np.arange(len(y)), y, classes, None))
