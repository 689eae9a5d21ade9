"""Device, precision, and the isolation of random state."""

from __future__ import annotations

import ctypes
import os
import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import numpy as np
import torch

from zslbench.errors import UsageError


def choose_device(name: str) -> torch.device:
    """Returns the device named by `auto`, `cpu`, `cuda` or `cuda:N`."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        own = int(os.environ.get("LOCAL_RANK", "0"))  # set where several processes train together
        return torch.device(f"cuda:{own % count}" if own else "cuda") if count else torch.device("cpu")
    kind, colon, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (colon and not (kind == "cuda" and index.isdigit())):
        raise UsageError(f"--device {name}: choose auto, cpu, cuda or cuda:N")
    if kind == "cuda" and count == 0:
        raise UsageError(f"--device {name}: PyTorch {torch.__version__} sees no CUDA device; try --device cpu")
    if index and int(index) >= count:
        raise UsageError(f"--device {name}: there are {count} CUDA devices, counted from 0")
    return torch.device(name)


def describe_device(device: torch.device) -> str:
    """Returns a device's name for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seeds torch's global random state, makes its algorithms deterministic, and computes with one thread on a CPU.

    Sums that are split over threads differ in their last digits, which training amplifies; with one thread a run is
    the same however many are executed at a time. All is restored on leaving.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on CUDA
    devices = [device.index or 0] if device.type == "cuda" else []
    before = torch.get_deterministic_debug_mode()
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices):
        torch.set_num_threads(1)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed writes down its caller for devices without a use
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms() does the same, and loads a compiler
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(before)
            torch.set_num_threads(threads)


def autocast(device: torch.device, precision: Literal["32", "bf16"]) -> AbstractContextManager[object]:
    """Returns the context that losses are computed in."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def random_state(device: torch.device) -> dict[str, Any]:
    """Returns the global random states of torch, NumPy and Python as tensors and JSON values."""
    numpy = np.random.get_state(legacy=False)
    numpy["state"] = {name: _tensor(part) if np.ndim(part) else int(part) for name, part in numpy["state"].items()}
    version, words, gauss = random.getstate()
    state = {"cpu": torch.get_rng_state(), "numpy": numpy, "python": [version, _tensor(words), gauss]}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restores what `random_state` returned."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"], device)
    if "numpy" in state:  # checkpoints of older versions have torch's alone
        version, words, gauss = state["python"]
        random.setstate((version, tuple(_tensor(words).tolist()), gauss))
        parts = state["numpy"]["state"].items()
        own = {name: part if isinstance(part, int) else _tensor(part).numpy() for name, part in parts}
        np.random.set_state({**state["numpy"], "state": own})


def _tensor(numbers: Any) -> torch.Tensor:
    """Returns whole numbers, or a list of them as older checkpoints have it, as one tensor, which is quickly copied."""
    return numbers if isinstance(numbers, torch.Tensor) else torch.from_numpy(np.asarray(numbers, dtype=np.int64))


class _NumPyState:
    """NumPy's global random state, read and set only where it is another: each takes longer than a step of training.

    Its words lie in memory, where they are compared. What they do not tell is a second normal number that waits to be
    drawn, so a state with one is always read and set.
    """

    WORDS = 624 * 4 + 4
    """Bytes of a Mersenne twister: its words, and its position."""

    def __init__(self) -> None:
        self.words: bytes = b""
        self.state: dict[str, Any] = {}

    def _seen(self) -> bytes:
        generator = np.random.mtrand.get_bit_generator()
        if not isinstance(generator, np.random.MT19937):
            return b""
        return ctypes.string_at(generator.ctypes.state_address, self.WORDS)

    def read(self) -> dict[str, Any]:
        """Returns the state, the same object where nothing was drawn since it was read or set."""
        words = self._seen()
        if not words or words != self.words or self.state["has_gauss"]:
            self.words, self.state = words, np.random.get_state(legacy=False)
        return self.state

    def set(self, state: dict[str, Any]) -> None:
        """Sets a state that was read."""
        if self.read() is not state:
            np.random.set_state(state)
            self.words, self.state = self._seen(), state


_numpy = _NumPyState()


class Randomness:
    """The global random states of torch, NumPy and Python as they are, to be put back in this process."""

    def __init__(self, device: torch.device) -> None:
        self.torch = torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
        self._cpu = torch.get_rng_state() if device.type == "cuda" else None
        self._numpy, self._python, self._device = _numpy.read(), random.getstate(), device

    def restore(self) -> None:
        """Puts them back."""
        if self._cpu is None:
            torch.set_rng_state(self.torch)
        else:
            torch.set_rng_state(self._cpu)
            torch.cuda.set_rng_state(self.torch, self._device)
        _numpy.set(self._numpy)
        random.setstate(self._python)
