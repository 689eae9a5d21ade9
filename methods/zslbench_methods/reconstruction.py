"""The reconstruction loss of SP-AEN for images, Eq. (3) of Chen et al., CVPR 2018, and its parameters."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator
from torch import Tensor, nn

from zslbench import ImageParams, param
from zslbench_methods.image_networks import SMALLEST_FOR_PHI, Perceptual
from zslbench_methods.spaen import EmbeddingParams, Negative


class ReconstructionParams(ImageParams, EmbeddingParams):
    """How images are compared, and the network that makes them; the paper's full network by default."""

    epochs: int = param(100, "epochs of each stage of training", search=(2, 100), ge=1)
    lr: float = param(1e-4, "learning rate of E", search=(3e-5, 3e-3), log=True, gt=0)
    schedule: Literal["constant", "plateau", "cosine"] = param("plateau", "learning rate over the epochs")
    ranking: float = param(1000.0, "weight of the ranking loss", gt=0)
    alpha: float = param(10.0, "weight of the reconstruction loss", ge=0)
    margin: float = param(0.2, "margin gamma of the ranking loss", search=(0.1, 2.0), log=True, gt=0)
    negative: Negative = param("random", "wrong class of the ranking loss, as in SP-AEN on features")
    relative: bool = param(False, "measure score differences in the spread of the seen class embeddings")
    autoencoder_hidden: int = param(1024, "width of the layers between the semantic space and F's or G's rest", ge=1)
    autoencoder_lr: float = param(1e-4, "learning rate of what reconstructs", gt=0)
    phi: Perceptual = param("alexnet", "perceptual network: conv5 of AlexNet, or none to compare pixels alone")
    lambda_p: float = param(650.0, "weight of the squared error of pixels beside that of phi", ge=0)
    width: float = param(1.0, "factor on the channels of the networks that make or see images", gt=0, le=4)

    @model_validator(mode="after")
    def _compares_images(self) -> Self:
        if self.phi == "none" and self.lambda_p == 0:
            raise ValueError("without phi, lambda_p must be above 0, or nothing is compared")
        if self.phi != "none" and self.image_size < SMALLEST_FOR_PHI:
            raise ValueError(f"phi={self.phi} needs an image_size of {SMALLEST_FOR_PHI} at least; or take phi=none")
        return self


def slowest_term(params: ReconstructionParams) -> str:
    """Returns the term of L_rec by which a plateau is seen."""
    return "pixels" if params.phi == "none" else "phi"


def reconstruction_terms(
    made: Tensor, pixels: Tensor, phi: nn.Module | None, params: ReconstructionParams
) -> dict[str, Tensor]:
    """Returns alpha L_rec of Eq. (3) in two terms, the mean over the batch.

    Both squared norms are means over their elements, as in the released code, so that the weights mean the same at
    every size of images: the term of pixels is lambda_p times the mean squared error of RGB in [0, 1].

    Args:
        made: `(B, 3, H, W)`, unclamped.
        pixels: what they should be, `(B, 3, H, W)` in [0, 1].
        phi: the perceptual network, or None.
        params: alpha and lambda_p.
    """
    terms = {}
    if phi is not None:
        terms["phi"] = params.alpha * (phi(made) - phi(pixels)).square().mean()
    if params.lambda_p > 0:
        terms["pixels"] = params.alpha * params.lambda_p * (made - pixels).square().mean()
    return terms
