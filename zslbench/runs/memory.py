"""How much memory training features may take; those that would take more are read from disk."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Self

import torch

from zslbench.errors import UsageError
from zslbench.training.device import choose_device

SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)(i?)b?", re.IGNORECASE)
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says what a container may have."""


def read_memory(given: str | int | None, name: str = "--memory") -> int | None:
    """Returns a size in bytes, given as a number or as text, such as `8GB`, `500MB` or `2GiB`; None for none.

    Raises:
        UsageError: it is no size.
    """
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given >= 0):
        return given
    found = SIZE.fullmatch(given.strip()) if isinstance(given, str) else None
    if found is None:
        raise UsageError(f"{name} {given}: give a size, such as 8GB, 500MB or 2GiB; 0 reads all features from disk")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit.lower() or " "))


class Sharers(NamedTuple):
    """How many processes share what there is.

    Attributes:
        machine: those of this machine.
        device: those of one GPU of it.
    """

    machine: int = 1
    device: int = 1


ALONE = Sharers()


class Where(NamedTuple):
    """Where models are fitted.

    Attributes:
        device: the device.
        memory: bytes that training features may take.
    """

    device: torch.device
    memory: int

    @classmethod
    def of(cls, device: str, memory: int | None, sharers: Sharers = ALONE) -> Self:
        """Returns the device of that name, with so many bytes, or half of this process's share of what there is."""
        chosen = choose_device(device)
        return cls(chosen, budget(memory, chosen, sharers))


def budget(memory: int | None, device: torch.device, sharers: Sharers = ALONE) -> int:
    """Returns how many bytes training features may take: as many as given, or half of a process's share of the memory.

    That is the memory of the machine, or of its container, or of the device, whichever gives least.
    """
    if memory is not None:
        return memory
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in LIMITS:
        with suppress(OSError, ValueError):
            found.append(int(Path(limit).read_text()))
    shares = [min(found) // sharers.machine]
    if device.type == "cuda":
        shares.append(torch.cuda.get_device_properties(device).total_memory // sharers.device)
    return min(shares) // 2
