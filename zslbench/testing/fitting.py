"""Trains a method on a problem as the harness would, and keeps what is needed to compare two trainings."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Batch, Embedder, ImageParams
from zslbench.api.evaluator import Scorer
from zslbench.api.images import Pixels
from zslbench.api.params import Params
from zslbench.api.views import ClassSet, ProblemShape, TrainView
from zslbench.data.scaling import Scaler
from zslbench.errors import NotApplicable
from zslbench.runs import fit
from zslbench.runs.measure import watched
from zslbench.runs.problem import Problem
from zslbench.runs.scaling import own_scaling
from zslbench.testing.problem import painted, separable
from zslbench.testing.subjects import MethodSubject
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit

CPU = torch.device("cpu")
EPOCHS, BATCH = 3, 64
EPOCHS_TO_LEARN, BATCH_TO_LEARN = 30, 32
STEPS_TO_LEARN = 320
MOST_STEPS = 1200


class Shown(NamedTuple):
    """Some test images of both sides, as a method is shown them.

    Attributes:
        x: their features, of the centre crops where the input is images; unscaled, `(B, D)`.
        classes: all classes.
        pixels: the centre crops where the input is images, `(B, 3, H, W)` in [0, 1].
    """

    x: Tensor
    classes: ClassSet
    pixels: Tensor | None


@dataclass(frozen=True)
class Model(fit.Model):
    """A trained method, asked about images that are handed over."""

    @property
    def view(self) -> TrainView:
        """What it was trained on."""
        return self.problem.train

    @property
    def scale(self) -> Scaler:
        """How features are scaled for it."""
        return self.problem.scale

    def state(self) -> dict[str, Tensor]:
        """Returns its parameters and persistent buffers."""
        return dict(self.embedder.state_dict())

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns the scores of unscaled features `(B, D)` and classes, `(B, C)`."""
        with torch.no_grad():
            return self.embedder.scores(self.scale(x), self.problem.semantics(classes))

    def made(self, x: Tensor, pixels: Tensor) -> Tensor:
        """Returns what the model makes of images with these unscaled features, `(B, 3, H, W)`.

        Raises:
            NotApplicable: it makes no images.
        """
        with torch.no_grad():
            return self.embedder.reconstruct(self.scale(x), pixels)

    def answers(self, images: Shown) -> dict[str, Tensor]:
        """Returns the scores of some images and, where the method makes them, images."""
        answers = {"scores": self.scores(images.x, images.classes)}
        if images.pixels is not None:
            with suppress(NotApplicable):
                answers["images"] = self.made(images.x, images.pixels)
        return answers


def problem(subject: MethodSubject, **options: Any) -> ZSLData:
    """Returns the separable problem, with images painted for a method that sees them; see `separable`."""
    options["shared"] = bool(subject.card and subject.card.needs_shared_space)
    if not subject.on_images:
        return separable(**options)
    assert isinstance(subject.params, ImageParams)  # check_declarations has seen to that
    return painted(subject.params.image_size, subject.params.crops, **options)


def shown(data: ZSLData, which: slice = slice(None, None, 7)) -> Shown:
    """Returns some of a problem's test images."""
    test = data.test_view()
    x, pixels = _centred(test.x(which), test.pixels, which)
    return Shown(x, test.classes, pixels)


def whole_batch(view: TrainView) -> Batch:
    """Returns a batch of copies of all training images, of their centre crops; its generator is always alike."""
    x, pixels = _centred(view.x, view.pixels, slice(None))
    return Batch(x.clone(), view.y.clone(), view.classes, torch.Generator().manual_seed(1), pixels)


def _centred(x: Tensor, pixels: Pixels | None, which: slice) -> tuple[Tensor, Tensor | None]:
    """Returns features of images as they are, or those of their centre crops with the crops."""
    return (x, None) if pixels is None else (x[:, 0], pixels.centres(np.arange(len(pixels))[which]) / 255)


def shortened(params: Params, batch: int = BATCH) -> Params:
    """Returns parameters with no more than 3 epochs in any stage, of batches no larger than this."""
    return _changed(params, lambda epochs: min(epochs, EPOCHS), batch)


def generous(params: Params) -> Params:
    """Returns parameters with 30 epochs in every stage, of small batches.

    Defaults count on thousands of images; on a small problem as many epochs would be but a few steps.
    """
    return _changed(params, lambda epochs: EPOCHS_TO_LEARN, BATCH_TO_LEARN)


def sufficient(params: Params, images: int) -> Params:
    """Returns parameters with their own epochs, but 320 to 1200 steps in every stage, of small batches."""
    turns = math.ceil(images / min(getattr(params, "batch_size", BATCH_TO_LEARN), BATCH_TO_LEARN))
    least, most = math.ceil(STEPS_TO_LEARN / turns), math.ceil(MOST_STEPS / turns)
    return _changed(params, lambda epochs: max(least, min(epochs, most)), BATCH_TO_LEARN)


def _changed(params: Params, epochs: Callable[[int], int], batch: int) -> Params:
    values = params.model_dump()
    changes = {name: epochs(value) for name, value in values.items() if name.endswith("epochs")}
    if "batch_size" in values:
        changes["batch_size"] = min(values["batch_size"], batch)
    try:
        return type(params)(**{**values, **changes})
    except ValidationError:  # the method's own rules forbid it
        return params


def made(subject: MethodSubject, params: Params) -> Embedder[Any]:
    """Returns a new embedder; what it might take from the network is drawn at random."""
    embedder = subject.target(params)
    embedder.pretrained = False
    return embedder


def built(subject: MethodSubject, params: Params, shape: ProblemShape, seed: int = 0) -> Embedder[Any]:
    """Returns a new embedder, built for a problem of this shape; the seed is set before."""
    with seeded(seed, CPU):
        embedder = made(subject, params)
        embedder.build(shape)
    return embedder


def train_view(subject: MethodSubject, data: ZSLData | None = None) -> TrainView:
    """Returns what the method may see of a problem, scaled as it wants."""
    return _problem(subject, data).train


def _problem(subject: MethodSubject, data: ZSLData | None) -> Problem:
    return Problem.of(data or problem(subject), subject.setting, own_scaling(subject.target))


def train(
    subject: MethodSubject,
    data: ZSLData | None = None,
    params: Params | None = None,
    *,
    how: Fit | None = None,
    watch: bool = False,
    seed: int = 0,
) -> Model:
    """Fits as a run does, on the separable problem and with short training unless these are given.

    With `watch` it is scored after each epoch as a trial of a search is, of which the last epoch is the best one.
    """
    make, looks = partial(made, subject, params or shortened(subject.params)), count()

    def look(scorer: Scorer) -> dict[str, float]:
        return watched(scorer) | {"looks": float(next(looks))}

    if watch:
        how = Fit(CPU, stop_on="looks", stop_after=sys.maxsize)
    model = fit.train(make, _problem(subject, data), seed, how or Fit(CPU), look if watch else None)
    return Model(**vars(model))


def close(a: Tensor, b: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two tensors agree but for rounding, measured by the largest value."""
    largest = float(b.abs().max()) if b.numel() else 0.0
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance * largest)
