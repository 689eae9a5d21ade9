"""SYNC (Changpinyo et al., CVPR 2016): classifiers of all classes are synthesised from those of phantom classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from zslbench import ClassSet, Embedder, Params, ProblemShape, TrainView, param
from zslbench_methods.logistic import minimise, turned


class SYNCParams(Params):
    """How the seen classes' classifiers are trained, and how far class embeddings are similar."""

    loss: Literal["one-vs-other", "struct"] = param(
        "struct", "loss of the seen classes' classifiers", search=["one-vs-other", "struct"]
    )
    lam: float = param(2.0**-12, "weight of the penalty, lambda", search=(2.0**-30, 2.0**-8), log=True, gt=0)
    similarity: float = param(
        0.5, "factor of the squared distance of class embeddings", search=(2.0**-5, 2.0**5), log=True, gt=0
    )
    iterations: int = param(100, "most iterations of L-BFGS", ge=1)


class SYNC(Embedder[SYNCParams]):
    """w_c = sum over r of s_cr v_r, where s_cr is the similarity of class c with phantom class r, Eq. (2).

    Phantom classes are the seen ones, and the penalty is on the synthesised W = Sim V, not on V. So the best V is the
    one that gives the W which minimises

        mean over images of the loss + lambda / 2 |W|^2,

    a convex problem without Sim. It is solved for W, then Sim V = W for V by least squares: seen classes keep their W,
    unless Sim is singular, as it is where two classes have one embedding. The paper sums over the N images: its lambda
    is N times this one. The released code takes means as here, but of one-vs-other also over the C classes: there, its
    lambda is a C-th of this one.

    One-vs-other converges within 100 iterations. Struct does not quite: on the validation classes of 50 classes of CUB
    (EfficientNet-Lite0 features), 400 iterations raise AUSUC from 58.3 to 59.0, at four times the price. Neither a wide
    width of the maximum that shrinks in steps nor fewer iterations before it lower the objective any further.
    """

    deterministic = True
    scale: ClassVar = "l2"
    phantoms: Tensor
    V: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates embeddings `(R, A)` and classifiers V `(R, D)` of the phantom classes.

        V is float64, because wide similarities make it a small difference of large numbers.
        """
        self.register_buffer("phantoms", torch.zeros(shape.classes, shape.attributes))
        self.register_buffer("V", torch.zeros(shape.classes, shape.features, dtype=torch.float64))

    def similarities(self, semantics: Tensor) -> Tensor:
        """Returns s_cr for classes with these embeddings, `(C, R)` float64; each row sums to 1."""
        return torch.softmax(-self.params.similarity * squared_distances(semantics, self.phantoms), dim=1)

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns w_c . x, `(B, C)`."""
        weights = self.similarities(classes.semantics) @ self.V
        return x @ weights.to(x.dtype).T

    def solve(self, view: TrainView) -> None:
        """Computes W, then V by a pseudoinverse, which gives nothing to directions in which Sim all but vanishes."""
        self.phantoms.copy_(view.semantics)
        self.V.copy_(torch.linalg.pinv(self.similarities(view.semantics), rtol=1e-10) @ self.classifiers(view))

    def classifiers(self, view: TrainView) -> Tensor:
        """Returns W of the seen classes, `(C, D)` float64, by L-BFGS.

        It works along the principal axes of the features, rescaled to a second moment of about 1: where lambda is
        small, it would otherwise need many times as many iterations.
        """
        lam, images = self.params.lam, len(view.y)
        moments, axes = torch.linalg.eigh(view.sums(lambda x, y: (x.T @ x,))[0] / images)
        divisors = (moments.clamp(min=0) + lam).sqrt()
        axes = axes / divisors
        penalty, loss = lam / 2 / divisors.square(), self.mean_loss(view)
        parts = turned(view, lambda x, y: (x @ axes, loss(y)))
        U = torch.zeros(len(penalty), len(view.classes), dtype=axes.dtype, device=axes.device, requires_grad=True)

        def objective() -> Iterator[Tensor]:
            weight = 1.0
            for z, part in parts():
                yield part(z @ U) * (len(z) / images) + weight * (penalty @ U.square().sum(dim=1))
                weight = 0.0  # the penalty is a term of the sum, once

        minimise(
            objective,
            [U],
            max_iter=self.params.iterations,
            tolerance_change=1e-12,
            history_size=20,
        )
        W: Tensor = axes @ U.detach()
        return W.T

    def mean_loss(self, view: TrainView) -> Callable[[Tensor], Callable[[Tensor], Tensor]]:
        """Returns the mean loss over images of given classes, `(n,)`, as a function of their scores w_c . x, `(n, C)`.

        One-vs-other: the sum over c of [1 - w_c . x]+^2 for the true class and [1 + w_c . x]+^2 for the others.
        Struct: [max over c of |a_c - a_y|^2 + w_c . x - w_y . x]+^2, Crammer and Singer's loss with the classes'
        distance as margin (the released code squares neither hinge nor distance). The maximum is smoothed, by a
        hundredth of the mean margin: where classes tie, its gradient jumps and L-BFGS would get stuck.
        """
        if self.params.loss == "one-vs-other":
            return partial(one_vs_other, len(view.classes))
        distances = squared_distances(view.semantics, view.semantics)
        means = [distances[y].mean() * (len(y) / len(view.y)) for _, y in view.parts()]
        return partial(struct, distances, 0.01 * torch.stack(means).sum())


def one_vs_other(classes: int, y: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns the mean one-vs-other loss of images of classes `y` as a function of their scores; see `SYNC`."""
    signs = 2.0 * one_hot(y, classes).double() - 1.0
    return lambda scores: (1 - signs * scores).clamp(min=0).square().sum(dim=1).mean()


def struct(distances: Tensor, width: Tensor, y: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns the mean struct loss of images of classes `y` as a function of their scores; see `SYNC`."""
    margins, y = distances[y], y[:, None]
    # c = y counts too, with 0, so that there is nothing negative to clamp
    return lambda scores: smooth_maximum(margins + scores - scores.gather(1, y), width).square().mean()


def smooth_maximum(values: Tensor, width: Tensor) -> Tensor:
    """Returns width * log(sum of exp(value / width)) of each row, which is at most width * log(columns) too much."""
    top = values.detach().amax(dim=1, keepdim=True)
    gaps = ((values - top) / width).clamp(min=-40)  # smaller ones add nothing, but CPUs are slow with such numbers
    return top[:, 0] + width * gaps.exp().sum(dim=1).log()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Returns |a_i - b_j|^2, `(I, J)` float64, without the rounding of |a|^2 - 2ab + |b|^2."""
    return torch.cdist(a.double(), b.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
