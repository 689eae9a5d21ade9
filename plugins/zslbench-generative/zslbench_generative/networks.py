"""Pieces that the methods share: networks with one hidden layer, a conditional critic, and Gaussian codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from zslbench import gradient_penalty

VALUES_AT_ONCE = 2**26
"""Features that are computed with at a time, as they may be on disk."""
SLOPE = 0.2
"""Of every leaky ReLU in the adversarial methods."""


class Standard(nn.Module):
    """Subtracts the mean of each dimension and divides by one number for all, so that their mean variance is 1."""

    shift: Tensor
    divisor: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("divisor", torch.ones(()))

    def fit(self, x: Tensor) -> None:
        """Learns mean and divisor from `(N, width)`; before, and where all rows are alike, nothing is divided."""
        self.shift.copy_(x.mean(dim=0))
        rows = max(1, VALUES_AT_ONCE // x.shape[1])
        squares = [
            (part.to(self.shift.device) - self.shift).square().mean() * (len(part) / len(x))
            for part in torch.split(x, rows)
        ]
        spread = torch.stack(squares).sum().sqrt()
        self.divisor.copy_(torch.where(spread > 0, spread, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, width)` to `(B, width)`."""
        return (x - self.shift) / self.divisor


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Returns a network with one hidden layer of leaky ReLU; weights begin as N(0, 0.02^2), biases as 0."""
    network = nn.Sequential(nn.Linear(inputs, hidden), nn.LeakyReLU(SLOPE), nn.Linear(hidden, outputs))
    _begin_small(network)
    return network


class Generator(nn.Module):
    """A perceptron whose hidden layer takes feedback; its outputs are features or their logits."""

    def __init__(self, inputs: int, hidden: int, features: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(inputs, hidden), nn.Linear(hidden, features)
        _begin_small(self)

    def forward(self, z: Tensor, semantics: Tensor, feedback: Tensor | None = None) -> Tensor:
        """Maps codes `(B, Z)` and class embeddings `(B, A)` to `(B, D)`; feedback is `(B, hidden)`."""
        hidden = leaky_relu(self.first(torch.cat([z, semantics], dim=1)), SLOPE)
        logits: Tensor = self.second(hidden if feedback is None else hidden + feedback)
        return logits


class Critic(nn.Module):
    """A Wasserstein critic of features, given the class embedding (Gulrajani et al., NIPS 2017)."""

    def __init__(self, features: int, attributes: int, hidden: int) -> None:
        super().__init__()
        self.network = perceptron(features + attributes, hidden, 1)

    def forward(self, x: Tensor, semantics: Tensor) -> Tensor:
        """Maps features `(B, D)` and class embeddings `(B, A)` to `(B, 1)`."""
        judged: Tensor = self.network(torch.cat([x, semantics], dim=1))
        return judged

    def loss(
        self, real: Tensor, fakes: Sequence[Tensor], semantics: Tensor, weight: float, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Returns the critic's loss, the mean over several sets of fakes, each `(B, D)` and without gradient.

        Args:
            real: `(B, D)`.
            fakes: what it is to be told from.
            semantics: class embedding of each row, `(B, A)`.
            weight: that of the gradient penalty.
            generator: draws the points of the penalty.
        """
        judged = torch.stack([self(fake, semantics) for fake in fakes])
        between = [torch.rand(len(real), 1, generator=generator, device=real.device) for _ in fakes]
        pairs = zip(fakes, between, strict=True)
        penalties = [gradient_penalty(lambda x: self(x, semantics), real, fake, where) for fake, where in pairs]
        return {
            "distance": judged.mean() - self(real, semantics).mean(),
            "penalty": weight * torch.stack(penalties).mean(),
        }


def noise(semantics: Tensor, generator: torch.Generator) -> Tensor:
    """Draws standard normal noise, as wide as class embeddings, `(B, A)`."""
    return torch.randn(semantics.shape, generator=generator, device=semantics.device)


def code(encoded: Tensor) -> tuple[Tensor, Tensor]:
    """Splits an encoder's output `(B, 2Z)` into mean and logarithm of the variance of a Gaussian code."""
    mean, log_variance = encoded.chunk(2, dim=1)
    return mean, log_variance


def draw(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """Draws from Gaussian codes by the reparameterisation trick, `(B, Z)`."""
    return mean + (log_variance / 2).exp() * torch.randn(mean.shape, generator=generator, device=mean.device)


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Returns KL(N(mean, variance) || N(0, 1)), summed over the code and averaged over the batch."""
    return (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1).mean() / 2


def absolute_error(estimate: Tensor, truth: Tensor) -> Tensor:
    """Returns the L1 error, summed over dimensions and averaged over the batch."""
    return (estimate - truth).abs().sum(dim=1).mean()


def _begin_small(network: nn.Module) -> None:
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
