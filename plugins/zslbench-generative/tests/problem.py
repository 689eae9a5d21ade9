"""A small learnable problem, its batches, and training as a run does it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from zslbench import Batch, ClassSet, Embedder, TrainView
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, Fitted, fit

SEEN, UNSEEN, IMAGES, ATTRIBUTES, FEATURES = 12, 3, 30, 6, 10
CPU = torch.device("cpu")


def images(seed: int = 0, count: int = IMAGES) -> tuple[Tensor, Tensor, ClassSet]:
    """Features of every class, a linear map of its embedding plus noise; all in [0, 1]."""
    random = torch.Generator().manual_seed(3)
    semantics = torch.nn.functional.normalize(torch.rand(SEEN + UNSEEN, ATTRIBUTES, generator=random), dim=1)
    centres = semantics @ torch.randn(ATTRIBUTES, FEATURES, generator=random)
    y = torch.arange(SEEN + UNSEEN).repeat_interleave(count)
    x = centres[y] + 0.1 * torch.randn(len(y), FEATURES, generator=random.manual_seed(seed + 10))
    names = tuple(f"class {c}" for c in range(len(semantics)))
    return (x / 6 + 0.5).clamp(0, 1), y, ClassSet(semantics, names, torch.arange(len(semantics)) < SEEN)


def problem() -> TrainView:
    x, y, classes = images()
    seen = classes.seen[y]
    return TrainView("semantic-transductive", x[seen], y[seen], classes)


def batch(seed: int = 0, rows: int = 8) -> Batch:
    """Some images of the problem, always the same; the seed is that of the losses' randomness."""
    view = problem()
    chosen = torch.arange(rows) * 37 % len(view.x)
    return Batch(view.x[chosen], view.y[chosen], view.classes, torch.Generator().manual_seed(seed))


def build(method: type[Embedder[Any]], **values: Any) -> Any:
    """A model that has been built and solved, but not trained."""
    with seeded(0, CPU):
        model = method(method.params_type(**values))
        model.build(problem().shape)
        model.solve(problem())
    return model


def train(method: type[Embedder[Any]], **values: Any) -> tuple[Any, Fitted]:
    with seeded(0, CPU):
        model = method(method.params_type(**values))
        model.build(problem().shape)
        fitted = fit(model, problem(), 0, Fit(CPU))
    return model, fitted


def weights(model: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def values(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: loss.item() for name, loss in losses.items()}
