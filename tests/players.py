"""Small methods of each kind, for tests of the trainer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zslbench.api.embedder import Batch, Embedder, GradientParams, Objective, Stage
from zslbench.api.params import param
from zslbench.api.views import ProblemShape, TrainView


class Plain(Embedder[GradientParams]):
    """A network with dropout, trained by regression and a ranking term with random negatives."""

    def build(self, shape: ProblemShape) -> None:
        self.net = nn.Sequential(
            nn.Linear(shape.features, 12), nn.ReLU(), nn.Dropout(0.4), nn.Linear(12, shape.attributes)
        )

    def embed(self, x: Tensor) -> Tensor:
        return self.net(x)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        embedding = self.net(batch.x)
        other = torch.randint(len(batch.classes), batch.y.shape, generator=batch.generator)
        wrong = batch.classes.semantics[other]
        ranking = (0.1 + (embedding * (wrong - batch.s)).sum(dim=1)).clamp(min=0).mean()
        return {"square": (embedding - batch.s).square().mean(), "ranking": ranking}


class PairParams(GradientParams):
    two_stage: bool = param(False, "train the second network before the first")


class Pair(Embedder[PairParams]):
    """Two networks and a critic between them: joint, or in two stages."""

    def build(self, shape: ProblemShape) -> None:
        self.first = nn.Sequential(nn.Dropout(0.3), nn.Linear(shape.features, shape.attributes))
        self.second = nn.Linear(shape.features, shape.attributes)
        self.critic = nn.Sequential(nn.Linear(shape.attributes, 6), nn.ReLU(), nn.Linear(6, 1))
        self.untouched = nn.Linear(2, 2)

    def embed(self, x: Tensor) -> Tensor:
        return self.first(x)

    def first_loss(self, batch: Batch) -> dict[str, Tensor]:
        embedding = self.first(batch.x)
        return {"square": (embedding - batch.s).square().mean(), "adv": -0.1 * self.critic(embedding).mean()}

    def second_loss(self, batch: Batch) -> Tensor:
        return (self.second(batch.x) - batch.s).square().mean()

    def critic_loss(self, batch: Batch) -> Tensor:
        distance = self.critic(self.first(batch.x)).mean() - self.critic(self.second(batch.x)).mean()
        return distance + 0.1 * self.critic[0].weight.square().sum()

    def stages(self) -> list[Stage]:
        critic = Objective("critic", self.critic_loss, self.critic.parameters(), steps=3, lr=0.02)
        second = Objective("second", self.second_loss, self.second.parameters())
        first = Objective("first", self.first_loss, self.first.parameters())
        if self.params.two_stage:
            main = Stage("first", [critic, first], self.params.epochs, plateau="first/square")
            return [Stage("second", [second], 3), main]
        return [Stage("joint", [critic, second, first], self.params.epochs, plateau="second")]


class Closed(Embedder[GradientParams]):
    """A closed form that is only a sum."""

    W: Tensor

    def build(self, shape: ProblemShape) -> None:
        self.register_buffer("W", torch.zeros(shape.features, shape.attributes))

    def embed(self, x: Tensor) -> Tensor:
        return x @ self.W

    def solve(self, view: TrainView) -> None:
        self.W.copy_(view.x.T @ view.semantics[view.y])


class Slope(Embedder[GradientParams]):
    """Two variables under a loss that stays 1 while its gradient stays (3, 4) and 12: a step shows the rate."""

    def build(self, shape: ProblemShape) -> None:
        self.a, self.b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))

    def embed(self, x: Tensor) -> Tensor:
        return x

    def loss(self, batch: Batch) -> Tensor:
        slope = (self.a * torch.tensor([3.0, 4.0])).sum() + 12 * self.b.sum()
        return 1 + slope - slope.detach()
