"""ESZSL (Romera-Paredes & Torr, ICML 2015): a bilinear compatibility in closed form."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from zslbench import ClassSet, Embedder, Params, ProblemShape, TrainView, param


class ESZSLParams(Params):
    """Regularisation on the visual and on the semantic side."""

    gamma: float = param(1.0, "weight of the visual-side penalty", search=(1e-3, 1e3), log=True, gt=0)
    lam: float = param(0.1, "weight of the semantic-side penalty, lambda", search=(1e-3, 1e3), log=True, gt=0)
    relative: bool = param(True, "measure gamma and lambda in mean eigenvalues of X'X and of S'S, S centred")


def signs(y: Tensor, classes: int) -> Tensor:
    """Returns Y, `(N, C)` float64: 1 where an image is of a class, else -1."""
    return 2.0 * torch.nn.functional.one_hot(y, classes).double() - 1.0


def mean_eigenvalue(values: Tensor) -> Tensor:
    """Returns the mean of the eigenvalues of X'X that are more than rounding, a scalar; 1 where there are none.

    Args:
        values: `(n,)` float64. X may have been float32, whose rounding, squared, is what the smallest are held against.
    """
    kept = values[values > values.max() * len(values) * torch.finfo(torch.float32).eps]
    return kept.mean() if len(kept) else torch.ones((), dtype=values.dtype)


class ESZSL(Embedder[ESZSLParams]):
    """V = (X'X + gamma I)^-1 X'Y S (S'S + lambda I)^-1, Eq. (7), with Y in {-1, 1}; E(x) = V'x.

    The eigenvalues of X'X grow with the images, those of S'S with the classes, and both with the units of the data; so
    gamma and lambda are, unlike in the paper, multiples of their means unless `relative` is False. Eigenvalues that are
    zero do not count, so that columns that repeat others change nothing. For lambda the mean is that of the centred
    embeddings: what all classes share tells none of them apart, however large it is.
    """

    version = 3
    deterministic = True
    scale: ClassVar = "zscore"
    scales: ClassVar = ("zscore", "l2", "none")
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
        """Returns eigenvalues e, f and eigenvectors U, Q of X'X and S'S, U'X'YSQ, and the two units; all in float64."""
        s = view.semantics.double()
        gram, cross = view.sums(lambda x, y: (x.T @ x, x.T @ signs(y, len(s))))
        e, u = torch.linalg.eigh(gram)
        f, q = torch.linalg.eigh(s.T @ s)
        centred = s - s.mean(dim=0)
        units = torch.stack([mean_eigenvalue(e), mean_eigenvalue(torch.linalg.eigvalsh(centred.T @ centred))])
        return e.clamp(min=0), u, f.clamp(min=0), q, u.T @ cross @ (s @ q), units

    def assemble(self, factors: tuple[Tensor, ...]) -> None:
        """Computes V = U [(U'X'YSQ)_ij / ((e_i + gamma)(f_j + lambda))] Q', which is Eq. (7) in the eigenvectors."""
        e, u, f, q, middle, units = factors
        gamma, lam = self.params.gamma, self.params.lam
        if self.params.relative:
            gamma, lam = gamma * float(units[0]), lam * float(units[1])
        divisor = torch.outer(e + gamma, f + lam)
        self.V.copy_(u @ (middle / divisor) @ q.T)
