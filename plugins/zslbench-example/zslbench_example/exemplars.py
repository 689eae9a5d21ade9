"""Exemplars: an unseen class's mean feature is predicted from its embedding, after Changpinyo et al., ICCV 2017."""

from __future__ import annotations

import torch
from torch import Tensor

from zslbench import ClassSet, Embedder, Params, ProblemShape, TrainView, param


class ExemplarParams(Params):
    """Hyper-parameters."""

    lam: float = param(0.1, "weight of the ridge penalty, lambda", search=(1e-3, 1e2), log=True, gt=0)


class Exemplars(Embedder[ExemplarParams]):
    """W minimises |S W - M|^2 + lambda |W|^2, M the mean feature of each seen class; F(x, s) = -|x - s W|^2."""

    deterministic = True
    W: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates W, `(A, D)`."""
        self.register_buffer("W", torch.zeros(shape.attributes, shape.features))

    def solve(self, view: TrainView) -> None:
        """Computes W in float64."""
        s = view.semantics.double()

        def totals(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            member = torch.nn.functional.one_hot(y, len(s)).double()
            return member.T @ x, member.sum(dim=0)

        features, images = view.sums(totals)
        means = features / images[:, None]
        penalty = self.params.lam * torch.eye(s.shape[1], dtype=s.dtype, device=s.device)
        self.W.copy_(torch.linalg.solve(s.T @ s + penalty, s.T @ means))

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns minus the squared distance to each class's exemplar, `(B, C)`."""
        exemplars = classes.semantics @ self.W
        return -torch.cdist(x, exemplars).square()
