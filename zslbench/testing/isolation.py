"""The state that belongs to the whole process: random numbers and torch's global settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

ELSEWHERE = 20_260_000
"""No seed that anybody would choose."""


@contextmanager
def disturbed(seed: int = 0) -> Iterator[None]:
    """Puts the random states of Python, NumPy and torch elsewhere, and back on leaving."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([]):
        for seeds in (random.seed, np.random.seed, torch.manual_seed):
            seeds(ELSEWHERE + seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def changed_global_state(work: Callable[[], object]) -> str:
    """Does some work and returns which global state it changed, by name, or an empty string; restores random states."""
    with disturbed():
        before = _global_state()
        work()
        after = _global_state()
    return next((name for name, value in before.items() if value != after[name]), "")


def _global_state() -> dict[str, Any]:
    numpy: Any = np.random.get_state(legacy=False)
    return {
        "Python's random state": random.getstate(),
        "NumPy's random state": (
            bytes(numpy["state"]["key"]),
            numpy["state"]["pos"],
            numpy["has_gauss"],
            numpy["gauss"],
        ),
        "torch's random state": bytes(torch.get_rng_state().numpy()),
        "torch's default dtype": torch.get_default_dtype(),
        "whether torch computes gradients": torch.is_grad_enabled(),
        "torch's number of threads": torch.get_num_threads(),
        "whether torch's algorithms are deterministic": torch.are_deterministic_algorithms_enabled(),
    }
