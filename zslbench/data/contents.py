"""SHA-256 of many files, remembered in one index for the folder that holds them all.

What `digests` does for a file, this does for thousands: an index of each would cost as much as hashing small images.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from zslbench.data.digests import RACY_NS, Signature, signature
from zslbench.data.folders import cache_folder
from zslbench.errors import DataError
from zslbench.files import seal, unseal, write_whole

THREADS = 4
"""How many files are hashed at a time: as many as keep a disk busy."""


class Digest(NamedTuple):
    """A file's content, and how to tell without reading it that the file is still the one that was hashed."""

    sha256: str
    signature: Signature

    def still_of(self, path: Path) -> bool:
        """Whether a file has this content; it is hashed only if its signature is another."""
        try:
            return signature(path) == self.signature or sha256(path) == self.sha256
        except OSError:
            return False


def digests(paths: Sequence[Path | None]) -> list[Digest | None]:
    """Hashes files, and remembers what it found in one index for the folder that holds them all.

    Returns:
        For each file its digest, or None where there is none that can be read.
    """
    files = [None if path is None else path.absolute() for path in paths]
    there = list(dict.fromkeys(file for file in files if file is not None))
    if not there:
        return [None] * len(files)
    folder = os.path.commonpath({file.parent for file in there})
    index = cache_folder() / "index" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()}.json"
    known = _read(index)
    with ThreadPoolExecutor(THREADS) as pool:
        found = dict(zip(there, pool.map(lambda file: _digest(file, known.get(str(file))), there), strict=True))
    settled = {str(file): digest for file, (digest, settled) in found.items() if digest is not None and settled}
    if any(known.get(file) != digest for file, digest in settled.items()):
        with suppress(DataError):  # without an index files are hashed again next time
            write_whole(index, seal({"folder": folder, "files": known | settled}))
    return [None if file is None else found[file][0] for file in files]


def sha256(path: Path) -> str:
    """Returns the SHA-256 of a file's content, or raises an OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(file: Path, known: Digest | None) -> tuple[Digest | None, bool]:
    """Returns the digest of a file, and whether its signature may be trusted from now on."""
    try:
        before = signature(file)
        if known is not None and known.signature == before:
            return known, True
        if not file.is_file():  # a pipe would be waited for, a device never ends
            return None, False
        started = time.time_ns()
        digest = Digest(sha256(file), before)
        changed = before[2]
        return digest, changed + RACY_NS[changed % 10**9 == 0] < started and signature(file) == before
    except OSError:
        return None, False


def _read(index: Path) -> dict[str, Digest]:
    try:
        return {file: Digest(*kept) for file, kept in json.loads(unseal(index.read_bytes()))["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}  # no index, or a damaged one: hash again
