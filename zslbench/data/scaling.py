"""Scaling of features and of class embeddings, fitted on the training part only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from zslbench.api.cards import Scale, SemanticsScale
from zslbench.api.scratch import split
from zslbench.api.views import ClassSet
from zslbench.errors import DataError

ROWS = 512
"""Rows whose sums are computed at a time, so that they stay in the cache."""
RANK = 1e-5
"""Axes along which class embeddings vary less than this, beside the first one, are rounding."""


@dataclass(frozen=True)
class Scaler:
    """`(x - shift) / divisor` per dimension, or each row divided by its own norm for `l2`."""

    kind: Scale
    shift: Tensor
    divisor: Tensor

    @classmethod
    def fit(cls, kind: Scale, x: Tensor) -> Scaler:
        """Fits a scaler on training features `(N, D)`, or `(N, K, D)` of K crops.

        A constant dimension is shifted but not divided.
        """
        x = x.flatten(0, -2)
        shift, divisor = torch.zeros(x.shape[1]), torch.ones(x.shape[1])
        if kind == "zscore":
            shift, divisor = _moments(x)
        elif kind == "minmax":
            shift = x.amin(dim=0)
            divisor = x.amax(dim=0) - shift
        return cls(kind, shift, torch.where(divisor > 0, divisor, 1.0))

    def __call__(self, x: Tensor) -> Tensor:
        """Scales features of the same kind."""
        if self.kind == "none":
            return x
        if self.kind == "l2":
            return nn.functional.normalize(x, dim=-1)
        return (x - self.shift.to(x.device)) / self.divisor.to(x.device)


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and standard deviation of each dimension; of many values in one pass, with sums in float64."""
    if len(split(x)) == 1:
        return x.mean(dim=0), x.std(dim=0, correction=0)
    near = x[:ROWS].double().mean(dim=0)  # about which squares lose no digits
    total, square = torch.zeros_like(near), torch.zeros_like(near)
    for part in torch.split(x, ROWS):
        offset = part.double() - near
        total += offset.sum(dim=0)
        square += offset.square_().sum(dim=0)
    mean = total / len(x)
    return (near + mean).float(), (square / len(x) - mean**2).clamp(min=0).sqrt().float()


@dataclass(frozen=True)
class SemanticsScaler:
    """`(s - mean) @ axes`, each row divided by its own norm for `l2`, or class embeddings as they are."""

    kind: SemanticsScale
    mean: Tensor
    axes: Tensor

    @classmethod
    def fit(cls, kind: SemanticsScale, seen: Tensor) -> SemanticsScaler:
        """Fits a scaler on the embeddings of the seen classes, `(C, A)`.

        `whiten` turns to their principal axes, drops those along which they do not differ, and divides by the standard
        deviation along each, then by one number, so that the mean squared norm is 1: margins keep their meaning.

        Raises:
            DataError: they are all alike, so that they cannot be whitened.
        """
        s = seen.double()
        mean = s.mean(dim=0)
        if kind != "whiten":
            return cls(kind, mean, torch.empty(0))
        _, singular, axes = torch.linalg.svd(s - mean, full_matrices=False)
        if singular[0] <= torch.finfo(torch.float32).eps * torch.linalg.matrix_norm(s):
            raise DataError(
                "the seen classes have one and the same class embedding; leave out --semantics-scale whiten"
            )
        kept = singular > RANK * singular[0]
        singular, axes = singular[kept], axes[kept]
        first = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
        deviation = singular * first.sign()[:, 0] / len(s) ** 0.5  # with a sign that no library decides
        return cls(kind, mean, axes.T / deviation / len(singular) ** 0.5)

    def __call__(self, classes: ClassSet) -> ClassSet:
        """Returns classes with their embeddings scaled; the number of columns may be smaller."""
        if self.kind == "none":
            return classes
        if self.kind == "l2":
            return replace(classes, semantics=nn.functional.normalize(classes.semantics, dim=1))
        return replace(classes, semantics=((classes.semantics.double() - self.mean) @ self.axes).float())
