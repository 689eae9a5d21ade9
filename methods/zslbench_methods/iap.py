"""IAP (Lampert, Nickisch & Harmeling, CVPR 2009, TPAMI 2014): indirect attribute prediction."""

from __future__ import annotations

import torch
from torch import Tensor

from zslbench import ProblemShape, TrainView
from zslbench_methods.attributes import AttributeEmbedder, AttributeParams
from zslbench_methods.logistic import SoftmaxRegression


class IAPParams(AttributeParams):
    """Those of attribute methods."""


class IAP(AttributeEmbedder[IAPParams]):
    """p(a_m | x) = sum over seen classes k of [a_m = a_m^k] p(k | x), with p(k | x) a softmax regression."""

    signatures: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates the softmax regression, and the signatures a^k, `(K, A)`."""
        super().build(shape)
        self.classifier = SoftmaxRegression(shape.features, shape.classes)
        self.register_buffer("signatures", torch.full((shape.classes, shape.attributes), 0.5))

    def log_odds(self, x: Tensor) -> Tensor:
        """Returns the logarithm of the ratio of both marginals, `(B, A)`."""
        # each marginal is a sum of its own in float64: 1 - p would be 0 where the classifier is sure
        p = self.classifier.logits(x).double().softmax(dim=1)
        signatures = self.signatures.double()
        least = torch.finfo(p.dtype).tiny
        present, absent = ((p @ part).clamp(min=least).log() for part in (signatures, 1 - signatures))
        return (present - absent).to(x.dtype)

    def solve(self, view: TrainView) -> None:
        """Fits the softmax regression over the seen classes."""
        self.signatures.copy_(self.learn_classes(view))
        self.classifier.fit_classes(view.x, view.y, self.params.l2)
