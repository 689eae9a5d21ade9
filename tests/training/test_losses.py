"""The gradient penalty of a Wasserstein critic, against slopes that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zslbench import gradient_penalty


def between(rows: int) -> Tensor:
    return torch.rand(rows, 1, generator=torch.Generator().manual_seed(0))


def test_a_linear_critic_pays_for_the_distance_of_its_slope_from_one() -> None:
    weight = torch.tensor([[1.0], [2.0], [2.0]])  # its norm is 3 everywhere
    penalty = gradient_penalty(lambda x: x @ weight, torch.randn(5, 3), torch.randn(5, 3), between(5))
    assert penalty.item() == pytest.approx(4.0, rel=1e-6)


def test_the_slope_is_taken_at_the_given_point_between_each_pair() -> None:
    """D(x) = |x|^2 / 2 has the slope x itself, so that each row's penalty tells where it was taken."""
    real, fake = torch.full((2, 1), 5.0), torch.full((2, 1), 2.0)
    penalty = gradient_penalty(lambda x: x.square() / 2, real, fake, torch.tensor([[0.0], [0.5]]))
    assert penalty.item() == pytest.approx(((2 - 1) ** 2 + (3.5 - 1) ** 2) / 2)


def test_it_trains_the_critic_as_finite_differences_say() -> None:
    critic = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    real, fake = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)

    def penalty() -> Tensor:
        return gradient_penalty(critic, real, fake, between(6))

    weight = critic[0].weight
    [slope] = torch.autograd.grad(penalty(), weight)
    step = 1e-5
    with torch.no_grad():
        weight[1, 2] += step
    above = penalty().item()
    with torch.no_grad():
        weight[1, 2] -= 2 * step
    below = penalty().item()
    assert float(slope[1, 2]) == pytest.approx((above - below) / (2 * step), rel=1e-5)
