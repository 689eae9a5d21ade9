"""LATEM (Xian et al., CVPR 2016): several linear maps; image and class are scored by the one that fits them best."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from zslbench import Batch, ClassSet, ProblemShape, TrainView, param
from zslbench_methods.ranking import RankingEmbedder, RankingParams

EPOCHS_BETWEEN_PRUNINGS = 5
LEAST_SHARE = 0.05
START = 0.1
"""Differences of scores before training, in margins."""


class LATEMParams(RankingParams):
    """Those of ranking methods, with the paper's margin, and how many maps there are."""

    epochs: int = param(30, "epochs", search=(2, 30), ge=1)
    lr: float = param(
        1.5, "learning rate: margins that an epoch of Adam's steps wanders", search=(0.15, 15.0), log=True, gt=0
    )
    margin: float = param(1.0, "margin between the true class and a wrong one", gt=0)
    K: int = param(4, "maps W_i to start with", search=[2, 4, 6, 8, 10], ge=1)
    pruned: bool = param(
        False, "drop, every 5 epochs, maps that fit best for less than 5 % of the images", search=[False, True]
    )


class LATEM(RankingEmbedder[LATEMParams]):
    """F(x, c) = max over i of x'W_i s_c: which map applies to an image and a class is a latent variable.

    There are K maps or, if pruned, what remains of K (16 in the paper) when those that fit the true class best for too
    few training images have been dropped.
    """

    version = 3
    scale: ClassVar = "zscore"
    alive: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates the maps side by side, `(K * A, D)`, and which of them are in use, `(K,)`.

        They are random: maps that start equal stay equal.
        """
        self.register_buffer("basis", torch.eye(shape.attributes))
        self.W = nn.Linear(shape.features, self.params.K * shape.attributes, bias=False)
        nn.init.normal_(self.W.weight)
        self.register_buffer("alive", torch.ones(self.params.K, dtype=torch.bool))

    def solve(self, view: TrainView) -> None:
        """Finds the axes, and makes the maps so small that they start with differences of a tenth of the margin."""
        self.find_axes(view)
        along = view.semantics @ self.basis
        across = torch.linalg.vector_norm(along - along.mean(dim=0), dim=1).mean()
        spread = across * torch.linalg.vector_norm(view.x, dim=1).mean()
        with torch.no_grad():
            self.W.weight *= START * self.params.margin / spread.clamp(min=torch.finfo(spread.dtype).tiny)

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns F, `(B, C)`."""
        return self.scores_by_map(x, classes).amax(dim=1)

    def scores_by_map(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns x'W_i s_c for each map, `(B, K, C)`; -inf for those that were dropped."""
        along = classes.semantics @ self.basis
        scores: Tensor = self.W(x).unflatten(1, (self.params.K, -1)) @ along.T
        return scores.masked_fill(~self.alive[:, None], -torch.inf)

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean of [1 + F(x, c) - F(x, y)]+ over the batch, c being one random wrong class an image."""
        count = len(batch.classes)
        steps = torch.randint(1, count, batch.y.shape, generator=batch.generator, device=batch.y.device)
        wrong = (batch.y + steps) % count
        return self.violations(batch).gather(1, wrong[:, None]).mean()

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        """Drops, where it is time, the maps that are too little used; the most used one always stays."""
        if not self.params.pruned or epoch % EPOCHS_BETWEEN_PRUNINGS:
            return
        best = [
            self.scores_by_map(x.to(y.device), view.classes)[torch.arange(len(y), device=y.device), :, y].argmax(dim=1)
            for x, y in zip(torch.split(view.x, 1024), torch.split(view.y, 1024), strict=True)
        ]
        share = torch.bincount(torch.cat(best), minlength=self.params.K) / len(view.y)
        self.alive &= share >= min(LEAST_SHARE, float(share.max()))
