"""SAE (Kodirov, Xiang & Gong, CVPR 2017): a linear semantic auto-encoder in closed form."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import normalize

from zslbench import ClassSet, Embedder, Params, ProblemShape, TrainView, param


class SAEParams(Params):
    """Weight of the encoder, and in which space classes are compared."""

    lam: float = param(0.5, "weight of the encoder term, lambda", search=(1e-2, 1e3), log=True, gt=0)
    relative: bool = param(True, "measure lambda in mean eigenvalues of SS' over those of XX'")
    direction: Literal["f2s", "s2f"] = param(
        "s2f", "compare in the semantic space (f2s) or in the feature space (s2f)", search=["f2s", "s2f"]
    )


class SAE(Embedder[SAEParams]):
    """min over W of |X - W'S|^2 + lambda |WX - S|^2, Eq. (6); columns are images, S holds each image's embedding.

    The minimum solves the Sylvester equation A W + W B = C with A = SS', B = lambda XX', C = (1 + lambda) SX', here
    by one eigendecomposition of each side: W = P [(P'CU) / (a_i + lambda e_j)] U'.
    What lambda weighs depends on the units of the data: images of many features make XX' large against SS'. So the
    parameter is, unlike in the paper, a multiple of the mean of a over the mean of e unless `relative` is False.
    """

    version = 2
    deterministic = True
    scale: ClassVar = "zscore"
    scales: ClassVar = ("zscore", "l2", "none")
    W: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates W, `(A, D)`."""
        self.register_buffer("W", torch.zeros(shape.attributes, shape.features))

    def embed(self, x: Tensor) -> Tensor:
        """Encodes `(B, D)` to `(B, A)`."""
        return x @ self.W.T

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns cosines: of Wx with s_c (f2s), or of x with W's_c (s2f)."""
        if self.params.direction == "f2s":
            return normalize(self.embed(x), dim=1) @ normalize(classes.semantics, dim=1).T
        return normalize(x, dim=1) @ normalize(classes.semantics @ self.W, dim=1).T

    def factorize(self, view: TrainView) -> tuple[Tensor, ...]:
        """Returns eigenvalues a, e and eigenvectors P, U of SS' and XX', and P'SX'U; all in float64."""
        semantics = view.semantics.double()

        def products(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            s = semantics[y]
            return s.T @ s, x.T @ x, s.T @ x

        ss, xx, sx = view.sums(products)
        a, p = torch.linalg.eigh(ss)
        e, u = torch.linalg.eigh(xx)
        return a.clamp(min=0), p, e.clamp(min=0), u, p.T @ sx @ u

    def assemble(self, factors: tuple[Tensor, ...]) -> None:
        """Computes W."""
        a, p, e, u, middle = factors
        lam = self.params.lam * (a.mean() / e.mean() if self.params.relative else 1.0)
        divisor = a[:, None] + lam * e[None, :]
        # where both spectra vanish the equation leaves W free; the smallest W is 0 there
        solution = torch.where(divisor > divisor.max() * 1e-12, (1 + lam) * middle / divisor, 0.0)
        self.W.copy_(p @ solution @ u.T)
