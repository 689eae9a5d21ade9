"""Checks of the images that a method makes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zslbench.errors import NotApplicable
from zslbench.testing.fitting import (
    Model,
    Shown,
    built,
    close,
    generous,
    problem,
    same,
    shown,
    train,
)
from zslbench.testing.methods import check_scoring_changes_nothing
from zslbench.testing.subjects import MethodSubject
from zslbench.testing.verdicts import CheckFailed, Skip, after
from zslbench.training.device import seeded


@after(check_scoring_changes_nothing)
def check_reconstructs(subject: MethodSubject) -> None:
    """Images that it makes have the size of those it sees, are in [0, 1], and do not depend on each other."""
    model, images, pixels = _model_and_images(subject)
    before, features, originals = model.state(), images.x.clone(), pixels.clone()
    made = _made(model, images, pixels)
    if made.shape != pixels.shape:
        raise CheckFailed(
            f"reconstruct() of images {tuple(pixels.shape)} gives {tuple(made.shape)}; the same is needed"
        )
    if not bool(((made >= 0) & (made <= 1)).all()):
        raise CheckFailed("reconstruct() gives values outside of [0, 1], or none that are numbers; clamp them")
    if not same(before, model.state()):
        raise CheckFailed("reconstruct() changes parameters or buffers; test images must leave no trace")
    if not (torch.equal(images.x, features) and torch.equal(pixels, originals)):
        raise CheckFailed("reconstruct() changes the features or images it was given; work on copies")
    pieces = zip(torch.split(images.x, 7), torch.split(pixels, 7), strict=True)
    if not close(torch.cat([model.made(x, own) for x, own in pieces]), made):
        raise CheckFailed("reconstruct() differs when images come 7 at a time; use no statistics of test images")


@after(check_reconstructs)
def check_reconstruction_improves(subject: MethodSubject) -> None:
    """Images that it makes are closer to what they should be when it is trained than before."""
    data, params = problem(subject), generous(subject.params)
    images, pixels = _images(subject)
    model = train(subject, data, params)
    with seeded(0, model.view.x.device):
        untrained = built(subject, params, model.view.shape).eval()
    start = replace(model, embedder=untrained)
    first, last = (float((_made(one, images, pixels) - pixels).square().mean()) for one in (start, model))
    if last >= first:
        raise CheckFailed(
            f"after training the mean squared error of pixels is {last:.4g}, before it {first:.4g}; do its losses "
            "reach what makes images?"
        )


def _images(subject: MethodSubject) -> tuple[Shown, Tensor]:
    """Returns some test images, and their pixels.

    Raises:
        Skip: the method is given features.
    """
    if not subject.on_images:
        raise Skip("its input is features, not images")
    images = shown(problem(subject))
    assert images.pixels is not None
    return images, images.pixels


def _model_and_images(subject: MethodSubject) -> tuple[Model, Shown, Tensor]:
    images, pixels = _images(subject)
    return train(subject, problem(subject)), images, pixels


def _made(model: Model, images: Shown, pixels: Tensor) -> Tensor:
    """Returns what the model makes of images.

    Raises:
        Skip: it makes none.
    """
    try:
        return model.made(images.x, pixels)
    except NotApplicable as reason:
        raise Skip(str(reason)) from reason
