"""Files: they become visible only when whole and safely on disk, and errors name a file that cannot be read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path, PurePath
from typing import Any

from zslbench.errors import DataError, UsageError, ZSLBenchError, one_line

EXPANSION, SMALL = 100, 2**26
"""How many times its own size a file's content may be, and how many bytes it may be whatever the file's size."""
CLUTTER = {
    *(
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "icon\r",
        "__pycache__",
        "lost+found",
    ),
    *("@eadir", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "system volume information"),
}
"""Names, in lower case, of files and folders that programs leave behind and nobody means, hidden ones aside."""
FULL = re.compile(r"No space left on device|Disk quota exceeded|\d+ requested and \d+ written")
"""What libraries say of a full disk where they do not pass its number on; the last is NumPy's."""
NODE = platform.node().replace(".", "_")
"""This machine, in names of unfinished files."""
ABANDONED = 24 * 3600.0
"""Seconds after which an unfinished file counts as abandoned, where its process cannot be looked for."""


class Locked(Exception):
    """Another process holds a lock."""


HEAD, TAIL = b'{\n "sha256": "', b'",\n'
"""What stands before and after a seal, a hexadecimal SHA-256 of all that follows; the whole is a JSON object."""
DIGITS = 64
BODY = len(HEAD) + DIGITS + len(TAIL)


class Unsealed(ValueError):
    """Text has no checksum: it is of a version that wrote none, or damaged."""


