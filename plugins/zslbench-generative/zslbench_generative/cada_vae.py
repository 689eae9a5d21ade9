"""CADA-VAE (Schoenfeld et al., CVPR 2019): two variational autoencoders share a code, on which the softmax works."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zslbench import Batch, Objective, ProblemShape, Stage, TrainView, param
from zslbench_generative.networks import absolute_error, code, divergence, draw
from zslbench_generative.softmax import Generative, GenerativeParams

BETA, CROSS, ALIGNMENT = (0, 93), (21, 75), (6, 22)
"""Epochs in which the weights rise from 0, of the paper's 93 epochs of warm-up."""


class CADAVAEParams(GenerativeParams):
    """Sizes and weights."""

    epochs: int = param(10, "epochs of the autoencoders", search=(4, 12), ge=1)
    lr: float = param(1e-3, "learning rate", search=(3e-4, 3e-3), log=True, gt=0)
    synthetic: float = param(
        10.0, "synthetic codes of an unseen class for each of a seen class", search=(1.0, 50.0), log=True, gt=0
    )
    softmax_lr: float = param(3e-3, "learning rate of the softmax", gt=0)
    latent: int = param(64, "width of a code", ge=1)
    visual_encoder: int = param(512, "hidden width of the visual encoder", ge=1)
    semantic_encoder: int = param(512, "hidden width of the semantic encoder", ge=1)
    visual_decoder: int = param(512, "hidden width of the visual decoder", ge=1)
    semantic_decoder: int = param(256, "hidden width of the semantic decoder", ge=1)
    divergence: float = param(0.25, "final weight of the divergence, beta", ge=0)
    cross: float = param(2.37, "final weight of the cross-reconstruction, gamma", ge=0)
    alignment: float = param(8.13, "final weight of the distribution alignment, delta", ge=0)
    warm_up: int = param(8, "epochs until all weights are final; they rise in the proportions of the paper", ge=1)


class CADAVAE(Generative[CADAVAEParams]):
    """Each autoencoder also decodes the other's code, L_CA, and the codes' distributions are drawn together, L_DA.

    The softmax is trained on codes drawn from the encoders, of images for seen classes and of class embeddings for
    unseen ones, each seen class weighing alike. Images are tested by the mean of their code.
    """

    epoch: Tensor
    images: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates encoders `(B, D or A) -> (B, 2 latent)`, decoders `(B, latent) -> (B, D or A)`, and the softmax."""
        super().build(shape)
        p, d, a = self.params, shape.features, shape.attributes
        self.encode_x = rectified(d, p.visual_encoder, 2 * p.latent)
        self.encode_s = rectified(a, p.semantic_encoder, 2 * p.latent)
        self.decode_x = rectified(p.latent, p.visual_decoder, d)
        self.decode_s = rectified(p.latent, p.semantic_decoder, a)
        self.softmax = nn.Linear(p.latent, shape.classes)
        self.register_buffer("epoch", torch.zeros(()))
        self.register_buffer("images", torch.zeros(shape.classes))

    def solve(self, view: TrainView) -> None:
        """Learns means and variances, and counts the images of each class."""
        super().solve(view)
        self.images.copy_(torch.bincount(view.y, minlength=len(view.classes)))

    def stages(self) -> list[Stage]:
        """Returns the autoencoders, and the softmax."""
        networks = [self.encode_x, self.encode_s, self.decode_x, self.decode_s]
        variables = [variable for network in networks for variable in network.parameters()]
        autoencoders = Objective("autoencoders", self.autoencoder_loss, variables)
        return [Stage("autoencoders", [autoencoders], self.params.epochs), self.finishing()]

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        """Counts epochs, for the warm-ups."""
        self.epoch.fill_(epoch)

    def autoencoder_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns L_VAE (reconstructions and divergences), L_CA (cross-reconstructions) and L_DA (alignment)."""
        p, (x, s) = self.params, self.inputs(batch)
        of_x, of_s = code(self.encode_x(x)), code(self.encode_s(s))
        from_x, from_s = draw(*of_x, batch.generator), draw(*of_s, batch.generator)
        own = absolute_error(self.decode_x(from_x), x) + absolute_error(self.decode_s(from_s), s)
        crossed = absolute_error(self.decode_x(from_s), x) + absolute_error(self.decode_s(from_x), s)
        return {
            "own": own,
            "divergence": p.divergence * self._warmth(BETA) * (divergence(*of_x) + divergence(*of_s)),
            "cross": p.cross * self._warmth(CROSS) * crossed,
            "alignment": p.alignment * self._warmth(ALIGNMENT) * wasserstein(of_x, of_s),
        }

    def synthesize(self, semantics: Tensor, generator: torch.Generator) -> Tensor:
        """Draws codes of class embeddings, `(M, latent)`."""
        return draw(*code(self.encode_s(semantics)), generator)

    def represent(self, x: Tensor) -> Tensor:
        """Returns the means of the images' codes, `(B, latent)`."""
        return code(self.encode_x(x))[0]

    def training_inputs(self, batch: Batch) -> Tensor:
        """Draws codes of the images, `(B, latent)`."""
        return draw(*code(self.encode_x(self.visual(batch.x))), batch.generator)

    def balance(self, batch: Batch) -> Tensor:
        """Returns weights under which each seen class counts alike."""
        return self.images.sum() / batch.classes.seen.sum() / self.images[batch.y]

    def _warmth(self, epochs: tuple[int, int]) -> Tensor:
        begin, end = (self.params.warm_up * epoch / BETA[1] for epoch in epochs)
        return ((self.epoch - begin) / (end - begin)).clamp(0, 1)


def rectified(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Returns a network with one hidden layer of ReLU; weights begin as Glorot's at half the size, biases as 0."""
    first, second = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
    for layer in (first, second):
        nn.init.xavier_uniform_(layer.weight, gain=0.5)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.ReLU(), second)


def wasserstein(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """Returns the 2-Wasserstein distance of diagonal Gaussian codes, mean over the batch."""
    means = (a[0] - b[0]).square().sum(dim=1)
    deviations = ((a[1] / 2).exp() - (b[1] / 2).exp()).square().sum(dim=1)
    return (means + deviations + 1e-12).sqrt().mean()  # the root has no slope at 0
