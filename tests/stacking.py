"""Fits alone and as one, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from zslbench.api.embedder import Embedder
from zslbench.api.views import TrainView
from zslbench.runs.fit import fit_new
from zslbench.training.device import seeded
from zslbench.training.lockstep import in_lockstep
from zslbench.training.trainer import Fit, Fitted

CPU = torch.device("cpu")
Made = tuple[Embedder[Any], Fitted]


def double(view: TrainView) -> TrainView:
    """The same view in float64."""
    classes = replace(view.classes, semantics=view.classes.semantics.double())
    unlabelled = None if view.unlabelled is None else view.unlabelled.double()
    return view.with_features(view.x.double(), unlabelled).with_classes(classes)


def work(
    method: type[Embedder[Any]], view: TrainView, seed: int, how: Fit | None = None, **params: Any
) -> Callable[[], Made]:
    """Fits a method anew."""
    return partial(fit_new, lambda: method(method.params_type(**params)), view, seed, how or Fit(CPU))


def as_one(works: Sequence[Callable[[], Made]], most: int | None = None) -> list[Any]:
    with seeded(0, CPU):
        return in_lockstep(works, CPU, most)


def apart(a: Embedder[Any], b: Embedder[Any]) -> float:
    """The largest difference of a parameter or buffer, beside the largest value of its tensor."""
    pairs = [(x.double(), y.double()) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)]
    return max(float((x - y).abs().max() / x.abs().max().clamp(min=1e-12)) for x, y in pairs if x.numel())
