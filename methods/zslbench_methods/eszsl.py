"""ESZSL (Romera-Paredes & Torr, ICML 2015): a bilinear compatibility in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from zslbench import Embedder, Params, ProblemShape, TrainView, param


class ESZSLParams(Params):
    """Regularisation on the visual and on the semantic side."""

    gamma: float = param(1.0, "weight of the visual-side penalty", search=(1e-3, 1e3), log=True, gt=0)
    lam: float = param(1.0, "weight of the semantic-side penalty, lambda", search=(1e-3, 1e3), log=True, gt=0)


class ESZSL(Embedder[ESZSLParams]):
    """V = (X'X + gamma I)^-1 X'Y S (S'S + lambda I)^-1, Eq. (7), with Y in {-1, 1}; E(x) = V'x."""

    V: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates V, `(D, A)`."""
        self.register_buffer("V", torch.zeros(shape.features, shape.attributes))

    def embed(self, x: Tensor) -> Tensor:
        """Maps `(B, D)` to `(B, A)`."""
        return x @ self.V

    def solve(self, view: TrainView) -> None:
        """Computes V in float64."""
        x, s = view.x.double(), view.semantics.double()
        signs = 2.0 * torch.nn.functional.one_hot(view.y, len(s)).double() - 1.0
        visual = x.T @ x + self.params.gamma * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        semantic = s.T @ s + self.params.lam * torch.eye(s.shape[1], dtype=x.dtype, device=x.device)
        half = torch.linalg.solve(visual, x.T @ signs @ s)
        self.V.copy_(torch.linalg.solve(semantic, half, left=False))
