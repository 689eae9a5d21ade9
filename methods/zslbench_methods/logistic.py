"""What DAP, IAP and CONSE share: logistic regression with an L2 penalty, solved to convergence.

Each step of its solver looks at all images, part by part, so their features need not fit in memory.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from zslbench import Params, TrainView, param

T = TypeVar("T")

MAX_STEPS = 2000
"""Far more than are needed: 20 to 250 on AWA1 as the penalty falls from 0.1 to 1e-4."""


class LogisticParams(Params):
    """Regularisation of the classifiers."""

    l2: float = param(1e-2, "weight of the L2 penalty on the classifiers", search=(1e-4, 1.0), log=True, gt=0)


class LBFGS(torch.optim.LBFGS):
    """PyTorch's, without the compiler that two of its methods would import: a second or two in each process."""

    add_param_group = inspect.unwrap(torch.optim.LBFGS.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.LBFGS.zero_grad)


def minimise(objective: Callable[[], Iterable[Tensor]], variables: list[Tensor], **options: Any) -> None:
    """Moves variables to where an objective of theirs is least, by L-BFGS with a strong Wolfe line search.

    The objective is a sum of terms, which are computed and differentiated one after another.
    """
    solver = LBFGS(variables, tolerance_grad=1e-6, line_search_fn="strong_wolfe", **options)

    def closure() -> Tensor:
        value = variables[0].new_zeros(())
        solver.zero_grad()
        for term in objective():
            for variable, gradient in zip(variables, torch.autograd.grad(term, variables), strict=True):
                variable.grad = gradient if variable.grad is None else variable.grad + gradient
            value += term.detach()
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]


def turned(view: TrainView, turn: Callable[[Tensor, Tensor], T]) -> Callable[[], Iterable[T]]:
    """Returns what gives `turn` of all images part by part, as often as wanted.

    Where all images are one part, it is computed once.

    Args:
        view: the training images.
        turn: a function of features `(n, D)` in float64 and classes `(n,)`.
    """

    def parts() -> Iterable[T]:
        return (turn(x.double(), y) for x, y in view.parts())

    if len(list(islice(view.parts(), 2))) > 1:
        return parts
    kept = list(parts())
    return lambda: kept


class LogisticRegression(nn.Module):
    """Logits z = Wx + b that minimise the mean over images of A(z) - t'z, plus l2/2 |W|^2; b is not penalised.

    t are the probabilities to be met and A is the log-partition function, whose gradient is the model's probabilities.
    Thanks to the mean a weight means the same for any number N of images; scikit-learn's C is 1 / (l2 N).
    """

    W: Tensor
    b: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("W", torch.zeros(outputs, features))
        self.register_buffer("b", torch.zeros(outputs))

    def logits(self, x: Tensor) -> Tensor:
        """Returns logits, `(B, D)` to `(B, K)`."""
        return x @ self.W.T + self.b

    def log_partition(self, z: Tensor) -> Tensor:
        """Returns A(z), `(B, K)` to `(B,)`."""
        raise NotImplementedError

    def fit(self, view: TrainView, targets: Tensor, l2: float) -> None:
        """Computes W and b, in float64.

        The solver works on the principal axes of x, in units of 1 / sqrt(curvature), the curvature taken where every
        image has the mean of the targets for probabilities. So neither scale nor correlations of features slow it down.

        Args:
            view: the images.
            targets: t of the images of each class, `(C, K)`.
            l2: weight of the penalty.
        """
        targets, images = targets.double(), len(view.y)
        total, met = view.sums(lambda x, y: (x.sum(dim=0), targets[y].sum(dim=0)))
        mean, share = total / images, (met / images).clamp(1e-6, 1 - 1e-6)
        variance, axes = torch.linalg.eigh(view.sums(lambda x, y: (_square(x - mean),))[0] / images)
        parts = turned(view, lambda x, y: ((x - mean) @ axes, targets[y]))
        curvature = share * (1 - share)
        unit_W, unit_b = (variance.clamp(min=0)[:, None] * curvature + l2).rsqrt(), curvature.rsqrt()
        steps_W = torch.zeros_like(unit_W, requires_grad=True)
        steps_b = (torch.logit(share) / unit_b).requires_grad_()

        def objective() -> Iterator[Tensor]:
            penalty = l2 / 2
            for x, t in parts():
                W = unit_W * steps_W
                z = torch.addmm(unit_b * steps_b, x, W)
                loss = (self.log_partition(z) - (t * z).sum(dim=1)).mean() * (len(x) / images)
                yield loss + penalty * W.square().sum()
                penalty = 0.0  # it is a term of the sum, once

        minimise(objective, [steps_W, steps_b], max_iter=MAX_STEPS, tolerance_change=1e-14, history_size=10)
        W = axes @ (unit_W * steps_W).detach()
        self.W.copy_(W.T)
        self.b.copy_((unit_b * steps_b).detach() - mean @ W)


def _square(x: Tensor) -> Tensor:
    return x.T @ x


class BinaryRegressions(LogisticRegression):
    """K regressions side by side, each of its own: the probabilities are `sigmoid(z)`."""

    def log_partition(self, z: Tensor) -> Tensor:
        """Returns the sum of log(1 + exp(z_k))."""
        return -logsigmoid(-z).sum(dim=1)


class SoftmaxRegression(LogisticRegression):
    """One regression over K classes: the probabilities are `softmax(z)`."""

    def log_partition(self, z: Tensor) -> Tensor:
        """Returns the log of the sum of exp(z_k)."""
        return torch.logsumexp(z, dim=1)

    def fit_classes(self, view: TrainView, l2: float) -> None:
        """Fits the classes of the images."""
        self.fit(view, torch.eye(len(self.b), device=view.device), l2)
