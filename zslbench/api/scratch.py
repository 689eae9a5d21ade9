"""Scratch files: features larger than memory, in files without a name, which end with their process however it ends."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from zslbench.files import writing

PART = 2**26
"""Values that are computed with at a time where there are more: every benchmark of the field has fewer."""
BLOCK = 2**22
"""Values that are copied or changed row by row at a time."""


_mapped: WeakValueDictionary[int, mmap.mmap] = WeakValueDictionary()
"""What is mapped, by where it begins in memory."""


@dataclass(frozen=True)
class Scratch:
    """Where features lie that are larger than memory.

    Attributes:
        folder: where the files are made; none has a name there, so a process that is killed leaves nothing.
    """

    folder: Path

    def tensor(self, shape: tuple[int, ...], parts: Iterable[Tensor]) -> Tensor:
        """Writes parts, `(n, ...)` float32, one after another, and returns them as one tensor of this shape on disk.

        Raises:
            NotWritten: the disk is full, or the folder cannot be written to.
        """
        with writing(self.folder / "scratch file"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self.folder) as file:
                for part in parts:
                    file.write(part.contiguous().numpy().data)
                file.flush()
                mapped = mmap.mmap(file.fileno(), prod(shape) * 4)
        tensor = torch.from_numpy(np.frombuffer(mapped, dtype=np.float32).reshape(shape))
        _mapped[tensor.data_ptr()] = mapped
        return tensor


def fetch(x: Tensor, rows: Iterable[int]) -> None:
    """Has the system begin to read rows of a tensor on disk, all at once and nothing beside them.

    Left to itself, it reads one row after another, each with a hundred kilobytes around it.
    """
    mapped = _mapped.get(x.data_ptr())
    if mapped is None or not hasattr(mmap, "MADV_WILLNEED"):
        return
    size = x[0].numel() * x.element_size()
    for row in rows:
        start = row * size // mmap.PAGESIZE * mmap.PAGESIZE
        mapped.madvise(mmap.MADV_WILLNEED, start, (row + 1) * size - start)


def split(x: Tensor) -> tuple[Tensor, ...]:
    """Returns rows in parts of up to `PART` values; all in one where they are fewer."""
    return torch.split(x, _rows(x, PART))


def copied(features: Any, rows: Any, scratch: Scratch | None = None) -> Tensor:
    """Returns a copy of some rows of an array or tensor as float32, in memory or on disk."""
    step = _rows(features, BLOCK)
    chosen = (rows[start : start + step] for start in range(0, len(rows), step))
    parts = (torch.as_tensor(features[some], dtype=torch.float32) for some in chosen)
    return _assembled((len(rows), *features.shape[1:]), parts, scratch)


def changed(x: Tensor, change: Callable[[Tensor], Tensor], scratch: Scratch | None = None) -> Tensor:
    """Returns rows as a function changes them, each by itself; in memory, where more than a part block by block."""
    if scratch is None and len(split(x)) == 1:
        return change(x)
    blocks = torch.split(x, _rows(x, BLOCK))
    return _assembled(tuple(x.shape), map(change, blocks), scratch, x.device)


def _assembled(
    shape: tuple[int, ...], parts: Iterable[Tensor], scratch: Scratch | None, device: torch.device | None = None
) -> Tensor:
    if scratch is not None:
        return scratch.tensor(shape, parts)
    result = torch.empty(shape, device=device)
    for part, place in zip(parts, torch.split(result, _rows(result, BLOCK)), strict=True):
        place.copy_(part)
    return result.data  # as new: nobody has written to it, and its version is to say so


def _rows(x: Any, most: int) -> int:
    values: int = prod(x.shape[1:])
    return max(1, most // max(1, values))
