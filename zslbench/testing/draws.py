"""Random numbers drawn while a method is trained, to find those that its seed does not decide."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

ENOUGH = 16
"""So many numbers of a draw must differ from its commonest one; fewer come out the same by chance."""
LIBRARIES = tuple(str(Path(module.__file__ or "").parent) for module in (torch, np))
HARNESS = str(Path(__file__).parents[1])

Draws = dict[str, str]
"""What was drawn, and the line that drew it, by the draw's content."""


@contextmanager
def recorded() -> Iterator[Draws]:
    """Records every draw of torch from here on, and the seeds of NumPy's generators that are made."""
    draws: Draws = {}

    def default_rng(seed: Any = None) -> np.random.Generator:
        _note_seed(draws, "numpy.random.default_rng", seed)
        return made(seed)

    class RandomState(np.random.RandomState):
        def __init__(self, seed: Any = None) -> None:
            _note_seed(draws, "numpy.random.RandomState", seed)
            super().__init__(seed)

    made = np.random.default_rng
    with (
        patch.object(np.random, "default_rng", default_rng),
        patch.object(np.random, "RandomState", RandomState),
        _Recorder(draws),
    ):
        yield draws


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, draws: Draws) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.draws = draws

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if torch.Tag.nondeterministic_seeded in func.tags:
            for drawn in result if isinstance(result, tuple) else (result,):
                if isinstance(drawn, Tensor) and _is_telling(drawn):
                    content = hashlib.sha256(_numbers(drawn).tobytes()).hexdigest()
                    self.draws[f"{func} {content}"] = f"{func.overloadpacket.__name__} ({_told(_caller())})"
        return result


def _is_telling(drawn: Tensor) -> bool:
    """Whether there is more in a draw than two seeds have in common by chance."""
    if drawn.numel() <= ENOUGH:
        return False
    counts = np.unique(_numbers(drawn), return_counts=True)[1]
    return bool(drawn.numel() - counts.max() >= ENOUGH)


def _note_seed(draws: Draws, maker: str, seed: Any) -> None:
    ready = np.random.Generator | np.random.RandomState | np.random.BitGenerator
    if seed is None or isinstance(seed, ready) or _caller().startswith(HARNESS):  # which cuts the data beforehand
        return
    draws[f"{maker} {seed!r}"] = f"{maker}({seed!r}) ({_told(_caller())})"


def _caller() -> str:
    """Returns the innermost file that is none of the libraries', and the line in it."""
    frame = sys._getframe(1)
    while frame.f_back and (frame.f_code.co_filename.startswith(LIBRARIES) or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _told(place: str) -> str:
    file, _, line = place.rpartition(":")
    return f"{Path(file).name}, line {line}"


def _numbers(drawn: Tensor) -> NDArray[Any]:
    drawn = drawn.detach().cpu()
    array: NDArray[Any] = (drawn.float() if drawn.dtype == torch.bfloat16 else drawn).numpy()  # which has no such type
    return array
