"""Shots: how many training images of each seen class a run is given. How they are typed, printed, and explained."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from zslbench.api.dataset import ZSLData

Shots = int | float | None
"""A number of images, a share of them below 1, or None for all."""
ALL = "all"


def read_shots(given: object) -> tuple[Shots, ...]:
    """Returns what is typed, `4`, `0.1`, `all` or several of these with commas, or what Python gives in their place.

    Raises:
        ValueError: one is no number of images, nor a share of them.
    """
    every = given.split(",") if isinstance(given, str) else given if isinstance(given, Iterable) else [given]
    return tuple(dict.fromkeys(map(_read, every))) or (None,)


def _read(given: object) -> Shots:
    if given is None or given == ALL:
        return None
    try:
        value = float(str(given))
    except ValueError:
        value = 0.0
    if isinstance(given, bool) or not (0 < value < 1 or (value >= 1 and value.is_integer())):
        raise ValueError("give a whole number of images, a share between 0 and 1, or all")
    return value if value < 1 else int(value)


def shots_words(shots: Shots, *, every: bool = False) -> list[str]:
    """Returns shots as they are printed; nothing for all images, unless `every` is wanted."""
    return [f"shots={ALL if shots is None else shots}"] if every or shots is not None else []


def scarce(given: Iterable[tuple[ZSLData, Shots]]) -> list[str]:
    """Returns a line for each data set and number of images that some of its seen classes do not have."""
    lines = {}
    for data, shots in given:
        if shots is None or (data.name, shots) in lines:
            continue
        counts = np.unique(data.labels[data.train], return_counts=True)[1]
        if fewer := int((counts < shots).sum()):
            some = f"{fewer} of {len(counts)} seen classes of {data.name}"
            lines[data.name, shots] = f"--shots {shots}: {some} have fewer training images, and keep all"
    return list(lines.values())
