"""What DeViSE, ALE, SJE and LATEM share: a compatibility F(x, c), for the first three x'W s_c, trained by ranking."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from zslbench import Batch, Embedder, GradientParams, ProblemShape, param


class RankingParams(GradientParams):
    """Hyper-parameters of methods that rank the true class above the others by a margin."""

    epochs: int = param(20, "epochs", search=(2, 40), ge=1)
    batch_size: int = param(64, "images in a batch", ge=1)
    lr: float = param(2e-4, "learning rate", search=(1e-5, 1e-2), log=True, gt=0)
    margin: float = param(1.0, "margin m between the true class and the others", search=(0.1, 10.0), log=True, gt=0)


P = TypeVar("P", bound=RankingParams)


class RankingEmbedder(Embedder[P]):
    """Whatever F is, training lowers the excess of wrong classes over the true one."""

    def violations(self, batch: Batch) -> Tensor:
        """Returns `[m + F(x, c) - F(x, y)]+` for each image and class, `(B, C)`; 0 for the true class."""
        scores = self.scores(batch.x, batch.classes)
        excess = self.params.margin + scores - scores.gather(1, batch.y[:, None])
        others = torch.ones_like(scores).scatter(1, batch.y[:, None], 0.0)
        return excess.clamp(min=0) * others


class BilinearEmbedder(RankingEmbedder[P]):
    """E(x) = W'x without bias, so that s . E(x) = x'W s."""

    scale: ClassVar = "zscore"
    W: nn.Linear

    def build(self, shape: ProblemShape) -> None:
        """Creates W = 0, from where ranking alone decides what it becomes."""
        self.W = nn.Linear(shape.features, shape.attributes, bias=False)
        nn.init.zeros_(self.W.weight)

    def embed(self, x: Tensor) -> Tensor:
        """Maps `(B, D)` to `(B, A)`."""
        embedding: Tensor = self.W(x)
        return embedding
