"""Loss terms that several methods share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, generator: torch.Generator
) -> Tensor:
    """Returns the mean of (|slope| - 1)^2 of a critic, at a random point between each real and fake row.

    Gulrajani et al.: Improved training of Wasserstein GANs. NIPS 2017, Eq. (3), without its weight.

    Args:
        critic: maps `(B, D)` to `(B, 1)`, each row for itself; what it is conditioned on is bound beforehand.
        real: `(B, D)`, without gradient.
        fake: `(B, D)`, without gradient.
        generator: draws the points.
    """
    mix = torch.rand(len(real), 1, generator=generator, device=real.device)
    between = (mix * real + (1 - mix) * fake).requires_grad_()
    slope = torch.autograd.grad(critic(between).sum(), between, create_graph=True)[0]
    penalty: Tensor = (slope.norm(dim=1) - 1).square().mean()
    return penalty