class NotWritten(DataError):
    """A file or folder cannot be written."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, which takes its name in the end; after an error nothing is left.

    Several processes may write the same file at a time: the last one's stays. What processes that were killed had begun
    of it is removed. Raises `NotWritten` as `writing` does.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob(f".{escape(path.name)}.*.part"):
            if abandoned(old):
                old.unlink(missing_ok=True)
        part = path.with_name(f".{path.name}.{NODE}-{os.getpid()}.part")
        try:
            yield part
            publish(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Gives an empty folder beside `path` to fill, which takes its name in the end; after an error nothing is left.

    What processes that were killed had begun of it is removed. Raises `NotWritten` as `writing` does, also where
    something that is no empty folder has the name already.
    """
    with writing(path, "move away what is there, or give another name"):
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.glob(f".{escape(path.name)}.*.part"):
            if abandoned(old):
                shutil.rmtree(old, ignore_errors=True)
        part = path.with_name(f".{path.name}.{NODE}-{os.getpid()}.part")
        part.mkdir()
        try:
            yield part
            with suppress(FileNotFoundError):
                path.rmdir()
            part.rename(path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def abandoned(part: Path) -> bool:
    """Whether nobody writes an unfinished file any more: its process is gone, or on another machine and long silent."""
    node, _, process = part.name.removesuffix(".part").rpartition("-")
    if node.endswith(f".{NODE}") and process.isdigit():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass
        return False
    with suppress(OSError):
        return time.time() - part.lstat().st_mtime > ABANDONED
    return False


def write_whole(path: Path, content: bytes | str) -> None:
    """Writes a file at once; text as UTF-8. Raises `NotWritten` as `writing` does."""
    with whole(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def publish(part: Path, path: Path) -> None:
    """Gives a finished file its name once its content is on the disk, or raises an OSError."""
    _synchronise(part)
    part.replace(path)
    with suppress(OSError):  # some file systems cannot; then a crash of the machine may undo the renaming
        _synchronise(path.parent)


def seal(values: dict[str, Any]) -> str:
    """Returns JSON values, at least one, as text that begins with the checksum of the rest.

    So a flipped bit in what is stored never becomes a number in a table.
    """
    body = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False).removeprefix("{\n")
    return f"{HEAD.decode()}{_digest(body.encode())}{TAIL.decode()}{body}"


def unseal(content: bytes) -> bytes:
    """Returns what `seal` was given, as JSON.

    Raises:
        Unsealed: there is no checksum.
        ValueError: the content does not fit it.
    """
    if not (content.startswith(HEAD) and content[BODY - len(TAIL) : BODY] == TAIL):
        raise Unsealed("it has no checksum")
    body = content[BODY:]
    if content[len(HEAD) : len(HEAD) + DIGITS] != _digest(body).encode():
        raise ValueError("its content does not fit its checksum")
    return b"{\n" + body


@contextmanager
def writing(path: Path, advice: str = "") -> Iterator[None]:
    """Raises a `NotWritten` that says in one line why a file or folder cannot be written; `advice` is what to do.

    Where the disk is full, that is to free space on the folder's disk.
    """
    try:
        yield
    except OSError as error:
        reason, told = error.strerror or one_line(error), FULL.search(str(error))
        if told or error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = error.strerror or os.strerror(errno.ENOSPC)
            advice = f"free space on the disk of {path.parent} and issue the command again"
        elif isinstance(error, IsADirectoryError):
            advice = "a folder has the name of the file; move it away"
        end = f"; {advice}" if advice else ""
        raise NotWritten(f"{path}: cannot be written ({reason}){end}") from error


@contextmanager
def reading(path: Path, kind: str = "", advice: str = "") -> Iterator[None]:
    """Raises a `DataError` that says in one line why a file cannot be read, whatever its reader raises.

    Our own errors pass. `kind` is what the file should be, `TOML` for instance; `advice` is what to do.
    """
    end = f"; {advice}" if advice else ""
    try:
        yield
    except ZSLBenchError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file{end}") from error
    except Exception as error:  # a damaged file makes readers raise a dozen kinds, zlib.error and BadZipFile among them
        reason = getattr(error, "strerror", None)
        what = "" if reason or not kind else f" as {kind}"
        raise DataError(f"{path}: cannot be read{what} ({reason or one_line(error)}){end}") from error


def check_expansion(path: Path, size: int, what: str = "it", of: int | None = None) -> None:
    """Checks what a file says of itself before memory or disk is given to it.

    Args:
        path: the file.
        size: how many bytes its content comes to, as its own head declares.
        what: what of the file declares that size.
        of: how large the file is, where it is in an archive.

    Raises:
        DataError: that is more than `EXPANSION` times the file's size, and more than `SMALL` bytes. Real features
            compress by less than ten; a damaged or malicious head asks for gigabytes.
    """
    own = path.stat().st_size if of is None else of
    if size > max(SMALL, EXPANSION * own):
        sizes = f"{size / 1e6:,.0f} MB of content in a file of {own / 1e6:,.2f} MB"
        raise DataError(f"{path}: {what} declares {sizes}; the file is damaged, or made to fill memory")


def is_clutter(path: PurePath | str) -> bool:
    """Whether a file, or a folder that it lies in, is hidden or left there by a desktop, an archiver or a file server.

    So are `.DS_Store`, `._photo.jpg`, `__MACOSX/photo.jpg` and `Thumbs.db`. Give the path below the folder or in the
    archive that is walked: what lies further up does not make it clutter.
    """
    parts = PurePath(path).parts
    return any(
        part.casefold() in CLUTTER or (part.startswith((".", "~$")) and part not in (".", "..")) for part in parts
    )


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Holds a lock that is named by a file; raises `Locked` where another process holds it and `wait` is false.

    The lock belongs to the open file, so a killed process leaves none behind. A file system that has no such locks is
    warned about once, and gets files instead that name host and process of who holds them, with the suffix `.held`.
    """
    from filelock import FileLock, SoftFileLock, Timeout  # processes that only read files do without it

    path.parent.mkdir(parents=True, exist_ok=True)
    timeout, real = -1 if wait else 0, _has_locks(path)
    lock = FileLock(path, timeout=timeout) if real else SoftFileLock(f"{path}.held", timeout=timeout)
    try:
        held = lock.acquire()
    except Timeout:
        raise Locked(path) from None
    with held:
        if not real and not Path(lock.lock_file).stat().st_size:  # the library may have said it already
            Path(lock.lock_file).write_text(f"{os.getpid()}\n{platform.node()}\n")
        yield


def _has_locks(path: Path) -> bool:
    """Returns whether a file can be locked, as all of its folder then can; warns once where they cannot."""
    if sys.platform == "win32":
        return True
    folder = path.parent
    if folder not in _locking:
        import fcntl

        _locking[folder] = True
        try:
            with path.open("a") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:  # of others, that another process holds it for one, the lock itself will tell
            if error.errno in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL):
                _locking[folder] = False
                path.unlink(missing_ok=True)
                warnings.warn(
                    f"{folder}: its file system has no locks ({error.strerror}), so files stand for them; should a "
                    "process be killed, others wait for it until its file, NAME.held with process and host inside, is "
                    "deleted by hand",
                    stacklevel=2,
                )
    return _locking[folder]


_locking: dict[Path, bool] = {}


def expanded(path: Path) -> Path:
    """Returns the path with the home folder put in for `~`; raises a UsageError where no home is known."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise UsageError(f"{path}: no home folder is known; set HOME, or write the whole path") from error


def in_folder(option: str, path: Path) -> Path:
    """Returns the path of a file to write, or raises a UsageError if it is in no folder; `option` may be empty."""
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}; make it first".lstrip())
    return path


def writable(option: str, path: Path) -> Path:
    """Returns the path of a file to write, or raises a UsageError if it is in no folder or is one."""
    if path.is_dir():
        raise UsageError(f"{option} {path}: is a folder; name a file in it".lstrip())
    return in_folder(option, path)


def in_file_names(text: str) -> str:
    """Returns a name with whatever may be no part of a file's name replaced: `clip:./mine` is clip-mine."""
    return re.sub(r"[._-]*[^A-Za-z0-9._-][^A-Za-z0-9]*", "-", text)


def existing(option: str, path: Path, folder: bool = False) -> Path:
    """Returns the path that a command names, the home folder put in for `~`; raises a UsageError if it is not there."""
    path = expanded(path)
    if not (path.is_dir() if folder else path.is_file()):
        kind, other = ("folder", "file") if folder else ("file", "folder")
        raise UsageError(
            f"{option} {path}: {f'it is a {other}, no {kind}' if path.exists() else f'there is no such {kind}'}"
        )
    return path


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
