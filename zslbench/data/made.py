"""What takes long to make is made once, in a folder of its own that is whole or absent; killed, the work goes on.

A folder may hold rows: one file without a header, appended to a batch at a time, and a sealed state that says how many
count, and has a checksum of each block of them. Rows are used, or gone on with, once they fit their checksums. They are
written by ordinary writes, because through a memory map a full disk would kill the process.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from zslbench.data.digests import signature
from zslbench.data.folders import cache_folder
from zslbench.errors import DataError
from zslbench.files import NotWritten, locked, seal, unseal, write_whole, writing

FILE, STATE = "rows", "state.json"
BLOCK = 2**22
"""Bytes of rows that share a checksum, their CRC-32: it goes on from batch to batch, and takes 0.5 s for a gigabyte."""
APPENDING = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
"""How rows are opened: a link would have the file that it leads to cut short."""

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Is told how much is done, images for instance, and of how much."""


class Damaged(Exception):
    """What a folder holds is not what was written there; the message is the reason alone."""


def kept_folder(kind: str, source: dict[str, str]) -> Path:
    """Returns where the cache keeps what is made from a source."""
    return cache_folder() / kind / hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()


def made_once(folder: Path, read: Callable[[Path], T | None], make: Callable[[Path], None]) -> T:
    """Returns what a folder of the cache holds, which is made first if it is absent or damaged.

    Of several processes one does the work and the others wait for it. It is done in a folder that takes its name in
    the end, and stays for the next attempt after a kill or an error, unless it is the source that is at fault.

    Args:
        folder: the folder.
        read: returns what a folder holds, or None if that is nothing of use; raises `Damaged`, which is warned about.
        make: fills a folder, in which there may be what an earlier attempt has left.

    Raises:
        NotWritten: the cache cannot be written.
    """
    if (found := _read(folder, read)) is not None:
        return found
    with writing(folder, "set ZSLBENCH_CACHE to a folder that can, with room for it"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_suffix(".lock")):
            if (found := _read(folder, read, told=True)) is not None:
                return found
            part = folder.with_suffix(".part")
            if part.is_symlink() or not part.is_dir():
                part.unlink(missing_ok=True)
            part.mkdir(exist_ok=True)
            try:
                make(part)
            except DataError as error:
                if not isinstance(error, NotWritten):
                    shutil.rmtree(part, ignore_errors=True)
                raise
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)  # only a damaged one can be here
            else:
                folder.unlink(missing_ok=True)  # of a link, what it leads to stays
            part.rename(folder)
        if (found := _read(folder, read)) is None:
            raise OSError("what was written does not read back")
    return found


def _read(folder: Path, read: Callable[[Path], T | None], told: bool = False) -> T | None:
    try:
        return read(folder)
    except Damaged as error:
        if told:
            warnings.warn(f"{folder}: damaged ({error}); it is made again", stacklevel=4)
        return None


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
        checksums: of each block of `BLOCK` bytes, and of what there is of the last one.
    """

    source: dict[str, str]
    batch: int = 0
    done: int = 0
    bytes: int = 0
    size: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)
    checksums: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """Returns the state of rows that fit their checksums, or None if there is none; raises `Damaged`.

        Rows are read once in a process as long as their file's signature stays what it was.
        """
        try:
            kept = json.loads(unseal((folder / STATE).read_bytes()))
            kept["unreadable"] = {int(i): str(why) for i, why in kept["unreadable"].items()}
            state = cls(**kept)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise Damaged(f"{STATE} is not what was written") from error
        _check_rows(folder / FILE, state)
        return state

    def write(self, folder: Path) -> None:
        """Writes the state beside the rows."""
        unreadable = {str(row): why for row, why in self.unreadable.items()}  # JSON has no other keys
        write_whole(folder / STATE, seal({**vars(self), "unreadable": unreadable}))

    def count(self, content: memoryview) -> None:
        """Counts content that is appended: its bytes, and the checksums of its blocks."""
        while content:
            begun = self.bytes % BLOCK
            part = content[: BLOCK - begun]
            last = self.checksums.pop() if begun else 0
            self.checksums.append(zlib.crc32(part, last))
            self.bytes += len(part)
            content = content[len(part) :]


def finished(folder: Path, source: dict[str, str], images: int) -> State | None:
    """Returns the state of a folder's rows if they are those of all images, or None if there is no such folder.

    Raises:
        Damaged: they are not, or do not fit their checksums.
    """
    state = State.read(folder)
    if state is None and not folder.exists():
        return None
    if state is None:
        raise Damaged(f"{STATE} is missing")
    if state.source != source:
        raise Damaged("it is of another source")
    if state.done != images or (folder / FILE).stat().st_size != state.bytes:
        raise Damaged(f"{FILE} has another size than was written")
    return state


_checked: set[tuple[object, ...]] = set()
"""Files of rows that this process has read, by path, signature and checksums."""


def _check_rows(path: Path, state: State) -> None:
    block = memoryview(bytearray(BLOCK))
    found = State(state.source)
    try:
        key = (path, *signature(path), state.bytes, *state.checksums)
        if key in _checked:
            return
        with path.open("rb") as file:
            while size := file.readinto(block[: state.bytes - found.bytes]):
                found.count(block[:size])
    except OSError as error:
        raise Damaged(f"{FILE} cannot be read, {error.strerror}") from error
    if found.bytes < state.bytes:
        raise Damaged(f"{FILE} is cut short")
    if found.checksums != state.checksums:
        wrong = sum(map(int.__ne__, found.checksums, state.checksums))
        raise Damaged(f"{wrong} of {len(found.checksums)} blocks of {FILE} do not fit their checksums")
    _checked.add(key)


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
        self.state.count(rest)
        self.state.done += len(made)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fsync(self._descriptor)
        self.state.write(self._folder)
        self._told(self.state.done)


@contextmanager
def rows_of(
    folder: Path, source: dict[str, str], images: int, progress: Progress | None = None, batch: int = 0
) -> Iterator[Rows]:
    """Opens the unfinished rows in a folder; those of another source are begun anew, `batch` images at a time.

    So are damaged ones, about which it warns.

    Raises:
        OSError: the folder cannot be written.
    """
    try:
        state = State.read(folder)
    except Damaged as error:
        warnings.warn(f"{folder}: damaged ({error}); it is begun anew", stacklevel=4)
        state = None
    if state is None or state.source != source:
        state = State(source, batch)

    def told(done: int) -> None:
        if progress is not None:
            progress(done, images)

    with os.fdopen(os.open(folder / FILE, APPENDING, 0o666), "ab") as file:
        file.truncate(state.bytes)  # what came after the last state is made again
        told(state.done)
        yield Rows(folder, state, file.fileno(), told)
