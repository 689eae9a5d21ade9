"""Checks of the images that a method makes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from zslbench.errors import NotApplicable
from zslbench.testing.fitting import Model, built, close, generous, problem, shown, train
from zslbench.testing.isolation import untouched
from zslbench.testing.methods import check_scoring_changes_nothing
from zslbench.testing.subjects import MethodSubject
from zslbench.testing.verdicts import CheckFailed, Skip, after


@after(check_scoring_changes_nothing)
def check_reconstructs(subject: MethodSubject) -> None:
    """Images that it makes have the size of those it sees, are in [0, 1], and do not depend on each other."""
    x, pixels = _images(subject)
    model = train(subject)
    with (
        untouched(model.state, "reconstruct() changes parameters or buffers; test images must leave no trace"),
        untouched(
            lambda: {"x": x, "pixels": pixels},
            "reconstruct() changes the features or images it was given; work on copies",
        ),
    ):
        made = _made(model, x, pixels)
    if made.shape != pixels.shape:
        raise CheckFailed(
            f"reconstruct() of images {tuple(pixels.shape)} gives {tuple(made.shape)}; the same is needed"
        )
    if not bool(((made >= 0) & (made <= 1)).all()):
        raise CheckFailed("reconstruct() gives values outside of [0, 1], or none that are numbers; clamp them")
    pieces = zip(torch.split(x, 7), torch.split(pixels, 7), strict=True)
    if not close(torch.cat([model.made(*piece) for piece in pieces]), made):
        raise CheckFailed("reconstruct() differs when images come 7 at a time; use no statistics of test images")


@after(check_reconstructs)
def check_reconstruction_improves(subject: MethodSubject) -> None:
    """Images that it makes are closer to what they should be when it is trained than before."""
    x, pixels = _images(subject)
    params = generous(subject.params)
    model = train(subject, params=params)
    start = replace(model, embedder=built(subject, params, model.view.shape).eval())
    first, last = (float((_made(one, x, pixels) - pixels).square().mean()) for one in (start, model))
    if last >= first:
        raise CheckFailed(
            f"after training the mean squared error of pixels is {last:.4g}, before it {first:.4g}; do its losses "
            "reach what makes images?"
        )


def _images(subject: MethodSubject) -> tuple[Tensor, Tensor]:
    """Returns the features of some test images, and their pixels.

    Raises:
        Skip: the method is given features.
    """
    if not subject.on_images:
        raise Skip("its input is features, not images")
    x, _, pixels = shown(problem(subject))
    assert pixels is not None
    return x, pixels


def _made(model: Model, x: Tensor, pixels: Tensor) -> Tensor:
    """Returns what the model makes of images.

    Raises:
        Skip: it makes none.
    """
    try:
        return model.made(x, pixels)
    except NotApplicable as reason:
        raise Skip(str(reason)) from reason
