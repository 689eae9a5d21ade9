"""Class normalization (Skorokhodov and Elhoseiny, ICLR 2021): a deep map from class embeddings to visual prototypes."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize, relu

from zslbench import Batch, ClassSet, Embedder, GradientParams, ProblemShape, TrainView, param

EPSILON = 1e-5
"""Added to a variance over classes, so that a unit on which all classes agree is not divided by 0."""


class ClassNormParams(GradientParams):
    """Size of the network, which normalisations it has, and how it is trained."""

    epochs: int = param(10, "epochs", search=(2, 30), ge=1)
    batch_size: int = param(64, "images in a batch", ge=1)
    lr: float = param(5e-4, "learning rate", search=(1e-4, 5e-3), log=True, gt=0)
    weight_decay: float = param(1e-4, "L2 penalty on weights, not on biases (decoupled for adamw)", ge=0)
    hidden: int = param(512, "width of both hidden layers", search=[256, 512, 1024], ge=1)
    gamma: float = param(4.0, "length of features and prototypes before their product", search=(2.0, 10.0), gt=0)
    standardised: bool = param(True, "class normalization: standardise hidden units over classes")
    initialised: bool = param(True, "begin the last layer with the variance 1 / (hidden D) of the paper's Eq. (10)")
    rectified: bool = param(False, "a ReLU behind the last layer, for features that are never negative")


class Standardization(nn.Module):
    """Class normalization, Eq. (9): subtracts each unit's mean over classes and divides by its standard deviation."""

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def keep(self, hidden: Tensor) -> None:
        """Keeps mean and variance of each unit over classes `(C, width)`, for `forward`."""
        self.mean.copy_(hidden.mean(dim=0))
        self.variance.copy_(hidden.var(dim=0, correction=0))

    def forward(self, hidden: Tensor, own: bool) -> Tensor:
        """Maps `(C, width)` to `(C, width)`, by the statistics of these classes if `own`, else by those it keeps."""
        mean, variance = self.mean, self.variance
        if own:
            mean, variance = hidden.mean(dim=0), hidden.var(dim=0, correction=0)
        return (hidden - mean) / (variance + EPSILON).sqrt()


class ClassNorm(Embedder[ClassNormParams]):
    """A prototype p(s) in visual space for each class embedding; F(x, c) = gamma^2 cos(x, p(s_c)), trained by softmax.

    p has three layers. Class embeddings enter with length sqrt(A) ("attributes normalization"). The units of the second
    layer are standardised over the classes before their ReLU and again behind it ("class normalization", Eq. 9). The
    last layer begins with a variance that keeps that of the logits (Eq. 10). Features and prototypes get length gamma
    ("normalize+scale"). The loss is the cross-entropy over seen classes.

    In training, statistics are those of all seen classes. The paper divides by the standard deviation, as is done here;
    the authors' notebook divides by the variance. The original keeps running means of the statistics and uses these for
    evaluation, where it would otherwise be transductive. Here training leaves nothing behind: once it ends, `finish`
    computes mean and variance over the seen classes with the final weights and keeps them. So the score of a class
    depends on no other class that is scored with it, seen or unseen.
    """

    scale: ClassVar = "l2"
    scales: ClassVar = ("l2", "zscore")

    def build(self, shape: ProblemShape) -> None:
        """Creates layers `(C, A) -> (C, hidden) -> (C, hidden) -> (C, D)` and the statistics."""
        p = self.params
        self.first, self.second = nn.Linear(shape.attributes, p.hidden), nn.Linear(p.hidden, p.hidden)
        self.last = nn.Linear(p.hidden, shape.features)
        self.before, self.behind = Standardization(p.hidden), Standardization(p.hidden)
        if p.initialised:
            bound = sqrt(3 / (p.hidden * shape.features))  # uniform in +-b has the variance b^2 / 3
            nn.init.uniform_(self.last.weight, -bound, bound)

    def prototypes(self, semantics: Tensor, own: bool = False) -> Tensor:
        """Maps class embeddings `(C, A)` to prototypes `(C, D)`; `own` standardises by these classes themselves."""
        hidden = self._entered(semantics)
        hidden = self.behind(relu(self.before(hidden, own)), own) if self.params.standardised else relu(hidden)
        prototypes: Tensor = self.last(hidden)
        return relu(prototypes) if self.params.rectified else prototypes

    def logits(self, x: Tensor, prototypes: Tensor) -> Tensor:
        """Returns gamma^2 cos(x, p) of each feature `(B, D)` and prototype `(C, D)`, `(B, C)`."""
        return self.params.gamma**2 * normalize(x, dim=1) @ normalize(prototypes, dim=1).T

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns logits, by the statistics of the seen classes."""
        return self.logits(x, self.prototypes(classes.semantics))

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean cross-entropy over the classes of training."""
        return cross_entropy(self.logits(batch.x, self.prototypes(batch.classes.semantics, own=True)), batch.y)

    def finish(self, view: TrainView) -> None:
        """Keeps each unit's mean and variance over the seen classes."""
        hidden = self._entered(view.semantics)
        self.before.keep(hidden)
        self.behind.keep(relu(self.before(hidden, own=False)))

    def _entered(self, semantics: Tensor) -> Tensor:
        hidden: Tensor = self.second(relu(self.first(normalize(semantics, dim=1) * sqrt(semantics.shape[1]))))
        return hidden
