"""The methods of a bench as functions, for scripts: `zslbench.compare(["spaen", "sae"], dataset="digits")`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from zslbench.bench import Bench

P = ParamSpec("P")
R = TypeVar("R")


def _function(verb: Callable[Concatenate[Bench, P], R]) -> Callable[P, R]:
    """Returns a method of `Bench` as a function that takes the settings of the bench among its options."""
    settings, own = inspect.signature(Bench).parameters, inspect.signature(verb)

    @wraps(verb)
    def function(*arguments: Any, **options: Any) -> Any:
        with Bench(**{name: options.pop(name) for name in settings if name in options}) as bench:
            return verb(bench, *arguments, **options)

    function.__doc__ = f"{inspect.getdoc(verb)}\n\nIt takes the settings of a bench too: {', '.join(settings)}."
    function.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])  # type: ignore[attr-defined]
    return function


run = _function(Bench.run)  # type: ignore[arg-type]
"""`Bench.run` on a bench with default settings, or with settings among the options; so are the functions below."""
compare = _function(Bench.compare)  # type: ignore[arg-type]
"""`Bench.compare`, which takes the settings of a bench too."""
tune = _function(Bench.tune)  # type: ignore[arg-type]
"""`Bench.tune`, which takes the settings of a bench too."""
evaluate = _function(Bench.evaluate)
"""`Bench.evaluate`, which takes the settings of a bench too."""
load_model = _function(Bench.load_model)
"""`Bench.load_model`, which takes the settings of a bench too."""
load = _function(Bench.load)
"""`Bench.load`, which takes the settings of a bench too."""
