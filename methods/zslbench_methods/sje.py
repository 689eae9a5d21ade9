"""SJE (Akata et al., CVPR 2015): a linear map trained with a hinge on the most violating class."""

from __future__ import annotations

from torch import Tensor

from zslbench import Batch
from zslbench_methods.bilinear import BilinearEmbedder, RankingParams


class SJEParams(RankingParams):
    """Those of ranking methods."""


class SJE(BilinearEmbedder[SJEParams]):
    """Minimises the maximum over c != y of [m + F(x, c) - F(x, y)]+, Eq. (3) and (4): a structured SVM."""

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over the batch; classes that violate equally share the gradient."""
        return self.violations(batch).amax(dim=1).mean()
