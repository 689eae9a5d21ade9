"""Loss terms that several methods share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, between: Tensor) -> Tensor:
    """Returns the mean of (|slope| - 1)^2 of a critic, at a random point between each pair of real and fake rows.

    Gulrajani et al.: Improved training of Wasserstein GANs. NIPS 2017, Eq. (3), without its weight.

    Args:
        critic: maps `(B, D)` to `(B, 1)`, each row on its own; bind what it is conditioned on beforehand.
        real: real rows, `(B, D)`, without gradient.
        fake: generated rows, likewise.
        between: position of each row's point, from 0 (fake) to 1 (real), `(B, 1)`: `batch.rand(1)`.
    """
    point = between * real + (1 - between) * fake
    try:
        point.requires_grad_()
    except RuntimeError:  # several models are computed as one, under `torch.vmap`
        slope = torch.func.grad(lambda x: critic(x).sum())(point)
    else:
        slope = torch.autograd.grad(critic(point).sum(), point, create_graph=True)[0]
    penalty: Tensor = (slope.norm(dim=1) - 1).square().mean()
    return penalty
