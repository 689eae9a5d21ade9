"""ESZSL (Romera-Paredes & Torr, ICML 2015): a bilinear compatibility in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from zslbench import ClassSet, Embedder, Params, ProblemShape, TrainView, param


class ESZSLParams(Params):
    """Regularisation on the visual and on the semantic side."""

    gamma: float = param(1.0, "weight of the visual-side penalty", search=(1e-3, 1e3), log=True, gt=0)
    lam: float = param(1.0, "weight of the semantic-side penalty, lambda", search=(1e-3, 1e3), log=True, gt=0)


class ESZSL(Embedder[ESZSLParams]):
    """V = (X'X + gamma I)^-1 X'Y S (S'S + lambda I)^-1, Eq. (7), with Y in {-1, 1}; E(x) = V'x."""

    deterministic = True
    V: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates V, `(D, A)`."""
        self.register_buffer("V", torch.zeros(shape.features, shape.attributes))

    def embed(self, x: Tensor) -> Tensor:
        """Maps `(B, D)` to `(B, A)`."""
        return x @ self.V

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns x'V s_c, `(B, C)`, multiplied in the cheaper order."""
        product: Tensor = torch.linalg.multi_dot((x, self.V, classes.semantics.T))
        return product

    def factorize(self, view: TrainView) -> tuple[Tensor, ...]:
        """Returns eigenvalues e, f and eigenvectors U, Q of X'X and S'S, and U'X'YSQ; all in float64."""
        x, s = view.x.double(), view.semantics.double()
        signs = 2.0 * torch.nn.functional.one_hot(view.y, len(s)).double() - 1.0
        e, u = torch.linalg.eigh(x.T @ x)
        f, q = torch.linalg.eigh(s.T @ s)
        return e.clamp(min=0), u, f.clamp(min=0), q, u.T @ (x.T @ signs) @ (s @ q)

    def assemble(self, factors: tuple[Tensor, ...]) -> None:
        """Computes V = U [(U'X'YSQ)_ij / ((e_i + gamma)(f_j + lambda))] Q', which is Eq. (7) in the eigenvectors."""
        e, u, f, q, middle = factors
        divisor = torch.outer(e + self.params.gamma, f + self.params.lam)
        self.V.copy_(u @ (middle / divisor) @ q.T)
