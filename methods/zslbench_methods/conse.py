"""CONSE (Norouzi et al., ICLR 2014): convex combination of the embeddings of the most probable seen classes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from zslbench import ClassSet, Embedder, ProblemShape, TrainView, param
from zslbench_methods.logistic import LogisticParams, SoftmaxRegression


class CONSEParams(LogisticParams):
    """Regularisation, and how many classes are combined."""

    top: int = param(10, "how many of the most probable seen classes are combined, T", search=[1, 5, 10, 1000], ge=1)


class CONSE(Embedder[CONSEParams]):
    """f(x) = sum over the T most probable seen classes of p(k | x) s_k, divided by the sum of these p(k | x)."""

    deterministic = True
    scale: ClassVar = "zscore"
    seen: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates the softmax regression, and the embeddings of the seen classes, `(K, A)`."""
        self.classifier = SoftmaxRegression(shape.features, shape.classes)
        self.register_buffer("seen", torch.zeros(shape.classes, shape.attributes))

    def embed(self, x: Tensor) -> Tensor:
        """Returns f(x), `(B, D)` to `(B, A)`; T above the number of seen classes combines all of them."""
        p = self.classifier.logits(x).softmax(dim=1)
        best = p.topk(min(self.params.top, len(self.seen)), dim=1)
        weights = torch.zeros_like(p).scatter(1, best.indices, best.values)
        return weights @ self.seen / weights.sum(dim=1, keepdim=True)

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns the cosines of f(x) and s_c, `(B, C)`."""
        return normalize(self.embed(x), dim=1) @ normalize(classes.semantics, dim=1).T

    def solve(self, view: TrainView) -> None:
        """Fits the softmax regression over the seen classes."""
        self.seen.copy_(view.semantics)
        self.classifier.fit_classes(view, self.params.l2)
