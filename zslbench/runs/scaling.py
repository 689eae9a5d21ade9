"""What a method declares about the scaling of its data."""

from __future__ import annotations

from typing import Any

from zslbench.api.cards import SCALINGS, Scaling
from zslbench.api.embedder import Embedder


def own_scaling(method: type[Embedder[Any]]) -> Scaling:
    """Returns the scaling of a method unless anybody says otherwise."""
    return Scaling(**{name: getattr(method, name) for name in SCALINGS})


def searched_scaling(method: type[Embedder[Any]]) -> dict[str, tuple[str, ...]]:
    """Returns what tuning may choose from, by the name of what it is for; nothing where a method leaves it alone."""
    declared = {name: tuple(getattr(method, f"{name}s")) for name in SCALINGS}
    return {name: choices for name, choices in declared.items() if choices}


def misdeclared(method: type[Embedder[Any]]) -> str:
    """Returns what is wrong with what a method declares, or an empty string."""
    for name, known in SCALINGS.items():
        own, choices, every = getattr(method, name), getattr(method, f"{name}s"), ", ".join(known)
        if own not in known:
            return f"{name} is {own!r}; choose {every}"
        if not isinstance(choices, tuple) or not set(choices) <= set(known):
            return f"{name}s is {choices!r}; give a tuple of some of {every}"
        if choices and own not in choices:
            return f"{name}s is {choices!r}; add its own {name}, {own!r}, so that tuning finds nothing worse"
        if name in method.params_type.model_fields:
            return f"a parameter is called {name!r}, as --{name.replace('_', '-')} is; give it another name"
    return ""
