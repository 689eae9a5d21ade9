"""SSE (Zhang & Saligrama, ICCV 2015): classes and images as mixtures of seen classes."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot, relu

from zslbench import Batch, ClassSet, Embedder, GradientParams, ProblemShape, TrainView, param
from zslbench_methods.simplex import mixtures

VALUES_AT_ONCE = 2**22
"""Transformed features held in memory at a time when many images are scored."""


class SSEParams(GradientParams):
    """How classes become mixtures, how features are transformed, and the weights of the objective."""

    epochs: int = param(5, "epochs", search=(1, 6), ge=1)
    batch_size: int = param(64, "images in a batch", ge=1)
    lr: float = param(3e-3, "learning rate", search=(1e-3, 1e-2), log=True, gt=0)
    transform: Literal["intersection", "relu"] = param("intersection", "phi_y(x): min(x, v_y) or max(0, x - v_y)")
    gamma: float = param(
        0.03, "penalty on mixtures; the larger, the more seen classes are in one", search=(1e-3, 0.5), log=True, gt=0
    )
    lambda1: float = param(1e-3, "weight of |v_y|^2", ge=0)
    lambda2: float = param(1000.0, "weight of the alignment of class means", search=(10.0, 1e4), log=True, ge=0)
    lambda3: float = param(1000.0, "weight of the ranking of each image", search=(10.0, 1e4), log=True, ge=0)


class SSE(Embedder[SSEParams]):
    """Scores f(x, c) = pi(x) . psi(s_c): the images' and the classes' likeness to each of the seen classes.

    As in the paper, psi(s) is the mixture of seen class embeddings closest to s, with a ridge penalty gamma, and
    pi_y(x) = w . phi_y(x), where phi_y compares the image with a learned v_y >= 0. With Delta(y, c) = 1 - cosine of
    s_y and s_c, w and v minimise |w|^2 / 2 + lambda1 / 2 sum_y |v_y|^2, plus hinges on these margins:

    - lambda2: the images of a class y have on average pi_y - pi_c >= Delta(y, c);
    - lambda3: an image of class y has f(x, y) - f(x, c) >= Delta(y, c).

    Not as in the paper: hinges are averaged over pairs and images instead of summed, so that the lambdas mean the same
    on any data set; class means are those of a mini-batch; w and v = |u| move together by gradient steps that start at
    the class means, instead of in turn by a linear SVM and by convex bounds.

    Since min(x, v) = x - max(0, x - v) and mixtures sum to 1, both transforms have one objective, up to the sign of w;
    they differ in where training starts.
    """

    scale: ClassVar = "minmax"
    seen: Tensor
    psi: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates w `(D,)`, all equal and small, and v `(S, D)`."""
        self.w = nn.Parameter(torch.full((shape.features,), 0.01))
        self.v = nn.Parameter(torch.zeros(shape.classes, shape.features))
        self.register_buffer("seen", torch.zeros(shape.classes, shape.attributes))
        self.register_buffer("psi", torch.zeros(shape.classes, shape.classes), persistent=False)

    def solve(self, view: TrainView) -> None:
        """Starts v at the class means, and embeds the seen classes."""
        totals, images = torch.zeros_like(self.v), self.v.new_zeros(len(self.v))
        for x, y in view.parts():
            members = one_hot(y, len(view.classes)).to(x.dtype)
            totals, images = totals + members.T @ x, images + members.sum(dim=0)
        self.v.data.copy_(relu(totals / images.clamp(min=1)[:, None]))
        self.seen.copy_(view.semantics)
        self.psi.copy_(mixtures(self.seen, self.seen, self.params.gamma))

    def proportions(self, x: Tensor) -> Tensor:
        """Returns pi of images `(B, D)`, `(B, S)`."""
        v = self.v.abs()
        if self.params.transform == "relu":
            return relu(x[:, None] - v) @ self.w
        return v @ self.w - relu(v - x[:, None]) @ self.w  # min(x, v) = v - max(0, v - x)

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns pi(x) . psi(s_c)."""
        psi = mixtures(classes.semantics, self.seen, self.params.gamma)
        rows = max(1, VALUES_AT_ONCE // self.v.numel())
        return torch.cat([self.proportions(part) @ psi.T for part in torch.split(x, rows)])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the four terms; the alignment is that of the classes in the batch."""
        p = self.params
        directions = normalize(batch.classes.semantics, dim=1)
        delta = (1 - directions @ directions.T).fill_diagonal_(0)
        members = one_hot(batch.y, len(delta)).to(batch.x.dtype)
        images = members.sum(dim=0)

        pi = self.proportions(batch.x)
        means = members.T @ pi / images.clamp(min=1)[:, None]
        alignment = relu(delta + means - means.diagonal()[:, None]).mean(dim=1)
        f = pi @ self.psi.T
        ranking = relu(delta[batch.y] + f - f.gather(1, batch.y[:, None])).mean(dim=1)
        present = (images > 0).to(alignment.dtype)
        return {
            "w": self.w.square().sum() / 2,
            "v": p.lambda1 / 2 * self.v.square().sum(),
            "alignment": p.lambda2 * (alignment * present).sum() / present.sum(),
            "ranking": p.lambda3 * ranking.mean(),
        }
