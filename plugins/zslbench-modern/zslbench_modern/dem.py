"""DEM (Zhang, Xiang, Gong, CVPR 2017): a network maps class embeddings into visual space, where the nearest wins."""

from __future__ import annotations

from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from zslbench import Batch, ClassSet, Embedder, GradientParams, ProblemShape, TrainView, param


class DEMParams(GradientParams):
    """Size of the network and how it is trained."""

    epochs: int = param(16, "epochs", search=(2, 30), ge=1)
    batch_size: int = param(64, "images in a batch", ge=1)
    lr: float = param(3e-3, "learning rate", search=(3e-4, 1e-2), log=True, gt=0)
    weight_decay: float = param(
        1e-4, "L2 penalty on weights, lambda (decoupled for adamw)", search=(1e-5, 1e-2), log=True, ge=0
    )
    hidden: int = param(512, "hidden units", search=[256, 512, 1024], ge=1)
    rectified: bool = param(False, "a ReLU behind the last layer, for features that are never negative")


class DEM(Embedder[DEMParams]):
    """Minimises the mean of |x - f(s_y)|^2 over images, Eq. (1), with f(s) = W2 relu(W1 s + b1) + b2.

    Only class embeddings move: images are where they are, which leaves fewer hubs among the nearest neighbours. The
    paper has a ReLU behind W2 too (`rectified`), which fits features of a network's last ReLU and no others. So that
    defaults suit every scale, features enter divided by the root of their mean square in training, and class
    embeddings with length sqrt(A): numbers that are about 1. The loss is the mean over the D dimensions.
    """

    scale: ClassVar = "l2"
    scales: ClassVar = ("l2", "zscore")
    unit: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates f, `(C, A) -> (C, D)`, and the unit of features."""
        layers: list[nn.Module] = [
            nn.Linear(shape.attributes, self.params.hidden),
            nn.ReLU(),
            nn.Linear(self.params.hidden, shape.features),
        ]
        self.network = nn.Sequential(*layers, *[nn.ReLU()] * self.params.rectified)
        self.register_buffer("unit", torch.ones(()))

    def solve(self, view: TrainView) -> None:
        """Learns the root mean square of the training features; 1 where all are 0."""
        square = torch.stack([x.square().mean() * (len(y) / len(view.y)) for x, y in view.parts()]).sum()
        self.unit.copy_(torch.where(square > 0, square, 1.0).sqrt())

    def prototypes(self, semantics: Tensor) -> Tensor:
        """Maps class embeddings `(C, A)` to points in visual space, `(C, D)`, in units of the features' mean square."""
        points: Tensor = self.network(normalize(semantics, dim=1) * sqrt(semantics.shape[1]))
        return points

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns minus the squared distance of each image to each class, the mean over dimensions, `(B, C)`."""
        return -torch.cdist(x / self.unit, self.prototypes(classes.semantics)).square() / x.shape[1]

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over images and dimensions."""
        return (batch.x / self.unit - self.prototypes(batch.classes.semantics)[batch.y]).square().mean()
