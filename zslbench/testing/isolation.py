"""What a method must not change: its inputs, random numbers, and torch's global settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zslbench.testing.verdicts import CheckFailed

ELSEWHERE = 20_260_000
"""No seed that anybody would choose."""
Arrays = Mapping[str, Any]
"""Tensors and NumPy arrays by name."""


def differing(one: Arrays, other: Arrays) -> str:
    """Returns the name of an array that is not the same in both, bit for bit, or an empty string."""
    for name in dict.fromkeys([*one, *other]):
        equal = torch.equal if isinstance(one.get(name), Tensor) else np.array_equal
        if name not in one or name not in other or not equal(one[name], other[name]):
            return name
    return ""


@contextmanager
def untouched(arrays: Callable[[], Arrays], wrong: str) -> Iterator[None]:
    """Fails the check, with what is wrong, if one of these arrays is another on leaving."""
    before = deepcopy(dict(arrays()))
    yield
    if differing(before, arrays()):
        raise CheckFailed(wrong)


@contextmanager
def disturbed(seed: int = 0) -> Iterator[None]:
    """Puts the random states of Python, NumPy and torch elsewhere, and back on leaving."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([]):
        seed_everything(ELSEWHERE + seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def seed_everything(seed: int) -> None:
    """Seeds the random states of Python, NumPy and torch."""
    for seeds in (random.seed, np.random.seed, torch.manual_seed):
        seeds(seed)


def changed_global_state(work: Callable[[], object]) -> str:
    """Does some work and returns which global state it changed, by name, or an empty string; restores random states."""
    with disturbed():
        before = _global_state()
        work()
        after = _global_state()
    return next((name for name, value in before.items() if value != after[name]), "")


def _global_state() -> dict[str, Any]:
    return {
        "Python's random state": random.getstate(),
        "NumPy's random state": [np.asarray(part).tolist() for part in np.random.get_state()],
        "torch's random state": bytes(torch.get_rng_state().numpy()),
        "torch's default dtype": torch.get_default_dtype(),
        "whether torch computes gradients": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "whether torch's algorithms are deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def reachable(thing: Any, met: set[int] | None = None) -> list[Any]:
    """Returns all tensors and arrays that attributes, containers and closures lead to."""
    met = set() if met is None else met
    if id(thing) in met or isinstance(thing, str | bytes | int | float | bool | None):
        return []
    met.add(id(thing))
    if isinstance(thing, Tensor | np.ndarray):
        return [thing]
    if isinstance(thing, type | ModuleType):
        return []
    if isinstance(thing, dict):
        parts = [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset):
        parts = list(thing)
    elif isinstance(thing, FunctionType):
        parts = [cell.cell_contents for cell in thing.__closure__ or ()]
    elif isinstance(thing, MethodType):
        parts = [thing.__self__]
    else:
        parts = list(getattr(thing, "__dict__", {}).values())
    return [found for part in parts for found in reachable(part, met)]
