"""`clip` and `clip-adapter`: cosines of images and class names in a space that they share."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from zslbench import Batch, ClassSet, Embedder, GradientParams, Params, ProblemShape, TrainView, param

P = TypeVar("P", bound=Params)
LOGIT_SCALE = param(100.0, "factor of the cosine, 1 / tau: exp of CLIP's logit scale", gt=0)


class CosineEmbedder(Embedder[P]):
    """E(x) is compared with class embeddings by the cosine, times `logit_scale`."""

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns the logits, `(B, C)`: what multiplies the cosine changes no decision, but what gamma means."""
        cosines = nn.functional.normalize(self.embed(x), dim=1) @ nn.functional.normalize(classes.semantics, dim=1).T
        return self.params.logit_scale * cosines  # type: ignore[attr-defined]


class CLIPParams(Params):
    """Nothing is learnt, so there is nothing to search."""

    logit_scale: float = LOGIT_SCALE


class CLIP(CosineEmbedder[CLIPParams]):
    """Zero-shot CLIP (Radford et al., ICML 2021, Section 3.1.2): the class whose text is nearest to the image.

    It trains nothing. Any data will do whose features and class embeddings are of one space.
    """

    deterministic = True

    def embed(self, x: Tensor) -> Tensor:
        """Returns the features as they are, `(B, D)`."""
        return x

    def solve(self, view: TrainView) -> None:
        """Learns nothing of the training images."""


class CLIPAdapterParams(GradientParams):
    """Hyper-parameters of the adapter and its training."""

    epochs: int = param(20, "epochs", search=(2, 40), ge=1)
    batch_size: int = param(32, "images in a batch", ge=1)
    lr: float = param(1e-3, "learning rate", search=(1e-5, 1e-2), log=True, gt=0)
    ratio: float = param(
        0.2, "share alpha of the adapter in the feature; 0 is zero-shot CLIP", search=(0.0, 1.0), ge=0, le=1
    )
    reduction: int = param(4, "features for each unit of the bottleneck", ge=1)
    logit_scale: float = LOGIT_SCALE


class CLIPAdapter(CosineEmbedder[CLIPAdapterParams]):
    """CLIP-Adapter (Gao et al., IJCV 2024), the visual adapter: E(x) = alpha A(x) + (1 - alpha) x, Eq. (4) and (6).

    A is ReLU(W2 ReLU(W1 x)) without biases, with the outer ReLU of the authors' code. It is trained by cross entropy
    over the seen classes, at CLIP's temperature. The paper trains on a few images of every class that is tested; to
    score classes that had no images, and to search alpha on validation classes, goes beyond it.
    """

    def build(self, shape: ProblemShape) -> None:
        """Creates W1 and W2, a bottleneck of `D / reduction` units, at least one."""
        units = max(1, shape.features // self.params.reduction)
        self.adapter = nn.Sequential(
            nn.Linear(shape.features, units, bias=False),
            nn.ReLU(),
            nn.Linear(units, shape.features, bias=False),
            nn.ReLU(),
        )

    def embed(self, x: Tensor) -> Tensor:
        """Maps `(B, D)` to adapted features `(B, D)`; their length is of no account."""
        adapted: Tensor = self.adapter(x)
        return torch.lerp(x, adapted, self.params.ratio)

    def loss(self, batch: Batch) -> Tensor:
        """Returns the cross entropy of the seen classes, averaged over the batch."""
        return nn.functional.cross_entropy(self.scores(batch.x, batch.classes), batch.y)
