"""What SP-AEN's critic takes for real: F(x), or a control that leaves out what the paper says F(x) brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from zslbench import Batch, TrainView

Target = Literal["reconstruction", "gaussian", "untrained", "shuffled", "ridge"]

RIDGE = 0.1
"""Strength of the ridge regression, in mean eigenvalues of X'X."""


def matched(target: Target, batch: Batch, embedding: Callable[[], Tensor], ridge: Tensor) -> Tensor:
    """Returns what E's outputs are to look like, `(B, A)`.

    `reconstruction` is F(x). `gaussian` knows nothing of images, `untrained` is a random map of them, and `ridge` knows
    their classes, each with a mean squared norm of 1. `shuffled` takes each coordinate of F(x) from an image of its
    own, so that only their distributions one by one are F's. (Whole rows in another order would change nothing, since
    a critic compares distributions.)

    Args:
        target: which of these.
        batch: the images.
        embedding: computes F(x), `(B, A)`.
        ridge: the map that `ridge_map` returns, `(D, A)`.
    """
    attributes = ridge.shape[1]
    if target == "gaussian":
        uniform = batch.rand(attributes).clamp(1e-6, 1 - 1e-6)
        noise: Tensor = torch.special.ndtri(uniform) / attributes**0.5
        return noise
    if target == "ridge":
        return _unit(batch.x @ ridge)
    if target == "untrained":
        return _unit(embedding())
    if target == "shuffled":
        real = embedding()
        return real.gather(0, batch.rand(attributes).argsort(dim=0))
    return embedding()


def _unit(rows: Tensor) -> Tensor:
    """Returns rows times one number, so that their mean squared norm is 1."""
    return rows / rows.square().sum(dim=1).mean().sqrt().clamp(min=1e-12)


def ridge_map(view: TrainView) -> Tensor:
    """Returns W, `(D, A)`, of the ridge regression from features to the class embedding of each image.

    W = (X'X + r I)^-1 X'S_y, where r is `RIDGE` times the mean eigenvalue of X'X; computed in float64.
    """
    semantics = view.semantics.double()

    def products(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        x = x.flatten(0, -2)
        return x.T @ x, x.T @ semantics[y].repeat_interleave(len(x) // len(y), dim=0)

    gram, cross = view.sums(products)
    strength = RIDGE * gram.diagonal().mean()
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    solution: Tensor = torch.linalg.solve(gram + strength * identity, cross)
    return solution.to(view.x.dtype)
