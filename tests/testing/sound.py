"""A method of each kind, a data set and an evaluator that keep all promises; the broken samples are made from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zslbench import (
    Batch,
    DataError,
    Dataset,
    DatasetCard,
    Embedder,
    Evaluator,
    GradientParams,
    ImageParams,
    Metric,
    Params,
    ProblemShape,
    Scorer,
    TrainView,
    ZSLData,
    param,
)
from zslbench.testing.problem import separable


class LinearParams(GradientParams):
    lr: float = param(1e-2, "learning rate", search=(1e-3, 1e-1), log=True, gt=0)


class Linear(Embedder[LinearParams]):
    """A linear map, trained by gradients."""

    scale: ClassVar = "zscore"

    def build(self, shape: ProblemShape) -> None:
        self.map = nn.Linear(shape.features, shape.attributes)

    def embed(self, x: Tensor) -> Tensor:
        return self.map(x)

    def loss(self, batch: Batch) -> Tensor:
        return (batch.s - self.map(batch.x)).square().sum(dim=1).mean()


class Whitened(Linear):
    """It is shown fewer columns of class embeddings than there are attributes, or as many."""

    semantics_scale: ClassVar = "whiten"
    semantics_scales: ClassVar = ("none", "whiten")
    scales: ClassVar = ("zscore", "l2")


class Shifted(Linear):
    """It uses all that a transductive method may: unseen class embeddings, and unlabelled images."""

    middle: Tensor

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.register_buffer("middle", torch.zeros(shape.attributes))

    def solve(self, view: TrainView) -> None:
        self.middle.copy_(view.semantics[~view.classes.seen].mean(dim=0))

    def finish(self, view: TrainView) -> None:
        if view.unlabelled is not None:
            self.middle.copy_(self.map(view.unlabelled).mean(dim=0))

    def embed(self, x: Tensor) -> Tensor:
        return self.map(x) - 0.1 * self.middle


class PainterParams(ImageParams):
    lr: float = param(1e-2, "learning rate", search=(1e-3, 1e-1), log=True, gt=0)


class Painter(Embedder[PainterParams]):
    """A linear map to class embeddings, and one from there to images."""

    scale: ClassVar = "zscore"
    input: ClassVar = "images"

    def build(self, shape: ProblemShape) -> None:
        self.map = nn.Linear(shape.features, shape.attributes)
        self.paint = nn.Linear(shape.attributes, 3 * self.params.image_size**2)
        nn.init.constant_(self.paint.bias, 0.5)

    def embed(self, x: Tensor) -> Tensor:
        return self.map(x)

    def painting(self, embedding: Tensor) -> Tensor:
        return self.paint(embedding).unflatten(1, (3, self.params.image_size, self.params.image_size))

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        return self.painting(self.map(x)).clamp(0, 1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {
            "map": (batch.s - self.map(batch.x)).square().sum(dim=1).mean(),
            "paint": (self.painting(batch.s) - batch.pixels).square().mean(),
        }


class RidgeParams(Params):
    lam: float = param(1.0, "weight of the penalty", search=(0.1, 10.0), log=True, gt=0)


class Ridge(Embedder[RidgeParams]):
    """A linear map in closed form."""

    deterministic = True
    scale: ClassVar = "zscore"
    W: Tensor

    def build(self, shape: ProblemShape) -> None:
        self.register_buffer("W", torch.zeros(shape.features, shape.attributes))

    def embed(self, x: Tensor) -> Tensor:
        return x @ self.W

    def factorize(self, view: TrainView) -> tuple[Tensor, ...]:
        x = view.x.double()
        e, u = torch.linalg.eigh(x.T @ x)
        return e, u, u.T @ x.T @ view.semantics[view.y].double()

    def assemble(self, factors: tuple[Tensor, ...]) -> None:
        e, u, middle = factors
        self.W.copy_(u @ (middle / (e + self.params.lam)[:, None]))


class Separable(Dataset):
    """The problem of the checks as a data set; it needs its root to exist."""

    card = DatasetCard(
        title="separable",
        citation="nobody",
        licence="CC0-1.0",
        homepage="https://example.org",
        default_features="vectors",
    )

    def load(self, root: Path, features: str | None = None, splits: str = "att_splits") -> ZSLData:
        if problem := self.missing(root, features, splits):
            raise DataError(problem)
        return separable()

    def missing(self, root: Path, features: str | None = None, splits: str = "att_splits") -> str:
        if not root.is_dir():
            return f"the folder {root} is missing; make it"
        known = features in (None, "vectors") and splits == "att_splits"
        return "" if known else f"it has only vectors and att_splits, not {features} or {splits}"


class Right(Evaluator):
    """The share of test images that are right."""

    metrics: ClassVar = (Metric("right", "right"),)

    def credit(self, scorer: Scorer) -> NDArray[np.float64]:
        return scorer.generalized.credit()

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        return {"right": float(self.credit(scorer).mean())}

    def resample(self, scorer: Scorer, weights: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        return {"right": (weights * self.credit(scorer)).mean(axis=1)}

    def influence(
        self, scorer: Scorer, metrics: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, NDArray[np.float64]]:
        credit = self.credit(scorer)
        return {"right": credit / len(credit)}
