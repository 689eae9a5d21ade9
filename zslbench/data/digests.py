"""What a file's content is known by: its SHA-256, remembered as long as nobody touches the file, and its checksums.

Hashing hundreds of megabytes takes a second, so an index remembers the digest of each file together with the file's
signature (size, times, inode), as git does. A disk that changes bytes and no time stamp is therefore not noticed in a
source at once, and need not be: what was read of it whole is in the cache, with checksums that every reading verifies.
`rehashed` never trusts the index.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

from zslbench.data.folders import cache_folder
from zslbench.errors import DataError
from zslbench.files import reading, seal, unseal, write_whole

CHECKED_BYTES = 2**20
"""How much of a file has a checksum of its own."""
RACY_NS = {True: 2 * 10**9, False: 5 * 10**7}
"""A file changed this shortly before it was hashed could change again without a new time stamp, so its signature is not
trusted: 2 s where stamps are whole seconds, 50 ms where they are finer (a kernel's clock ticks every 1 to 10 ms)."""

Signature = list[int]


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's content, from the index if the file is certainly the one that was hashed.

    Raises:
        OSError: it cannot be read.
    """
    known = remembered(path).get("sha256")
    if isinstance(known, str):
        return known
    before, started = signature(path), time.time_ns()
    digest = _sha256(path)
    remember(path, before, started, sha256=digest)
    return digest


def rehashed(path: Path) -> str:
    """Returns the SHA-256 of a file's content, read to its end whatever the index says.

    Raises:
        DataError: the file cannot be read, or its content changed and its time stamps did not, as on a failing disk.
    """
    with reading(path):
        known, digest = remembered(path).get("sha256"), _sha256(path)
    if known not in (None, digest):
        raise DataError(
            f"{path}: its content has changed since it was first read, but its time stamps have not, as on a failing "
            f"disk; fetch it again (or `touch` it, if the content of today is right)"
        )
    return digest


def remembered(path: Path) -> dict[str, Any]:
    """Returns what `remember` was told of a file that nobody has touched since; nothing from a damaged index.

    Raises:
        OSError: the file is not there.
    """
    path = path.resolve()
    now = signature(path)
    try:
        known = json.loads(unseal(_index(path).read_bytes()))
        return dict(known["facts"]) if known["signature"] == now else {}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def remember(path: Path, before: Signature, started: int, **facts: object) -> None:
    """Remembers facts about a file's content, unless it might change without a new signature.

    Args:
        path: the file.
        before: its signature before it was read.
        started: when the reading began, in nanoseconds.
        facts: JSON values.
    """
    path = path.resolve()
    changed = before[2]
    settled = changed + RACY_NS[changed % 10**9 == 0] < started
    if settled and signature(path) == before:
        body = {"path": str(path), "signature": before, "facts": {**remembered(path), **facts}}
        with suppress(DataError):  # without an index the file is read again next time
            write_whole(_index(path), seal(body))


def signature(path: Path | str) -> Signature:
    """Returns what changes when a file does: size, times, inode. Raises an OSError if the file is not there."""
    stat = os.stat(path)  # noqa: PTH116  (lists of runs ask for thousands, and a Path costs as much as the call)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def checksums(path: Path) -> list[int]:
    """Returns the CRC-32 of each `CHECKED_BYTES` of a file, and its size in the end.

    It reads 3 GB in a second; SHA-256 reads 1.3 GB. Raises an OSError.
    """
    found, size, block = [], 0, memoryview(bytearray(CHECKED_BYTES))
    with path.open("rb") as file:
        while read := file.readinto(block):
            found.append(zlib.crc32(block[:read]))
            size += read
    return [*found, size]


def _index(path: Path) -> Path:
    return cache_folder() / "index" / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
