"""DAP and IAP (Lampert, Nickisch & Harmeling, CVPR 2009, TPAMI 2014): attribute prediction, direct and indirect."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from zslbench import ClassSet, Embedder, ProblemShape, TrainView, param
from zslbench_methods.logistic import BinaryRegressions, LogisticParams, SoftmaxRegression


class AttributeParams(LogisticParams):
    """How strengths of attributes become present or absent."""

    threshold: Literal["mean", "median", "positive"] = param(
        "mean",
        "an attribute is present above its mean or median over the seen classes, or above 0",
        search=["mean", "median", "positive"],
    )


class AttributeEmbedder(Embedder[AttributeParams]):
    """argmax over c of prod_m p(a_m^c | x) / p(a_m^c), with p(a_m) the share of seen classes that have attribute m.

    An attribute that all seen classes have, or none, cannot be learnt: it counts as half present in each of them, so
    that its prior and all its probabilities are 1/2 and it drops out of the product, also for unseen classes.
    """

    scale: ClassVar = "zscore"
    thresholds: Tensor
    prior: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates thresholds and prior, `(A,)` each."""
        self.register_buffer("thresholds", torch.zeros(shape.attributes))
        self.register_buffer("prior", torch.full((shape.attributes,), 0.5))

    def log_odds(self, x: Tensor) -> Tensor:
        """Returns log p(a_m = 1 | x) - log p(a_m = 0 | x), `(B, D)` to `(B, A)`."""
        raise NotImplementedError

    def embed(self, x: Tensor) -> Tensor:
        """Returns p(a_m = 1 | x), `(B, D)` to `(B, A)`."""
        return torch.sigmoid(self.log_odds(x))

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns the sum over m of log p(a_m^c | x) - log p(a_m^c), `(B, C)`."""
        odds = self.log_odds(x)
        present = logsigmoid(odds) - self.prior.log()
        absent = logsigmoid(-odds) - (1 - self.prior).log()
        has = self.binary(classes.semantics)
        return present @ has.T + absent @ (1 - has).T

    def binary(self, semantics: Tensor) -> Tensor:
        """Returns 1 where an attribute is present, else 0, `(C, A)`."""
        return (semantics > self.thresholds).to(semantics.dtype)

    def learn_classes(self, view: TrainView) -> Tensor:
        """Computes thresholds and prior; returns the attributes of the classes, 1/2 where all agree, `(C, A)`."""
        semantics = view.semantics
        if self.params.threshold == "mean":
            self.thresholds.copy_(semantics.mean(dim=0))
        elif self.params.threshold == "median":
            self.thresholds.copy_(semantics.quantile(0.5, dim=0))
        else:
            self.thresholds.zero_()
        has = self.binary(semantics)
        has = torch.where((has == has[0]).all(dim=0), 0.5, has)
        self.prior.copy_(has.mean(dim=0))
        return has


class DAP(AttributeEmbedder):
    """p(a_m | x) is a logistic regression of its own for each attribute m."""

    deterministic = True

    def build(self, shape: ProblemShape) -> None:
        """Creates A regressions."""
        super().build(shape)
        self.attributes = BinaryRegressions(shape.features, shape.attributes)

    def log_odds(self, x: Tensor) -> Tensor:
        """Returns the logits of the regressions, `(B, A)`."""
        return self.attributes.logits(x)

    def solve(self, view: TrainView) -> None:
        """Fits all regressions at once; the problem separates into one for each attribute."""
        self.attributes.fit(view, self.learn_classes(view), self.params.l2)


class IAP(AttributeEmbedder):
    """p(a_m | x) = sum over seen classes k of [a_m = a_m^k] p(k | x), with p(k | x) a softmax regression."""

    deterministic = True
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
        self.classifier.fit_classes(view, self.params.l2)
