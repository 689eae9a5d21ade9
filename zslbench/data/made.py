"""What takes long to make is made once, in a folder of its own that is whole or absent; killed, the work goes on.

A folder may hold rows: one file without a header, appended to a batch at a time, and a state that says how many count.
They are written by ordinary writes, because through a memory map a full disk would kill the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from zslbench.data.folders import cache_folder
from zslbench.errors import DataError
from zslbench.files import NotWritten, locked, write_whole, writing

FILE, STATE = "rows", "state.json"

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Is told how much is done, images for instance, and of how much."""


def kept_folder(kind: str, source: dict[str, str]) -> Path:
    """Returns where the cache keeps what is made from a source."""
    return cache_folder() / kind / hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()


def made_once(folder: Path, read: Callable[[Path], T | None], make: Callable[[Path], None]) -> T:
    """Returns what a folder of the cache holds, which is made first if it is absent or damaged.

    Of several processes one does the work and the others wait for it. It is done in a folder that takes its name in
    the end, and stays for the next attempt after a kill or an error, unless it is the source that is at fault.

    Args:
        folder: the folder.
        read: returns what a folder holds, or None if that is not whole.
        make: fills a folder, in which there may be what an earlier attempt has left.

    Raises:
        NotWritten: the cache cannot be written.
    """
    if (found := read(folder)) is not None:
        return found
    with writing(folder, "set ZSLBENCH_CACHE to a folder that can, with room for it"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_suffix(".lock")):
            if (found := read(folder)) is not None:
                return found
            part = folder.with_suffix(".part")
            part.mkdir(exist_ok=True)
            try:
                make(part)
            except DataError as error:
                if not isinstance(error, NotWritten):
                    shutil.rmtree(part, ignore_errors=True)
                raise
            shutil.rmtree(folder, ignore_errors=True)  # only a damaged one can be here
            part.rename(folder)
        if (found := read(folder)) is None:
            raise OSError("what was written does not read back")
    return found


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
    batch: int = 0
    done: int = 0
    bytes: int = 0
    size: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """Returns the state in a folder, or None if there is none, or a damaged one, or not all rows that it counts."""
        try:
            kept = json.loads((folder / STATE).read_text(encoding="utf-8"))
            kept["unreadable"] = {int(i): str(why) for i, why in kept["unreadable"].items()}
            state = cls(**kept)
            return state if (folder / FILE).stat().st_size >= state.bytes else None
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None


class Rows:
    """An open file of rows, and the state that says how much of it counts."""

    def __init__(self, folder: Path, state: State, descriptor: int, told: Callable[[int], None]) -> None:
        self.state = state
        self._folder, self._descriptor, self._told = folder, descriptor, told

    def append(self, content: bytes, made: Sequence[object]) -> None:
        """Adds rows of the next images; they count once they are on the disk.

        Of each image `made` has an item: a string, the reason, if it is unreadable, whether or not it has a row.
        """
        rest = memoryview(content)
        self.state.unreadable |= {self.state.done + i: why for i, why in enumerate(made) if isinstance(why, str)}
        self.state.bytes += len(rest)
        self.state.done += len(made)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fsync(self._descriptor)
        write_whole(self._folder / STATE, json.dumps(asdict(self.state)))
        self._told(self.state.done)


@contextmanager
def rows_of(
    folder: Path, source: dict[str, str], images: int, progress: Progress | None = None, batch: int = 0
) -> Iterator[Rows]:
    """Opens the unfinished rows in a folder; those of another source are begun anew, `batch` images at a time.

    Raises:
        OSError: the folder cannot be written.
    """
    state = State.read(folder)
    if state is None or state.source != source:
        state = State(source, batch)

    def told(done: int) -> None:
        if progress is not None:
            progress(done, images)

    with (folder / FILE).open("ab") as file:
        file.truncate(state.bytes)  # what came after the last state is made again
        told(state.done)
        yield Rows(folder, state, file.fileno(), told)
