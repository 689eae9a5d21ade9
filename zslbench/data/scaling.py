"""Feature scaling, fitted on the training part only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zslbench.api.cards import Scale


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
            shift, divisor = x.mean(dim=0), x.std(dim=0, correction=0)
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
        return (x - self.shift) / self.divisor
