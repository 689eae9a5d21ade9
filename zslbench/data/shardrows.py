"""Features of shards as rows on disk: streamed into the cache a block at a time; killed, the work goes on."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench.data.digests import file_digest, signature
from zslbench.data.made import FILE, Progress, State, finished, kept_folder, made_once, rows_of
from zslbench.errors import DataError
from zslbench.files import reading

BLOCK_BYTES = 2**24
"""How much of the features is held in memory at a time, as float32."""
WIDEST = 2**20
"""Numbers of an image beyond which a shard is damaged."""

Called = Callable[[int], str]
"""Says which row of a block a message means."""


@dataclass(frozen=True)
class Streamed:
    """Features in shards, which are read once, in order.

    Attributes:
        paths: the shards.
        name: the column or member that has the features.
        shape: images, and numbers of each.
        blocks: yields float32 rows from a row on, in blocks of any length.
        progress: is told how many images are done.
    """

    paths: Sequence[Path]
    name: str
    shape: tuple[int, int]
    blocks: Callable[[int], Iterator[NDArray[np.float32]]]
    progress: Progress | None = None

    def rows(self) -> NDArray[np.float32]:
        """Returns the features, `(N, D)` float32 and finite, memory-mapped from the cache.

        Shards that changed since are read again from the first on.

        Raises:
            DataError: a shard is damaged, or its features are not as the first shard's.
        """
        before = [signature(path) for path in self.paths]
        source = {"array": self.name, "shape": str(self.shape), "shards": self._digest()}
        folder = _folder(self.paths)
        made_once(folder, partial(self._read, source), partial(self._make, source, before))
        with reading(folder / FILE):
            return np.memmap(folder / FILE, "<f4", "r", shape=self.shape)

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in self.paths:
            with reading(path):
                digest.update(f"{file_digest(path)} ".encode())
        return digest.hexdigest()

    def _read(self, source: dict[str, str], folder: Path) -> State | None:
        state = State.read(folder)
        if state is not None and state.source != source:
            return None  # of what the shards were before
        return finished(folder, source, self.shape[0])

    def _make(self, source: dict[str, str], before: list[list[int]], folder: Path) -> None:
        images, size = self.shape
        with rows_of(folder, source, images, self.progress) as rows:
            rows.state.size = size
            for block in self.blocks(rows.state.done):
                rows.append(np.ascontiguousarray(block, "<f4").tobytes(), range(len(block)))
        for path, own in zip(self.paths, before, strict=True):
            if signature(path) != own:
                raise DataError(f"{path}: it changed while it was read; issue the command again")


def forget(paths: Sequence[Path]) -> None:
    """Removes the rows of shards from the cache, once a data set holds them."""
    shutil.rmtree(_folder(paths), ignore_errors=True)


def per_block(size: int) -> int:
    """Returns how many rows are read at a time."""
    return max(1, BLOCK_BYTES // (4 * max(1, size)))


def finite(path: Path, values: NDArray[Any], called: Called) -> NDArray[np.float32]:
    """Returns rows as float32; raises a DataError that names the first with NaN, or what float32 cannot hold."""
    with np.errstate(all="ignore"):
        rows = np.asarray(values, dtype=np.float32)
    sound = np.isfinite(rows).all(axis=1)
    if not sound.all():
        raise DataError(
            f"{path}: {called(int(sound.argmin()))} has values that are NaN or infinite; repair it, or leave it out"
        )
    return rows


def _folder(paths: Sequence[Path]) -> Path:
    return kept_folder("shards", {"files": "\n".join(str(path.absolute()) for path in paths)})
