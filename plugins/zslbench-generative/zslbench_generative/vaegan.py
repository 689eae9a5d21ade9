"""f-VAEGAN (Xian et al., CVPR 2019) and TF-VAEGAN (Narayan et al., ECCV 2020): a VAE's decoder is a GAN's generator."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from zslbench import Batch, DataError, Objective, ProblemShape, Stage, TrainView, param
from zslbench_generative.networks import (
    SLOPE,
    Critic,
    Generator,
    absolute_error,
    code,
    divergence,
    draw,
    noise,
    perceptron,
)
from zslbench_generative.softmax import Generative, GenerativeParams


class FVAEGANParams(GenerativeParams):
    """Sizes and weights; codes and noise are as wide as a class embedding."""

    epochs: int = param(4, "epochs of encoder, generator and critic", search=(1, 6), ge=1)
    lr: float = param(1e-3, "learning rate", search=(3e-4, 3e-3), log=True, gt=0)
    beta1: float = param(0.5, "first Adam coefficient", ge=0, lt=1)
    hidden: int = param(512, "width of every hidden layer", ge=1)
    critic_steps: int = param(1, "steps of the critic for each of the generator", ge=1)
    gradient_penalty: float = param(10.0, "weight of the critic's gradient penalty, lambda", ge=0)
    adversary: float = param(
        1.0, "weight of the critic against the variational autoencoder, gamma", search=(0.1, 10.0), log=True, ge=0
    )


class TFVAEGANParams(FVAEGANParams):
    """Those of f-VAEGAN, and of the semantic decoder and the feedback."""

    reconstruction: float = param(0.01, "weight of the class embedding's reconstruction, beta", ge=0)
    feedback: float = param(1.0, "weight of the feedback in the generator, delta", search=[0.01, 0.1, 1.0], ge=0)
    loops: int = param(2, "times that features are generated, each after the first with feedback", ge=1)


P = TypeVar("P", bound=FVAEGANParams)


class FVAEGAN(Generative[P]):
    """E(x, s) encodes, G(z, s) decodes and generates, D(x, s) tells real from generated features.

    The D2 of the paper's f-VAEGAN-D2, a second critic on unlabelled test images, belongs to its transductive setting
    and is not here. The likelihood of features is Gaussian; without standardisation it is that of the public code, a
    cross-entropy, for which features must lie in [0, 1].
    """

    params_type: ClassVar = FVAEGANParams

    def build(self, shape: ProblemShape) -> None:
        """Creates E: `(B, D + A) -> (B, 2A)`, G: `(B, 2A) -> (B, D)`, D: `(B, D + A) -> (B, 1)` and the softmax."""
        super().build(shape)
        hidden, d, a = self.params.hidden, shape.features, shape.attributes
        self.E = perceptron(d + a, hidden, 2 * a)
        self.G = Generator(2 * a, hidden, d)
        self.D = Critic(d, a, hidden)
        self.softmax = nn.Linear(d, shape.classes)

    def solve(self, view: TrainView) -> None:
        """Learns means and variances, or checks the features.

        Raises:
            DataError: some lie outside [0, 1] and are not standardised.
        """
        super().solve(view)
        low, high = view.x.aminmax()
        if not self.params.standardise and (low < 0 or high > 1):
            raise DataError(
                f"{type(self).__name__} needs features in [0, 1], not {low:.3g} to {high:.3g}: scale by minmax"
            )

    def stages(self) -> list[Stage]:
        """Returns the game of critic and generator, and the softmax."""
        return [Stage("generator", self.players(), self.params.epochs, plateau="generator/rec"), self.finishing()]

    def players(self) -> list[Objective]:
        """Returns the critic and the variational autoencoder."""
        critic = Objective("critic", self.critic_loss, self.D.parameters(), steps=self.params.critic_steps)
        return [critic, Objective("generator", self.generator_loss, self.generating())]

    def generating(self) -> list[nn.Parameter]:
        """Returns what `generator_loss` trains."""
        return [*self.E.parameters(), *self.G.parameters()]

    def generate(self, z: Tensor, semantics: Tensor) -> list[Tensor]:
        """Returns generated features, or their logits, `(B, D)`, of each loop; here of one."""
        return [self.G(z, semantics)]

    def features(self, generated: Tensor) -> Tensor:
        """Returns features, where the generator's outputs are logits."""
        return generated if self.params.standardise else generated.sigmoid()

    def critic_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns D's side of the Wasserstein game, L_WGAN."""
        x, s = self.inputs(batch)
        with torch.no_grad():
            fakes = [self.features(fake) for fake in self.generate(noise(s, batch.generator), s)]
        return self.D.loss(x, fakes, s, self.params.gradient_penalty, batch.generator)

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns reconstruction and divergence of the autoencoder, L_VAE, and G's side of the game."""
        x, s = self.inputs(batch)
        mean, log_variance = code(self.E(torch.cat([x, s], dim=1)))
        decoded = self.generate(draw(mean, log_variance, batch.generator), s)
        fakes = [self.features(fake) for fake in self.generate(noise(s, batch.generator), s)]
        return {
            "rec": torch.stack([self._surprise(generated, x) for generated in decoded]).mean(),
            "kl": divergence(mean, log_variance),
            **self.game(fakes, s),
        }

    def game(self, fakes: list[Tensor], semantics: Tensor) -> dict[str, Tensor]:
        """Returns what generated features, `(B, D)` for each loop, are to win."""
        return {"adv": -self.params.adversary * torch.stack([self.D(fake, semantics) for fake in fakes]).mean()}

    def synthesize(self, semantics: Tensor, generator: torch.Generator) -> Tensor:
        """Represents what the last loop generates from new noise, `(M, R)`."""
        return self.represent(self.features(self.generate(noise(semantics, generator), semantics)[-1]))

    def _surprise(self, generated: Tensor, x: Tensor) -> Tensor:
        """Returns -log p(x | z, s) up to a constant, summed over dimensions and averaged over the batch."""
        if self.params.standardise:
            return (generated - x).square().sum(dim=1).mean() / 2
        return binary_cross_entropy_with_logits(generated, x, reduction="none").sum(dim=1).mean()


