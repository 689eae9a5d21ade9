"""How novel a mapped image is among mapped training images: the two detectors of Socher et al., NIPS 2013, Section 5.

Both are fitted to points `(N, A)`, and then give each new point a novelty that depends on no other new point.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import one_hot

NEIGHBOURS = 20
LAMBDA = 3.0
POINTS_AT_ONCE = 256


@dataclass(frozen=True)
class ClassGaussians:
    """An isometric Gaussian for each class, centred on its embedding; novelty is minus the highest log density.

    Attributes:
        centres: class embeddings, `(C, A)`.
        variances: of each class's points about its centre, `(C,)`.
    """

    centres: Tensor
    variances: Tensor

    @classmethod
    def fit(cls, points: Tensor, y: Tensor, centres: Tensor) -> tuple[Self, Tensor]:
        """Returns the Gaussians of points of classes `y`, and the novelty of the points themselves, `(N,)`."""
        spread = (points - centres[y]).square().mean(dim=1)
        members = one_hot(y, len(centres)).to(spread.dtype)
        fitted = cls(centres, _positive(spread @ members / members.sum(dim=0).clamp(min=1)))
        return fitted, fitted(points)

    def __call__(self, points: Tensor) -> Tensor:
        """Returns the novelty of points `(B, A)`, `(B,)`."""
        nats = self.centres.shape[1] / 2 * torch.log(2 * math.pi * self.variances)
        return (nats + torch.cdist(points, self.centres).square() / (2 * self.variances)).amin(dim=1)


@dataclass(frozen=True)
class LocalOutliers:
    """Local outlier probabilities (Kriegel et al., CIKM 2009) with 20 neighbours and lambda 3.

    pdist(p) = lambda sqrt(mean over its neighbours q of |p - q|^2), PLOF(p) = pdist(p) / mean of pdist(q) - 1, and
    nPLOF = lambda sqrt(mean of PLOF^2 over the fitted points). Novelty is PLOF / nPLOF, and the probability is
    LoOP = max(0, erf(novelty / sqrt(2))): of the same order, but with ties at its two ends.

    Attributes:
        points: those it was fitted to, `(N, A)` float64, as distances of near points need.
        pdist: theirs, `(N,)`.
        nplof: the normaliser, `()`.
    """

    points: Tensor
    pdist: Tensor
    nplof: Tensor

    @classmethod
    def fit(cls, points: Tensor) -> tuple[Self, Tensor]:
        """Returns the detector, and the novelty of the points themselves, none its own neighbour, `(N,)`."""
        points = points.double()
        pdist, neighbours = _neighbourhood(points, points, is_same=True)
        plof = _ratio(pdist, pdist[neighbours]) - 1
        fitted = cls(points, pdist, _positive(LAMBDA * plof.square().mean().sqrt()))
        return fitted, (plof / fitted.nplof).float()

    def __call__(self, points: Tensor) -> Tensor:
        """Returns the novelty of points `(B, A)`, `(B,)`."""
        pdist, neighbours = _neighbourhood(points.double(), self.points)
        return ((_ratio(pdist, self.pdist[neighbours]) - 1) / self.nplof).float()


def _neighbourhood(points: Tensor, among: Tensor, is_same: bool = False) -> tuple[Tensor, Tensor]:
    """Returns pdist of each point, `(B,)`, and its nearest neighbours, `(B, k)`; chunk by chunk."""
    count = min(NEIGHBOURS, len(among) - is_same)
    parts = []
    for start in range(0, len(points), POINTS_AT_ONCE):
        chunk = points[start : start + POINTS_AT_ONCE]
        distances = torch.cdist(chunk, among)
        if is_same:
            rows = torch.arange(len(chunk), device=points.device)
            distances[rows, start + rows] = torch.inf
        parts.append(distances.topk(count, largest=False))
    pdist = torch.cat([LAMBDA * nearest.square().mean(dim=1).sqrt() for nearest, _ in parts])
    return pdist, torch.cat([neighbours for _, neighbours in parts])


def _ratio(pdist: Tensor, of_neighbours: Tensor) -> Tensor:
    return pdist / _positive(of_neighbours.mean(dim=1))


def _positive(value: Tensor) -> Tensor:
    """Keeps a divisor from 0 where images coincide."""
    return value.clamp(min=torch.finfo(value.dtype).eps)
