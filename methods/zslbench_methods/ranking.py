"""DeViSE, ALE and SJE: a bilinear compatibility F(x, c) = x'W s_c, trained by ranking; what LATEM shares with them."""

from __future__ import annotations

import math
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from zslbench import Batch, Embedder, GradientParams, ProblemShape, TrainView, param


class RankingParams(GradientParams):
    """Hyper-parameters of methods that rank the true class above the others by a margin."""

    epochs: int = param(20, "epochs", search=(2, 40), ge=1)
    batch_size: int = param(64, "images in a batch", ge=1)
    lr: float = param(
        5.0, "learning rate: margins that an epoch of Adam's steps wanders", search=(0.5, 50.0), log=True, gt=0
    )
    margin: float = param(1.0, "margin m between the true class and the others; all scores grow with it", gt=0)


P = TypeVar("P", bound=RankingParams)


class RankingEmbedder(Embedder[P]):
    """Whatever F is, training lowers the excess of wrong classes over the true one."""

    scales: ClassVar = ("zscore", "l2")
    basis: Tensor

    def violations(self, batch: Batch) -> Tensor:
        """Returns `[m + F(x, c) - F(x, y)]+` for each image and class, `(B, C)`; 0 for the true class."""
        scores = self.scores(batch.x, batch.classes)
        excess = self.params.margin + scores - scores.gather(1, batch.y[:, None])
        others = torch.ones_like(scores).scatter(1, batch.y[:, None], 0.0)
        return excess.clamp(min=0) * others

    def find_axes(self, view: TrainView) -> None:
        """Finds the axes in which W is learnt, `(A, A)`, one a column: those of `principal_axes`, then zeros.

        They are as long as the margin, so that the margin is but the unit of all scores, and shorter where an epoch
        has more steps: n steps in random directions lead sqrt(n) times as far as one. So one learning rate serves a
        thousand images with 64 features and 7 attributes as well as 20,000 with 2048 and 1024.
        """
        steps = math.ceil(len(view.x) / self.params.batch_size)
        axes = principal_axes(view) * self.params.margin / steps**0.5
        self.basis.zero_()
        self.basis[:, : axes.shape[1]] = axes.to(self.basis)


def principal_axes(view: TrainView) -> Tensor:
    """Returns the principal axes of the seen class embeddings, `(A, R)` float64, one a column, and all of one length.

    Embeddings of classes resemble each other, and Adam, which gives every coordinate a step of its own, advances poorly
    where coordinates go together. In principal axes they are uncorrelated: a bilinear form is the same in these
    coordinates, and better learnt.

    What a step does to scores depends on the sizes of features and embeddings, and on their units. So the axes are so
    long that a step of every weight by 1 moves the scores of an average image, one class against the others, by 1.

    Directions in which no seen embedding reaches have no axis: training says nothing of them, and Adam would blow up
    rounding errors there. An axis points to where the largest coordinate is positive.
    """
    s = view.semantics.double().cpu()  # on any machine the same
    _, lengths, axes = torch.linalg.svd(s, full_matrices=False)
    axes = axes[lengths > lengths.max() * max(s.shape) * torch.finfo(torch.float32).eps]
    along = axes @ s.T
    signs = along.gather(1, along.abs().argmax(dim=1, keepdim=True)).sign()
    differences = along - along.mean(dim=1, keepdim=True)
    image = torch.linalg.vector_norm(view.x, 1, dim=1).cpu().double().mean()
    step = differences.abs().sum(dim=0).mean() * image
    found: Tensor = (signs * axes).T / (float(step) if step > 0 else 1.0)
    return found


class BilinearEmbedder(RankingEmbedder[RankingParams]):
    """E(x) = W'x without bias, so that s . E(x) = x'W s, with W learnt in `principal_axes`."""

    version = 3
    scale: ClassVar = "zscore"
    W: nn.Linear

    def build(self, shape: ProblemShape) -> None:
        """Creates W = 0, from where ranking alone decides what it becomes, and the axes."""
        self.register_buffer("basis", torch.eye(shape.attributes))
        self.W = nn.Linear(shape.features, shape.attributes, bias=False)
        nn.init.zeros_(self.W.weight)

    def solve(self, view: TrainView) -> None:
        """Finds the axes."""
        self.find_axes(view)

    def embed(self, x: Tensor) -> Tensor:
        """Maps `(B, D)` to `(B, A)`."""
        embedding: Tensor = self.W(x) @ self.basis.T
        return embedding


class DeViSE(BilinearEmbedder):
    """Frome et al., NIPS 2013: minimises the sum over c != y of [m + F(x, c) - F(x, y)]+, Eq. (1)."""

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over the batch."""
        return self.violations(batch).sum(dim=1).mean()


class SJE(BilinearEmbedder):
    """Akata et al., CVPR 2015: minimises the maximum over c != y of [m + F(x, c) - F(x, y)]+, Eq. (3) and (4)."""

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over the batch; classes that violate equally share the gradient."""
        return self.violations(batch).amax(dim=1).mean()


class ALE(BilinearEmbedder):
    """Akata et al., CVPR 2013, TPAMI 2016: the weighted approximate ranking loss WARP (Weston et al., 2011).

    Wrong classes are drawn until the first violator, after i trials; it is weighted by its estimated rank: with
    r = floor((C - 1) / i) the weight is l_r = 1 + 1/2 + ... + 1/r (TPAMI 2016, Eq. 8 and 9).
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
        keys = torch.rand(images, classes, generator=batch.generator, device=violations.device)
        order = keys.scatter(1, batch.y[:, None], 2.0).argsort(dim=1)[:, :-1]  # the true class sorts last: dropped
        drawn = violations.gather(1, order)
        trial = (drawn > 0).float().argmax(dim=1)  # of the first violator; 0 without one, where its violation is 0 too
        rank = (classes - 1) // (trial + 1)
        return (self.harmonic[rank - 1] * drawn.gather(1, trial[:, None])[:, 0]).mean()
