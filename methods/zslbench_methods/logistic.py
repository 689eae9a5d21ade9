"""What DAP, IAP and CONSE share: logistic regression with an L2 penalty, solved to convergence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, one_hot

from zslbench import Params, param

MAX_STEPS = 2000
"""Far more than are needed: 20 to 250 on AWA1 as the penalty falls from 0.1 to 1e-4."""


class LogisticParams(Params):
    """Regularisation of the classifiers."""

    l2: float = param(1e-2, "weight of the L2 penalty on the classifiers", search=(1e-4, 1.0), log=True, gt=0)


def minimise(objective: Callable[[], Tensor], variables: list[Tensor], **options: Any) -> None:
    """Moves variables to where an objective of theirs is least, by L-BFGS with a strong Wolfe line search."""
    solver = torch.optim.LBFGS(variables, tolerance_grad=1e-6, line_search_fn="strong_wolfe", **options)

    def closure() -> Tensor:
        value = objective()
        for variable, gradient in zip(variables, torch.autograd.grad(value, variables), strict=True):
            variable.grad = gradient
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]


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

    def fit(self, x: Tensor, targets: Tensor, l2: float) -> None:
        """Computes W and b, in float64.

        The solver works on the principal axes of x, in units of 1 / sqrt(curvature), the curvature taken where every
        image has the mean of the targets for probabilities. So neither scale nor correlations of features slow it down.

        Args:
            x: `(N, D)`.
            targets: t of each image, `(N, K)`.
            l2: weight of the penalty.
        """
        x, targets = x.double(), targets.double()
        mean, share = x.mean(dim=0), targets.mean(dim=0).clamp(1e-6, 1 - 1e-6)
        variance, axes = torch.linalg.eigh(torch.cov(x.T, correction=0))
        x = (x - mean) @ axes
        curvature = share * (1 - share)
        unit_W, unit_b = (variance.clamp(min=0)[:, None] * curvature + l2).rsqrt(), curvature.rsqrt()
        steps_W = torch.zeros_like(unit_W, requires_grad=True)
        steps_b = (torch.logit(share) / unit_b).requires_grad_()

        def objective() -> Tensor:
            W = unit_W * steps_W
            z = torch.addmm(unit_b * steps_b, x, W)
            loss: Tensor = (self.log_partition(z) - (targets * z).sum(dim=1)).mean() + l2 / 2 * W.square().sum()
            return loss

        minimise(objective, [steps_W, steps_b], max_iter=MAX_STEPS, tolerance_change=1e-14, history_size=10)
        W = axes @ (unit_W * steps_W).detach()
        self.W.copy_(W.T)
        self.b.copy_((unit_b * steps_b).detach() - mean @ W)


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

    def fit_classes(self, x: Tensor, y: Tensor, l2: float) -> None:
        """Fits the classes y of the images, `(N,)`."""
        self.fit(x, one_hot(y, len(self.b)), l2)
