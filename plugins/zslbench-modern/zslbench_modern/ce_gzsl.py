"""CE-GZSL (Han et al., CVPR 2021): a generator of features, and an embedding that contrasts images and classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, leaky_relu, normalize
from zslbench_generative.networks import SLOPE, Critic, noise, perceptron
from zslbench_generative.softmax import Generative, GenerativeParams

from zslbench import Batch, Objective, ProblemShape, Stage, param


class CEGZSLParams(GenerativeParams):
    """Sizes, weights and temperatures; noise is as wide as a class embedding."""

    epochs: int = param(10, "epochs of critic and generator", search=(2, 20), ge=1)
    batch_size: int = param(256, "images in a batch, which are contrasted with each other", ge=2)
    lr: float = param(3e-4, "learning rate", search=(1e-4, 1e-3), log=True, gt=0)
    beta1: float = param(0.5, "first Adam coefficient", ge=0, lt=1)
    hidden: int = param(512, "width of the hidden layers of generator and critic", ge=1)
    comparator: int = param(128, "width of the hidden layer of the comparator F, which sees images times classes", ge=1)
    embedding: int = param(512, "size of the embedding h, which the softmax works on", ge=1)
    projection: int = param(128, "size of the projection z, in which images are contrasted", ge=1)
    critic_steps: int = param(5, "steps of critic and embedding for each of the generator", ge=1)
    gradient_penalty: float = param(10.0, "weight of the critic's gradient penalty, lambda", ge=0)
    instances: float = param(
        1.0, "weight of the contrast of images in the generator's loss", search=(0.01, 10.0), log=True, ge=0
    )
    classes: float = param(
        1.0, "weight of the contrast of classes in the generator's loss", search=(0.01, 10.0), log=True, ge=0
    )
    contrast: float = param(1.0, "weight of the contrast of images in the embedding's loss; 0 leaves it out", ge=0)
    comparison: float = param(1.0, "weight of the contrast of classes in the embedding's loss; 0 leaves it out", ge=0)
    temperature: float = param(0.1, "of both contrasts, tau", search=[0.03, 0.1, 0.3], gt=0)


class Comparator(nn.Module):
    """F(h, s): how well an embedded image fits a class, by one hidden layer of leaky ReLU on both together."""

    def __init__(self, embedding: int, attributes: int, hidden: int) -> None:
        super().__init__()
        network = perceptron(embedding + attributes, hidden, 1)  # for its initial weights
        joint, self.second = network[0], network[2]
        self.image = nn.Linear(embedding, hidden)
        self.semantic = nn.Linear(attributes, hidden, bias=False)
        with torch.no_grad():
            self.image.weight.copy_(joint.weight[:, :embedding])
            self.image.bias.copy_(joint.bias)
            self.semantic.weight.copy_(joint.weight[:, embedding:])

    def forward(self, h: Tensor, semantics: Tensor) -> Tensor:
        """Compares each image `(B, H)` with each class `(C, A)`, `(B, C)`."""
        hidden = leaky_relu(self.image(h)[:, None] + self.semantic(semantics)[None], SLOPE)
        compared: Tensor = self.second(hidden).squeeze(2)
        return compared


class CEGZSL(Generative[CEGZSLParams]):
    """G(z, s) makes features, D(x, s) tells them from real ones, and E(x) = h is contrasted on two levels.

    Images: H(h), of length 1, is near those of its class and far from others, Eq. (5). Classes: the comparator F(h, s)
    is highest for the own class among seen ones, Eq. (8). D, E, H and F learn from real features, G from what all of
    them say of its own; the softmax works on h. As in the public code, all images of the own class in the batch count
    as positive, where Eq. (5) draws one.
    """

    def build(self, shape: ProblemShape) -> None:
        """Creates G: `(B, 2A) -> (B, D)`, D, E: `(B, D) -> (B, H)`, H: `(B, H) -> (B, Z)`, F, and the softmax."""
        super().build(shape)
        p, d, a = self.params, shape.features, shape.attributes
        self.G = perceptron(2 * a, p.hidden, d)
        if not p.standardise:
            self.G.append(nn.ReLU())
        self.D = Critic(d, a, p.hidden)
        self.E = nn.Linear(d, p.embedding)
        self.H = nn.Linear(p.embedding, p.projection)
        self.F = Comparator(p.embedding, a, p.comparator)
        self.softmax = nn.Linear(p.embedding, shape.classes)

    def stages(self) -> list[Stage]:
        """Returns the game of critic and embedding against the generator, and the softmax."""
        learners = [parameter for network in (self.D, self.E, self.H, self.F) for parameter in network.parameters()]
        critic = Objective("critic", self.critic_loss, learners, steps=self.params.critic_steps)
        generator = Objective("generator", self.generator_loss, self.G.parameters())
        return [
            Stage("generator", [critic, generator], self.params.epochs, plateau="critic/classes"),
            self.finishing(),
        ]

    def critic_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns D's side of Eq. (9), and both contrasts of real features."""
        p, (x, s) = self.params, self.inputs(batch)
        with torch.no_grad():
            fake = self.generate(s, batch.generator)
        h = self.embedded(x)
        return {
            **self.D.loss(x, [fake], s, p.gradient_penalty, batch.generator),
            "instances": p.contrast * instance_loss(self.projected(h), batch.y, p.temperature),
            "classes": p.comparison * self.class_loss(h, batch),
        }

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns G's side of Eq. (9), and both contrasts of what it makes, with real images beside it."""
        p, (x, s) = self.params, self.inputs(batch)
        fake = self.generate(s, batch.generator)
        h = self.embedded(fake)
        z = torch.cat([self.projected(h), self.projected(self.embedded(x)).detach()])
        return {
            "adv": -self.D(fake, s).mean(),
            "instances": p.instances * instance_loss(z, torch.cat([batch.y, batch.y]), p.temperature),
            "classes": p.classes * self.class_loss(h, batch),
        }

    def class_loss(self, h: Tensor, batch: Batch) -> Tensor:
        """Returns the cross-entropy of softmax(F(h, s) / tau) over the seen classes, Eq. (8); h is `(B, H)`."""
        compared = self.F(h, self.semantic(batch.classes.semantics)) / self.params.temperature
        return cross_entropy(compared.masked_fill(~batch.classes.seen, -torch.inf), batch.y)

    def embedded(self, x: Tensor) -> Tensor:
        """Returns h = E(x), `(B, D)` to `(B, H)`."""
        return torch.relu(self.E(x))

    def projected(self, h: Tensor) -> Tensor:
        """Returns H(h), rows of length 1, `(B, H)` to `(B, Z)`."""
        return normalize(self.H(h), dim=1)

    def generate(self, semantics: Tensor, generator: torch.Generator) -> Tensor:
        """Returns G(z, s) with new noise z, `(M, D)`."""
        features: Tensor = self.G(torch.cat([noise(semantics, generator), semantics], dim=1))
        return features

    def synthesize(self, semantics: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the embedding of generated features, `(M, H)`."""
        return self.embedded(self.generate(semantics, generator))

    def represent(self, x: Tensor) -> Tensor:
        """Returns the embedding of real features, `(B, H)`."""
        return self.embedded(x)


def instance_loss(z: Tensor, y: Tensor, temperature: float) -> Tensor:
    """Returns the contrast of images, Eq. (5), the mean over those that have another image of their class.

    For each image it is the mean of -log(exp(z.p / tau) / sum of exp(z.o / tau)): over the others p of its class, and
    the sum over all others o.

    Args:
        z: projections of length 1, `(B, Z)`.
        y: the class of each, `(B,)`.
        temperature: tau.
    """
    own = torch.eye(len(y), dtype=torch.bool, device=y.device)
    log = (z @ z.T / temperature).masked_fill(own, -torch.inf).log_softmax(dim=1)
    positive = (y[:, None] == y[None]) & ~own
    each = -log.masked_fill(~positive, 0.0).sum(dim=1) / positive.sum(dim=1).clamp(min=1)
    return each.sum() / positive.any(dim=1).sum().clamp(min=1)
