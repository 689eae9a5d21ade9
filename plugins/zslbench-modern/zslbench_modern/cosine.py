"""A linear map onto class embeddings with a softmax over cosines: what any method should beat."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from zslbench import Batch, ClassSet, Embedder, GradientParams, ProblemShape, param


class CosineSoftmaxParams(GradientParams):
    """How sharp the softmax is, and how the map is trained."""

    epochs: int = param(10, "epochs", search=(2, 30), ge=1)
    batch_size: int = param(64, "images in a batch", ge=1)
    lr: float = param(2e-3, "learning rate", search=(1e-4, 1e-2), log=True, gt=0)
    weight_decay: float = param(1e-4, "L2 penalty on weights, not on biases (decoupled for adamw)", ge=0)
    temperature: float = param(0.05, "divides the cosines, T", search=(0.02, 0.2), log=True, gt=0)
    smoothing: float = param(
        0.0, "share of a label that is spread evenly over all classes", search=[0.0, 0.05, 0.1], ge=0, lt=1
    )


class CosineSoftmax(Embedder[CosineSoftmaxParams]):
    """F(x, c) = cos(W x + b, s_c); softmax over F / T on the seen classes, cross-entropy with smoothed labels.

    That is all: one linear map, no hidden layer, no ranking, no unseen class. With W' s_c as weights it is the bilinear
    compatibility of DeViSE, ALE and SJE, except that both sides are divided by their length.
    """

    scale: ClassVar = "l2"
    scales: ClassVar = ("l2", "zscore")
    semantics_scale: ClassVar = "none"
    semantics_scales: ClassVar = ("none", "whiten")

    def build(self, shape: ProblemShape) -> None:
        """Creates W and b."""
        self.W = nn.Linear(shape.features, shape.attributes)

    def embed(self, x: Tensor) -> Tensor:
        """Maps `(B, D)` to `(B, A)`, of length 1."""
        return normalize(self.W(x), dim=1)

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns cosines, `(B, C)`."""
        return self.embed(x) @ normalize(classes.semantics, dim=1).T

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over the batch."""
        p = self.params
        logits = self.scores(batch.x, batch.classes) / p.temperature
        return cross_entropy(logits, batch.y, label_smoothing=p.smoothing)
