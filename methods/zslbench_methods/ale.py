"""ALE (Akata et al., CVPR 2013, TPAMI 2016): a linear map trained with a weighted approximate ranking loss."""

from __future__ import annotations

import torch
from torch import Tensor

from zslbench import Batch, ProblemShape
from zslbench_methods.bilinear import BilinearEmbedder, RankingParams


class ALEParams(RankingParams):
    """Those of ranking methods."""


class ALE(BilinearEmbedder[ALEParams]):
    """WARP: wrong classes are drawn until the first violator, after i trials; it is weighted by its estimated rank.

    With r = floor((C - 1) / i) the weight is l_r = 1 + 1/2 + ... + 1/r (TPAMI 2016, Eq. 8 and 9; Weston et al., 2011).
    """

    harmonic: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates W, and the weights l_r of the ranks 1 to C - 1."""
        super().build(shape)
        weights = torch.cumsum(1.0 / torch.arange(1, max(2, shape.classes)), dim=0)
        self.register_buffer("harmonic", weights, persistent=False)

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over the batch; all images draw their classes at once, each in its own random order."""
        violations = self.violations(batch)
        images, classes = violations.shape
        device = violations.device
        keys = torch.rand(images, classes, generator=batch.generator, device=device)
        order = keys.scatter(1, batch.y[:, None], 2.0).argsort(dim=1)[
            :, :-1
        ]  # the true class sorts last and is dropped
        drawn = violations.gather(1, order)
        trial = (drawn > 0).float().argmax(dim=1)  # of the first violator; 0 without one, where its violation is 0 too
        rank = (classes - 1) // (trial + 1)
        return (self.harmonic[rank - 1] * drawn.gather(1, trial[:, None])[:, 0]).mean()
