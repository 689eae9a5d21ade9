"""Rows of a file that takes long to make: killed and started again, the work goes on where it was.

What is done lies in a folder of its own: raw rows, appended a batch at a time, and a state that says how many count.
Rows are written by ordinary writes, because through a memory map a full disk would kill the process.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from zslbench.files import whole

FILE, STATE = "rows", "state.json"

Progress = Callable[[int, int], None]
"""Is told how many images are done, and of how many."""


@dataclass
class State:
    """How far the work is.

    Attributes:
        source: what identifies it; a state of another source is not gone on with.
        batch: images at a time; it is kept, because features differ in their last bits between batch sizes.
        done: images that were dealt with.
        bytes: written so far.
        size: numbers in a row, 0 before the first.
        unreadable: position of an image that could not be decoded -> reason.
    """

    source: dict[str, str]
    batch: int
    done: int
    bytes: int
    size: int
    unreadable: dict[int, str]


class Rows:
    """An open file of rows, and the state that says how much of it counts."""

    def __init__(self, folder: Path, state: State, descriptor: int) -> None:
        self.state = state
        self._folder, self._descriptor = folder, descriptor

    def append(self, content: bytes, images: int, unreadable: dict[int, str]) -> None:
        """Adds what came of the next images; it counts once it is on the disk."""
        rest = memoryview(content)
        self.state.bytes += len(rest)
        self.state.done += images
        self.state.unreadable |= unreadable
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fsync(self._descriptor)
        with whole(self._folder / STATE) as part:
            part.write_text(json.dumps(asdict(self.state)), encoding="utf-8")


@contextmanager
def rows_of(folder: Path, source: dict[str, str], batch: int = 0) -> Iterator[Rows]:
    """Opens the unfinished work in a folder, which is made if need be; that of another source is begun anew.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = _resume(folder, source, batch)
    with (folder / FILE).open("ab") as file:
        file.truncate(state.bytes)  # what came after the last state is made again
        yield Rows(folder, state, file.fileno())


def _resume(folder: Path, source: dict[str, str], batch: int) -> State:
    """Returns the state in a folder, or a new one if there is none, a damaged one, or one of another source."""
    new = State(source, batch, done=0, bytes=0, size=0, unreadable={})
    try:
        kept = json.loads((folder / STATE).read_text(encoding="utf-8"))
        kept["unreadable"] = {int(i): why for i, why in kept["unreadable"].items()}
        state = State(**kept)
        usable = state.source == source and (folder / FILE).stat().st_size >= state.bytes
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return new
    return state if usable else new
