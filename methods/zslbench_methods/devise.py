"""DeViSE (Frome et al., NIPS 2013): a linear map trained with a hinge over all wrong classes."""

from __future__ import annotations

from torch import Tensor

from zslbench import Batch
from zslbench_methods.bilinear import BilinearEmbedder, RankingParams


class DeViSEParams(RankingParams):
    """Those of ranking methods."""


class DeViSE(BilinearEmbedder[DeViSEParams]):
    """Minimises the sum over c != y of [m + F(x, c) - F(x, y)]+, Eq. (1)."""

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over the batch."""
        return self.violations(batch).sum(dim=1).mean()
