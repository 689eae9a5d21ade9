"""Search spaces: a method's hyper-parameters, and the scaling of its data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from zslbench.api.cards import SCALINGS
from zslbench.api.embedder import GradientParams
from zslbench.api.params import Space
from zslbench.errors import UsageError
from zslbench.runs.entrant import Entrant
from zslbench.runs.scaling import searched_scaling

ROUND = 4
"""Trials proposed at a time; more would be proposed with less knowledge."""
SHARE = 0.25
"""Of the most epochs, how many a trial bears without a better value; chosen by `benchmarks/stopping.py`."""
LEAST = 5
"""Epochs without a better value that any trial bears."""
ENOUGH = 4
"""Trials that were not dropped, from which on one that is worse than their median is."""


def search_space(entrant: Entrant) -> dict[str, Space]:
    """Returns the space that the entrant's request asks for: the method's own, without what is fixed, and `--search`.

    Scaling comes first: the rest is worth nothing where it is wrong. Where everything is fixed, the space is empty.

    Raises:
        UsageError: a space is wrong, or of something that is fixed.
    """
    method, fixed = entrant.method, entrant.fixed
    scaling = {name: Space(choices=choices) for name, choices in searched_scaling(method).items()}
    own = {name: own for name, own in {**scaling, **method.params_type.search_space()}.items() if name not in fixed}
    given = dict(_parsed(text, entrant) for text in entrant.request.search)
    if both := sorted(set(given) & set(fixed)):
        raise UsageError(f"{both[0]} is both fixed to {fixed[both[0]]} and searched; give one of them")
    space = own | given
    if entrant.card.needs_attributes and "semantics_scale" in space and space["semantics_scale"].holds("whiten"):
        raise UsageError(f"{entrant.owner} needs attributes, and whitened class embeddings are none; see --search")
    return {name: space[name] for name in {**SCALINGS, **space} if name in space}


def _parsed(text: str, entrant: Entrant) -> tuple[str, Space]:
    name, _, given = text.partition("=")
    if name not in SCALINGS:
        return entrant.method.params_type.parse_space(text, entrant.owner)
    choices, known = tuple(dict.fromkeys(given.split(","))), SCALINGS[name]
    if unknown := [word for word in choices if word not in known]:
        example = f"{name}={','.join(known[:2])} for instance"
        raise UsageError(f"--search {text}: {unknown[0]!r} is none of {', '.join(known)}; give some, {example}")
    return name, Space(choices=choices)


def defaults(entrant: Entrant) -> dict[str, Any]:
    """Returns what a run without a search would take, by name, as JSON values."""
    return {**entrant.scaling._asdict(), **entrant.params.model_dump(mode="json")}


def patience(epochs: Space, share: float = SHARE) -> int:
    """Returns after how many epochs without a better value a trial ends: a share of the most, and `LEAST` at least.

    A trial reaches the least number of epochs of the space, so that there is one to choose.
    """
    numbers: list[int] = epochs.grid()
    return max(math.ceil(max(numbers) * share), LEAST, min(numbers))


def floor(early: Sequence[float]) -> float | None:
    """Returns what a trial must reach in the first epochs, as many as it bears without a better one.

    Args:
        early: what each of the earlier trials that were not dropped had reached then.
    """
    return float(np.median(early)) if len(early) >= ENOUGH else None


def proposed(entrant: Entrant, space: dict[str, Space]) -> dict[str, Space]:
    """Returns the space without the number of epochs, where that is read off the validation curve of one run.

    A cosine schedule is laid over all epochs, so that a part of a run says nothing about a shorter one.
    """
    if not isinstance(entrant.params, GradientParams):
        return space
    schedules = space["schedule"].grid() if "schedule" in space else [entrant.params.schedule]
    return space if "cosine" in schedules else {name: own for name, own in space.items() if name != "epochs"}
