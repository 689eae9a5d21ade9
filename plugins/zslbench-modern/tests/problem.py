"""A small problem, its batches, and methods that are built and trained on it as a run does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslbench import Batch, ClassSet, Embedder, TrainView
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, fit

Array = NDArray[np.float64]
SEEN, UNSEEN, IMAGES, ATTRIBUTES, FEATURES = 7, 3, 8, 5, 6
CPU = torch.device("cpu")


def classes() -> ClassSet:
    """Ten classes with embeddings of different lengths, the last three unseen."""
    semantics = torch.randn(SEEN + UNSEEN, ATTRIBUTES, generator=torch.Generator().manual_seed(1))
    names = tuple(f"class {c}" for c in range(len(semantics)))
    return ClassSet(semantics, names, torch.arange(len(semantics)) < SEEN)


def images(generator: int = 2) -> tuple[Tensor, Tensor]:
    """Features of seen classes, a linear map of their embedding plus noise, far from length 1; and their classes."""
    random = torch.Generator().manual_seed(generator)
    y = torch.arange(SEEN).repeat_interleave(IMAGES)
    looks = torch.randn(ATTRIBUTES, FEATURES, generator=torch.Generator().manual_seed(3))
    return 3 * classes().semantics[y] @ looks + torch.randn(len(y), FEATURES, generator=random) + 2, y


def mapped(seen: int, unseen: int, each: int, seed: int) -> tuple[Tensor, Tensor, ClassSet]:
    """Features of every class, a linear map of 6 positive attributes to 10 features plus noise; and their classes."""
    random = torch.Generator().manual_seed(3)
    semantics = torch.nn.functional.normalize(torch.rand(seen + unseen, 6, generator=random), dim=1)
    centres = semantics @ torch.randn(6, 10, generator=random)
    y = torch.arange(seen + unseen).repeat_interleave(each)
    x = centres[y] + 0.1 * torch.randn(len(y), 10, generator=random.manual_seed(seed + 10))
    names = tuple(f"class {c}" for c in range(len(semantics)))
    return x, y, ClassSet(semantics, names, torch.arange(len(semantics)) < seen)


def problem() -> TrainView:
    """All that a method sees of it in training."""
    return TrainView("inductive", *images(), classes().seen_only)


def batch() -> Batch:
    """Twelve images, of several classes."""
    view = problem()
    chosen = torch.arange(12) * 37 % len(view.x)
    return Batch(view.x[chosen], view.y[chosen], view.classes, torch.Generator().manual_seed(0))


def build(method: type[Embedder[Any]], **values: Any) -> Any:
    """A model that has been built and solved, but not trained."""
    with seeded(0, CPU):
        model = method(method.params_type(**values))
        model.build(problem().shape)
        model.solve(problem())
    return model


def train(method: type[Embedder[Any]], **values: Any) -> Any:
    """A model that has been trained and finished."""
    with seeded(0, CPU):
        model = method(method.params_type(**values))
        model.build(problem().shape)
        fit(model, problem(), 0, Fit(CPU))
    return model


def numbers(tensor: Tensor) -> Array:
    """The same as an array of doubles."""
    return tensor.detach().double().numpy()


def weights(model: Any) -> dict[str, Array]:
    """All parameters and buffers as arrays, by name."""
    return {name: numbers(value) for name, value in model.state_dict().items()}
