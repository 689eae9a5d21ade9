"""The shared pieces against formulas written out, other libraries, and slopes that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch.distributions import Normal, kl_divergence
from zslbench_generative.cada_vae import wasserstein
from zslbench_generative.networks import Critic, Generator, Standard, absolute_error, divergence, draw, perceptron


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_standardised_rows_have_no_mean_and_a_mean_variance_of_one_and_keep_their_proportions() -> None:
    x = random(200, 3) * torch.tensor([1.0, 2.0, 4.0]) + 5
    standard = Standard(3)
    standard.fit(x)
    result = standard(x).numpy()
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-5)
    assert result.var(axis=0).mean() == pytest.approx(1.0, rel=1e-5)
    np.testing.assert_allclose(
        result.std(axis=0) / result[:, 0].std(), x.numpy().std(axis=0) / x[:, 0].numpy().std(), rtol=1e-4
    )


def test_what_was_not_fitted_or_is_constant_is_not_divided() -> None:
    standard = Standard(2)
    assert torch.equal(standard(torch.tensor([[3.0, 4.0]])), torch.tensor([[3.0, 4.0]]))
    standard.fit(torch.full((5, 2), 7.0))
    assert torch.equal(standard(torch.tensor([[8.0, 7.0]])), torch.tensor([[1.0, 0.0]]))


def test_networks_have_one_hidden_layer_and_start_small() -> None:
    network = perceptron(7, 50, 3)
    assert sum(parameter.numel() for parameter in network.parameters()) == 7 * 50 + 50 + 50 * 3 + 3
    assert network[0].weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert network[0].bias.abs().max().item() == network[2].bias.abs().max().item() == 0
    generator = Generator(4 + 3, 50, 9)
    assert sum(parameter.numel() for parameter in generator.parameters()) == 7 * 50 + 50 + 50 * 9 + 9
    assert sum(parameter.numel() for parameter in Critic(9, 3, 50).parameters()) == 12 * 50 + 50 + 50 + 1


def test_feedback_is_added_to_the_generators_hidden_layer() -> None:
    generator, z, s, feedback = Generator(4 + 3, 5, 2), random(6, 4), random(6, 3), random(6, 5)
    weight, bias = generator.first.weight, generator.first.bias
    for given in (None, feedback):
        rows = []
        for row in range(6):
            hidden = weight @ torch.cat([z[row], s[row]]) + bias
            hidden = torch.where(hidden > 0, hidden, 0.2 * hidden) + (0 if given is None else given[row])
            rows.append(generator.second.weight @ hidden + generator.second.bias)
        torch.testing.assert_close(generator(z, s, given), torch.stack(rows))


def test_the_critics_loss_is_its_mean_over_the_sets_of_fakes() -> None:
    """D(x, s) = w . (x, s): its slope is the norm of the features' part of w."""
    critic = Critic(2, 1, 4)
    critic.network = torch.nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        critic.network.weight.copy_(torch.tensor([[3.0, 4.0, 100.0]]))
    real, s = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0], [5.0]])
    fakes = [torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[2.0, 2.0], [0.0, 1.0]])]
    losses = critic.loss(real, fakes, s, 10.0, torch.Generator())
    # without what the embeddings add to both: fakes 0, 0 and 14, 4; real 3, 4
    assert losses["distance"].item() == pytest.approx((0 + 0 + 14 + 4) / 4 - (3 + 4) / 2, rel=1e-5)
    assert losses["penalty"].item() == pytest.approx(10 * (5 - 1) ** 2, rel=1e-5)


def test_the_divergence_is_that_of_normal_distributions() -> None:
    mean, log_variance = random(6, 4), random(6, 3 + 1) / 2
    expected = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(dim=1).mean()
    torch.testing.assert_close(divergence(mean, log_variance), expected)


def test_codes_are_drawn_with_their_mean_and_variance() -> None:
    mean, variance = torch.tensor([1.0, -2.0]), torch.tensor([0.25, 4.0])
    drawn = draw(mean.expand(20000, 2), variance.log().expand(20000, 2), torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.mean(dim=0), mean, atol=0.06, rtol=0)  # 4 standard errors of the wider one
    torch.testing.assert_close(drawn.var(dim=0), variance, rtol=0.05, atol=0)


def test_the_wasserstein_distance_is_that_of_gaussians_with_full_covariances() -> None:
    """Dowson and Landau, 1982: |m - n|^2 + tr(P + Q - 2 (P^1/2 Q P^1/2)^1/2)."""
    m, n, p, q = (random(5, 3), random(5, 4)[:, :3], random(5, 5)[:, :3] / 2, random(5, 6)[:, :3] / 2)
    expected = []
    for row in range(5):
        P, Q = np.diag(p[row].exp().double().numpy()), np.diag(q[row].exp().double().numpy())
        root = sqrtm(P)
        squared = (m[row] - n[row]).square().sum().item() + np.trace(P + Q - 2 * sqrtm(root @ Q @ root))
        expected.append(np.sqrt(squared))
    assert wasserstein((m, p), (n, q)).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_equal_codes_are_no_distance_apart_and_have_a_finite_slope() -> None:
    m, p = random(3, 2).requires_grad_(), random(3, 4)[:, :2]
    distance = wasserstein((m, p), (m.detach(), p))
    assert distance.item() < 1e-5
    assert torch.isfinite(torch.autograd.grad(distance, m)[0]).all()


def test_the_absolute_error_is_summed_over_dimensions_and_averaged_over_rows() -> None:
    assert (
        absolute_error(torch.tensor([[1.0, -2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.5, 0.0]])).item() == 1.75
    )
