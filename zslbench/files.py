"""Files that are visible only once they are whole, and on the disk once they are visible."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zslbench.errors import DataError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, which takes its name in the end; after an error nothing is left.

    Several processes may write the same file at a time: the last one's stays.

    Raises:
        DataError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            _synchronise(part)
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        with suppress(OSError):  # some file systems cannot; then a crash of the machine may undo the renaming
            _synchronise(path.parent)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file at once; text as UTF-8.

    Raises:
        DataError: it cannot be written.
    """
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
