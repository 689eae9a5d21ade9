"""The architectures that SP-AEN's reconstructions are compared with (Chen et al., CVPR 2018, Fig. 6 and Table 3).

All of them decode what E tells of an image, with E on the features of the fixed backbone, as SP-AEN's E is; their
generator, losses, and number of steps are SP-AEN's. So what differs is which space an image is reconstructed from.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from zslbench import Batch, Embedder, NotApplicable, Objective, ProblemShape, Stage
from zslbench_methods.image_networks import Parts
from zslbench_methods.reconstruction import ReconstructionParams, reconstruction_terms, slowest_term
from zslbench_methods.spaen import classifier, ranking_loss


class SAEImage(Embedder[ReconstructionParams]):
    """SAE: E classifies, and G reconstructs the image from E(x); both losses reach E, which one space must serve."""

    version: ClassVar[int] = 3
    scale: ClassVar = "l2"
    input: ClassVar = "images"
    parts: ClassVar = ("phi", "G")
    branches: ClassVar[int] = 1
    """How many embeddings of the size of a class embedding E gives; the first one is classified."""
    E: nn.Sequential
    G: nn.Sequential
    phi: nn.Sequential | None

    def build(self, shape: ProblemShape) -> None:
        """Creates E: `(B, D) -> (B, branches A)`, G: `(B, branches A) -> (B, 3, H, W)`, and phi.

        Raises:
            DataError: weights of a network cannot be had, or are of another architecture.
        """
        p, parts = self.params, Parts(self.weights, self.pretrained)
        self.attributes = shape.attributes
        self.E = classifier(shape.features, self.branches * shape.attributes, p)
        inputs = self.branches * shape.attributes
        generator = parts.generator(inputs, p.autoencoder_hidden, p.image_size, p.width)
        # The ranking loss leaves the length of E(x) free; G does not have to follow it.
        self.G = nn.Sequential(nn.RMSNorm(inputs, elementwise_affine=False), generator)
        self.phi = parts.perceptual(p.phi)

    def embed(self, x: Tensor) -> Tensor:
        """Returns what is classified of E(x), `(B, A)`."""
        embedding: Tensor = self.E(x)
        return embedding[:, : self.attributes]

    def stages(self) -> list[Stage]:
        """Returns one stage, in which both networks learn; without a weight of the reconstruction, only E does."""
        p = self.params
        embed = Objective("embed", self.embed_loss, self.E.parameters())
        generator = Objective("generator", self.generator_loss, self.G.parameters(), lr=p.autoencoder_lr)
        if p.alpha == 0:
            return [Stage("embed", [embed], p.epochs)]
        return [Stage("joint", [generator, embed], p.epochs, plateau=f"generator/{slowest_term(p)}")]

    def embed_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L_cls and alpha L_rec, as they depend on E."""
        embedding = self.E(batch.x)
        terms = self.classification(embedding, batch)
        if self.params.alpha > 0:
            terms |= self.reconstruction(embedding, batch)
        return terms

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """alpha L_rec, as it depends on G."""
        with torch.no_grad():
            embedding = self.E(batch.x)
        return self.reconstruction(embedding, batch)

    def classification(self, embedding: Tensor, batch: Batch) -> dict[str, Tensor]:
        """L_cls, Eq. (2)."""
        p = self.params
        return {"cls": p.ranking * ranking_loss(embedding[:, : self.attributes], batch, p)}

    def reconstruction(self, embedding: Tensor, batch: Batch) -> dict[str, Tensor]:
        """alpha L_rec, Eq. (3), of images made from the whole embedding."""
        assert batch.pixels is not None
        return reconstruction_terms(self.G(embedding), batch.pixels, self.phi, self.params)

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        """Returns G(E(x)), `(B, 3, H, W)`; the crops themselves are not looked at.

        Raises:
            NotApplicable: alpha is 0, so that G was not trained.
        """
        if self.params.alpha == 0:
            raise NotApplicable("with alpha=0 it learns no reconstruction")
        made: Tensor = self.G(self.E(x))
        return made.clamp(0, 1)


class SplitBranch(SAEImage):
    """SAE with an embedding in two halves: the first is classified, the second only serves G, which is given both."""

    branches: ClassVar[int] = 2


class DirectMap(SAEImage):
    """E learns to classify, as if there were no reconstruction; then it is fixed, and G learns to undo it."""

    def stages(self) -> list[Stage]:
        """Returns the stage of E, and that of G."""
        p = self.params
        embed = Objective("embed", self.classification_loss, self.E.parameters())
        generator = Objective("generator", self.generator_loss, self.G.parameters(), lr=p.autoencoder_lr)
        after = [Stage("generator", [generator], p.epochs, finishing=True)] if p.alpha > 0 else []
        return [Stage("embed", [embed], p.epochs), *after]

    def classification_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L_cls alone."""
        return self.classification(self.E(batch.x), batch)
