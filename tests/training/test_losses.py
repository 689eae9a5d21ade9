"""The gradient penalty of a Wasserstein critic, against slopes that are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zslbench import gradient_penalty


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_linear_critic_pays_for_the_distance_of_its_slope_from_one() -> None:
    weight = torch.tensor([[1.0], [2.0], [2.0]])  # its norm is 3 everywhere
    penalty = gradient_penalty(lambda x: x @ weight, torch.randn(5, 3), torch.randn(5, 3), generator())
    assert penalty.item() == pytest.approx(4.0, rel=1e-6)


def test_the_slope_is_taken_at_a_random_point_between_each_pair() -> None:
    """D(x) = |x|^2 / 2 has the slope x itself, so that each row's penalty tells where it was taken."""
    real, fake = torch.zeros(4000, 1), torch.full((4000, 1), 2.0)
    penalty = gradient_penalty(lambda x: x.square() / 2, real, fake, generator())
    # x is uniform in [0, 2], and the mean of (x - 1)^2 is 1/3 with a standard error of 0.3 / sqrt(4000)
    assert penalty.item() == pytest.approx(1 / 3, abs=0.02)
    constant = gradient_penalty(lambda x: x.square() / 2, fake, fake, generator())
    assert constant.item() == pytest.approx(1.0, rel=1e-5)


def test_only_the_generator_decides_the_points() -> None:
    real, fake = torch.randn(6, 3), torch.randn(6, 3)

    def once(seed: int) -> float:
        torch.rand(3)
        return gradient_penalty(lambda x: x.square().sum(dim=1, keepdim=True), real, fake, generator(seed)).item()

    assert once(1) == once(1) != once(2)


def test_it_trains_the_critic_as_finite_differences_say() -> None:
    critic = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    real, fake = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)

    def penalty() -> Tensor:
        return gradient_penalty(critic, real, fake, generator())

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
