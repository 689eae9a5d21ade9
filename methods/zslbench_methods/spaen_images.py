"""SP-AEN (Chen et al., CVPR 2018) on images: F sees pixels, and G makes images from the semantic space."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.functional import softplus

from zslbench import Batch, NotApplicable, Objective, ProblemShape, param
from zslbench_methods.image_networks import SMALLEST, Encoder, Parts
from zslbench_methods.reconstruction import ReconstructionParams, reconstruction_terms, slowest_term
from zslbench_methods.spaen import SPAEN, SPAENParams, classifier, perceptron, with_output


class SPAENImageParams(ReconstructionParams, SPAENParams):
    """Those of the feature-level version, and of the networks for images; the paper's full network by default."""

    beta: float = param(5.0, "weight of the adversarial loss", search=(0.01, 50.0), log=True, ge=0)
    training: Literal["joint", "two-stage"] = param(
        "joint", "train F and G before E, as the released code does, or with E, as the paper does"
    )
    autoencoder_epochs: int = param(100, "epochs of F and G before E in two-stage training", ge=1)
    unit_norm: float = param(0.0, "weight of (|F(x)| - 1)^2, a term of the released code", ge=0)
    critic_steps: int = param(5, "steps of the critic for each of E", ge=1)
    critic_lr: float = param(1e-4, "learning rate of the critic", gt=0)
    critic_slope: float = param(0.0, "slope of the critic's leaky ReLU; 0 for the paper's ReLU", ge=0, le=1)
    encoder: Encoder = param("alexnet", "lower part of F: AlexNet up to fc7 or fc6, or strided convolutions")
    encoder_frozen: bool = param(False, "keep the lower part of F as it was, as the released code does")
    realism: float = param(0.0, "weight of an adversary that tells images from reconstructions; not in the paper", ge=0)

    @model_validator(mode="after")
    def _sees_images(self) -> Self:
        if self.image_size < (smallest := SMALLEST[self.encoder]):
            raise ValueError(f"encoder={self.encoder} needs an image_size of {smallest} at least; or take encoder=conv")
        return self


class SPAENImages(SPAEN):
    """The paper's network: E on features of a fixed backbone, F and G on the crops that the features are of.

    F is AlexNet and two fully-connected layers, G two fully-connected layers and a generator of images, D two
    fully-connected layers with a ReLU between. What the paper leaves out is as in the released code: the hidden layers'
    widths, the margin, and the weight of the critic's gradient penalty.
    """

    input: ClassVar = "images"
    parts: ClassVar = ("F", "phi", "G")
    params_type: ClassVar = SPAENImageParams
    params: SPAENImageParams

    def build(self, shape: ProblemShape) -> None:
        """Creates E: `(B, D) -> (B, A)`, F: `(B, 3, H, W) -> (B, A)`, G: `(B, A) -> (B, 3, H, W)`, D and phi.

        Raises:
            DataError: weights of a network cannot be had, or are of another architecture.
        """
        p, a, parts = self.params, shape.attributes, Parts(self.weights, self.pretrained)
        self.E = classifier(shape.features, a, p)
        encoder, encoded = parts.encoder(p.encoder, p.image_size, p.width)
        encoder.requires_grad_(not p.encoder_frozen)
        self.F = nn.Sequential(encoder, with_output(perceptron(encoded, p.autoencoder_hidden, a, p.slope), p))
        self.G = parts.generator(a, p.autoencoder_hidden, p.image_size, p.width)
        self.build_critic(shape)
        self.phi = parts.perceptual(p.phi)
        if p.realism > 0:
            judge, judged = Parts({}, pretrained=False).encoder("conv", p.image_size, p.width)
            self.judge = judge.append(nn.Linear(judged, 1))

    def reconstructing(self) -> list[Objective]:
        """Returns F and G, and the judge, where reconstructions have to look real."""
        players = super().reconstructing()
        if players and self.params.realism > 0:
            rate = self.params.critic_lr
            players.insert(0, Objective("judge", self.judge_loss, self.judge.parameters(), lr=rate, decay=False))
        return players

    def judge_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The judge's side of Goodfellow et al., NIPS 2014, Eq. (1): images are real, reconstructions are not."""
        pixels = self.seen_by_f(batch)
        with torch.no_grad():
            made = self.G(self.F(pixels))
        return {"real": softplus(-self.judge(pixels)).mean(), "made": softplus(self.judge(made)).mean()}

    def seen_by_f(self, batch: Batch) -> Tensor:
        """Returns the crops, `(B, 3, H, W)`."""
        assert batch.pixels is not None
        return batch.pixels

    def reconstruction_loss(self, made: Tensor, batch: Batch) -> dict[str, Tensor]:
        """alpha L_rec, Eq. (3), in the space of phi and in pixels, and how little the judge is deceived.

        The last term is that of Dosovitskiy & Brox, NIPS 2016, Eq. (4), -log D(G(F(x))); SP-AEN does not have it.
        """
        terms = reconstruction_terms(made, self.seen_by_f(batch), self.phi, self.params)
        if self.params.realism > 0:
            terms["real"] = self.params.realism * softplus(-self.judge(made)).mean()
        return terms

    def joint_plateau(self) -> str:
        """Returns the term of the reconstruction that shows: it is the slowest to learn."""
        return f"autoencoder/{slowest_term(self.params)}" if self.trains_f else super().joint_plateau()

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        """Returns G(F(pixels)), `(B, 3, H, W)`.

        Raises:
            NotApplicable: alpha is 0, or E is matched to a control, so that G was not trained to reconstruct.
        """
        if self.params.alpha == 0:
            raise NotApplicable("with alpha=0 it learns no reconstruction")
        if not self.trains_f:
            raise NotApplicable(f"with target={self.params.target} it learns no reconstruction")
        made: Tensor = self.G(self.F(pixels))
        return made.clamp(0, 1)