class TFVAEGAN(FVAEGAN[TFVAEGANParams]):
    """f-VAEGAN with a semantic decoder Dec, whose hidden layer feeds back into G and joins the softmax's input.

    Generated features are generated anew with delta F(h) added to G's hidden layer, where h is Dec's hidden layer on
    the features of the loop before. The public code alternates between steps without and with feedback; here a step
    takes the mean over both. Dec learns to reconstruct class embeddings from real features, L_R, and G that Dec can do
    so from generated ones. The softmax sees features, Dec's hidden layer and Dec's output side by side.
    """

    params_type: ClassVar = TFVAEGANParams

    def build(self, shape: ProblemShape) -> None:
        """Creates the networks of f-VAEGAN, Dec: `(B, D) -> (B, A)`, and F on hidden layers."""
        super().build(shape)
        hidden, d, a = self.params.hidden, shape.features, shape.attributes
        self.Dec = perceptron(d, hidden, a)
        self.F = perceptron(hidden, hidden, hidden).append(nn.LeakyReLU(SLOPE))
        self.softmax = nn.Linear(d + hidden + a, shape.classes)

    def players(self) -> list[Objective]:
        """Returns the semantic decoder before the players of f-VAEGAN."""
        decoder = Objective("decoder", self.decoder_loss, self.Dec.parameters(), steps=self.params.critic_steps)
        return [decoder, *super().players()]

    def generating(self) -> list[nn.Parameter]:
        """Returns what `generator_loss` trains: the feedback too."""
        return [*super().generating(), *self.F.parameters()]

    def generate(self, z: Tensor, semantics: Tensor) -> list[Tensor]:
        """Returns generated features, or their logits, `(B, D)`, of each loop."""
        loops = [self.G(z, semantics)]
        for _ in range(self.params.loops - 1):
            loops.append(self.G(z, semantics, self.params.feedback * self.F(self._hidden(self.features(loops[-1])))))
        return loops

    def decoder_loss(self, batch: Batch) -> Tensor:
        """Returns the L1 error of class embeddings decoded from real features, summed over attributes."""
        x, s = self.inputs(batch)
        return absolute_error(self.Dec(x), s)

    def game(self, fakes: list[Tensor], semantics: Tensor) -> dict[str, Tensor]:
        """Returns what generated features are to win: the game, and that Dec finds their class embedding."""
        errors = torch.stack([absolute_error(self.Dec(fake), semantics) for fake in fakes])
        return {**super().game(fakes, semantics), "semantic": self.params.reconstruction * errors.mean()}

    def represent(self, x: Tensor) -> Tensor:
        """Returns features, Dec's hidden layer and Dec's output side by side, `(B, D + hidden + A)`."""
        hidden = self._hidden(x)
        return torch.cat([x, hidden, self.Dec[2](hidden)], dim=1)

    def _hidden(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.Dec[:2](x)
        return hidden
