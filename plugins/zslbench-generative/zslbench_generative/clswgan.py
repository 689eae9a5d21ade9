"""f-CLSWGAN (Xian et al., CVPR 2018): a conditional Wasserstein GAN whose features a seen classifier must recognise."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zslbench import Batch, Objective, ProblemShape, Stage, param
from zslbench_generative.networks import Critic, noise, perceptron
from zslbench_generative.softmax import Generative, GenerativeParams


class FCLSWGANParams(GenerativeParams):
    """Sizes and weights; noise is as wide as a class embedding."""

    epochs: int = param(5, "epochs of generator and critic", search=(1, 6), ge=1)
    lr: float = param(3e-4, "learning rate", search=(1e-4, 1e-3), log=True, gt=0)
    beta1: float = param(0.5, "first Adam coefficient", ge=0, lt=1)
    hidden: int = param(512, "width of the hidden layers of generator and critic", ge=1)
    critic_steps: int = param(5, "steps of the critic for each of the generator", ge=1)
    gradient_penalty: float = param(10.0, "weight of the critic's gradient penalty, lambda", ge=0)
    classification: float = param(
        30.0, "weight of the seen classifier's loss, beta", search=(3.0, 300.0), log=True, ge=0
    )
    softmax_decay: float = param(0.01, "weight of the softmax's L2 penalty", search=[0.0, 0.001, 0.01], ge=0)
    softmax_lr: float = param(3e-3, "learning rate of the softmax", gt=0)
    synthetic: float = param(
        60.0,
        "synthetic features of an unseen class for each real one of a mean seen class",
        search=(10.0, 300.0),
        log=True,
        gt=0,
    )
    classifier_epochs: int = param(3, "epochs of the seen classifier, before the generator", ge=1)


class FCLSWGAN(Generative[FCLSWGANParams]):
    """G(z, s) makes features, D(x, s) tells them from real ones, Eq. (2), and a fixed softmax knows them, Eq. (3).

    Without standardisation G ends in ReLU, as in the paper.
    """

    def build(self, shape: ProblemShape) -> None:
        """Creates G: `(B, 2A) -> (B, D)`, D: `(B, D + A) -> (B, 1)`, and two classifiers `(B, D) -> (B, C)`."""
        super().build(shape)
        hidden, d, a = self.params.hidden, shape.features, shape.attributes
        self.G = perceptron(2 * a, hidden, d)
        if not self.params.standardise:
            self.G.append(nn.ReLU())
        self.D = Critic(d, a, hidden)
        self.classifier = nn.Linear(d, shape.classes)
        self.softmax = nn.Linear(d, shape.classes)

    def stages(self) -> list[Stage]:
        """Returns the seen classifier, the game of critic and generator, and the softmax."""
        p = self.params
        classifier = Objective("classifier", self.classifier_loss, self.classifier.parameters(), lr=p.softmax_lr)
        critic = Objective("critic", self.critic_loss, self.D.parameters(), steps=p.critic_steps)
        generator = Objective("generator", self.generator_loss, self.G.parameters())
        return [
            Stage("classifier", [classifier], p.classifier_epochs),
            Stage("generator", [critic, generator], p.epochs, plateau="generator/cls"),
            self.finishing(),
        ]

    def classifier_loss(self, batch: Batch) -> Tensor:
        """Returns the cross-entropy of real features among seen classes."""
        return self._recognise(self.visual(batch.x), batch)

    def critic_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns D's side of Eq. (2)."""
        x, s = self.inputs(batch)
        with torch.no_grad():
            fake = self.synthesize(s, batch.generator)
        return self.D.loss(x, [fake], s, self.params.gradient_penalty, batch.generator)

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns G's side of Eq. (4)."""
        s = self.semantic(batch.s)
        fake = self.synthesize(s, batch.generator)
        return {
            "adv": -self.D(fake, s).mean(),
            "cls": self.params.classification * self._recognise(fake, batch),
        }

    def synthesize(self, semantics: Tensor, generator: torch.Generator) -> Tensor:
        """Returns G(z, s) with new noise z, `(M, D)`."""
        features: Tensor = self.G(torch.cat([noise(semantics, generator), semantics], dim=1))
        return features

    def _recognise(self, x: Tensor, batch: Batch) -> Tensor:
        """Returns the cross-entropy under the seen classifier; unseen classes have probability 0."""
        return cross_entropy(self.classifier(x).masked_fill(~batch.classes.seen, -torch.inf), batch.y)
