"""Checks of a method's presets: their values are valid, and it learns with them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from zslbench.api.cards import SCALINGS, Preset, Scaling
from zslbench.api.params import Params
from zslbench.errors import UsageError
from zslbench.runs.fit import train as fitted
from zslbench.runs.problem import Problem
from zslbench.runs.scaling import own_scaling
from zslbench.testing.fitting import CPU, built, made, problem, sufficient
from zslbench.testing.methods import check_beats_chance, check_declarations, right, shortfall
from zslbench.testing.subjects import MethodSubject
from zslbench.testing.verdicts import CheckFailed, Skip, after
from zslbench.training.trainer import Fit

EASE = 0.5
"""Of what defaults must reach: published rates are for larger data and longer training than a check has."""


@after(check_declarations)
def check_presets(subject: MethodSubject) -> None:
    """Each preset has a source, and values that the method takes, for each of its data sets."""
    for name, preset in _presets(subject).items():
        if not preset.source.strip():
            raise CheckFailed(f"preset {name!r} names no source")
        for dataset in preset.datasets or ("any",):
            try:
                values, scaling = preset.resolve(dataset, preset.features)
            except UsageError as error:
                raise CheckFailed(f"preset {name!r}: {error}") from error
            for option, value in scaling.items():
                if value not in SCALINGS[option]:
                    every = ", ".join(SCALINGS[option])
                    raise CheckFailed(f"preset {name!r} for {dataset}: {option} is {value!r}; choose {every}")
            try:
                subject.target.params_type.parse(values, f"preset {name!r} for {dataset}")
            except UsageError as error:
                raise CheckFailed(str(error)) from error


@after(check_presets, check_beats_chance)
def check_presets_learn(subject: MethodSubject) -> None:
    """With each preset that names no data sets it solves a small separable problem far beyond chance and its start."""
    presets = _presets(subject)
    if subject.on_images:
        raise Skip("it takes minutes on images")
    data = problem(subject)
    useful = {}
    for name, preset in presets.items():
        if not preset.datasets and not preset.features:  # else learning rates, say, are of those data sets
            useful[name] = preset.resolve(data.name, data.features_name)
    if not useful:
        raise Skip("its presets are for certain data sets or features alone")
    for name, (values, scaling) in useful.items():
        params = subject.target.params_type.parse(values, f"preset {name!r}")
        try:
            wrong = _shortfall(subject, params, Scaling(**{**own_scaling(subject.target)._asdict(), **scaling}))
        except Exception as error:  # a loss that is NaN, for instance
            raise CheckFailed(f"with preset {name!r}: {error}") from error
        if wrong:
            raise CheckFailed(f"with preset {name!r} {wrong}; is its learning rate for other data?")


def _presets(subject: MethodSubject) -> dict[str, Preset]:
    """Returns the presets by name.

    Raises:
        Skip: there are none.
    """
    if not subject.known_card.presets:
        raise Skip("it has no presets")
    return dict(subject.known_card.presets)


def _shortfall(subject: MethodSubject, params: Params, scaling: Scaling) -> str:
    """Returns what a training with these parameters misses, in words; nothing if it is enough."""
    data = problem(subject)
    cut, enough = Problem.of(data, subject.setting, scaling), sufficient(params, len(data.train))
    model = fitted(partial(made, subject, enough), cut, 0, Fit(CPU))
    wrong = shortfall(model, data, EASE)
    if wrong or not model.fitted.losses:  # a closed form has no state before it
        return wrong
    start = replace(model, embedder=built(subject, enough, cut.train.shape))
    start.embedder.solve(cut.train)
    start.embedder.eval()
    with torch.no_grad():
        start.embedder.finish(cut.train)
    before, after = (right(some)["unseen"] for some in (start, model))
    if after > before:
        return ""
    return f"of the images of unseen classes {after:.0%} are right among these, and {before:.0%} before training"
