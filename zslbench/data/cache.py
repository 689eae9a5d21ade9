"""A checked, memory-mapped float32 cache of the features in .mat files, keyed on the files' content.

An entry is a folder named after the SHA-256 of its .mat file. Hashing hundreds of megabytes takes a second, so an
index remembers the digest of each file together with the file's signature (size, times, inode), as git does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import array_fingerprint, check_finite
from zslbench.data.folders import cache_folder
from zslbench.data.made import made_once
from zslbench.data.matfile import column_blocks, indices, read_arrays, variables
from zslbench.errors import DataError
from zslbench.files import NotWritten, reading, whole, write_whole

FORMAT = "1"
"""Raised whenever the meaning of an entry changes; older entries are then left alone."""
RACY_NS = {True: 2 * 10**9, False: 5 * 10**7}
"""A file changed this shortly before it was hashed could change again without a new time stamp, so its signature is not
trusted: 2 s where stamps are whole seconds, 50 ms where they are finer (a kernel's clock ticks every 1 to 10 ms)."""

State = Literal["cached", "not cached", "damaged, to be made again"]


@dataclass(frozen=True)
class Features:
    """The features of one .mat file.

    Attributes:
        features: `(N, D)` float32, finite, memory-mapped where the cache works.
        labels: class of each image, `(N,)` int64 from 0, or None if the file has none.
        fingerprint: `array_fingerprint` of the features.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    fingerprint: str


def load_features(path: Path) -> Features:
    """Loads the features of a .mat file through the cache; without one, with a warning, if it cannot be written.

    Raises:
        DataError: the file is missing, damaged, of the wrong shape, or holds NaN.
    """
    try:
        return made_once(_entry_of(path), _read_entry, partial(_write_entry, path))
    except NotWritten as error:
        warnings.warn(f"the cache {error}; until then {path.name} is read anew each time", stacklevel=2)
        return _read_source(path)


def cache_state(path: Path) -> State:
    """Returns whether the cache holds the present content of a .mat file, undamaged.

    Raises:
        DataError: the file cannot be read.
    """
    entry = _entry_of(path)
    if not entry.exists():
        return "not cached"
    return "damaged, to be made again" if _read_entry(entry) is None else "cached"


def _entry_of(source: Path) -> Path:
    with reading(source):
        return cache_folder() / "features" / f"{file_digest(source)}-{FORMAT}"


def _write_entry(source: Path, folder: Path) -> None:
    shutil.rmtree(folder)  # what a process that was killed has left
    features = _read_source(source, folder / "features.npy")
    if features.labels is not None:
        with whole(folder / "labels.npy") as part, part.open("wb") as file:
            np.save(file, features.labels, allow_pickle=False)
    body = {
        "fingerprint": features.fingerprint,
        "files": {file.name: _sha256(file) for file in sorted(folder.glob("*.npy"))},
    }
    write_whole(folder / "entry.json", json.dumps({**body, "check": _check(body)}))


def _read_entry(folder: Path) -> Features | None:
    """Returns a whole, undamaged entry, or None."""
    try:
        body = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        if body.pop("check") != _check(body):
            return None
        if any(file_digest(folder / name) != digest for name, digest in body["files"].items()):
            return None
        features = np.load(folder / "features.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False) if "labels.npy" in body["files"] else None
        return Features(features, labels, body["fingerprint"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _read_source(path: Path, target: Path | None = None) -> Features:
    """Reads and checks a .mat file: into memory, or block by block into the .npy file `target`."""
    shape = variables(path).get("features")
    if shape is None or len(shape) != 2 or 0 in shape:
        found = "is missing" if shape is None else f"has shape {shape}"
        raise DataError(f"{path}: variable 'features' {found}; a matrix (size, images) is needed")
    arrays = read_arrays(path, [], ["labels"])
    labels = indices(arrays["labels"], f"{path}: labels") if "labels" in arrays else None
    if labels is not None and len(labels) != shape[1]:
        raise DataError(
            f"{path}: features have shape {shape} for {len(labels)} labels; (size, images) is needed"
            + (", so transpose them" if len(labels) == shape[0] else "")
        )
    blocks = _float32_blocks(path)
    rows: NDArray[np.float32]
    if target is None:
        rows = np.concatenate(list(blocks))
    else:
        _write_rows(target, shape[::-1], blocks)
        rows = np.load(target, mmap_mode="r", allow_pickle=False)
    check_finite(rows, f"{path}: features")
    return Features(rows, labels, array_fingerprint(rows))


def _float32_blocks(path: Path) -> Iterator[NDArray[np.float32]]:
    for block in column_blocks(path, "features"):
        with np.errstate(over="ignore"):  # what overflows float32 becomes infinite, which is reported as such
            yield np.ascontiguousarray(block, dtype=np.float32)


def _write_rows(path: Path, shape: tuple[int, ...], blocks: Iterator[NDArray[np.float32]]) -> None:
    """Writes a .npy file by ordinary writes: through a memory map, a full disk would kill the process."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
    with whole(path) as part, part.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(block.data)


def _check(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's content, from the index if the file is certainly the one that was hashed.

    Raises:
        OSError: it cannot be read.
    """
    path = path.resolve()
    name = hashlib.sha256(os.fsencode(path)).hexdigest()
    index = cache_folder() / "index" / f"{name}.json"
    before = _signature(path)
    try:
        known = json.loads(index.read_text(encoding="utf-8"))
        if known["signature"] == before:
            return str(known["sha256"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # no index, or a damaged one: hash again
    started = time.time_ns()
    digest = _sha256(path)
    changed = before[2]
    settled = changed + RACY_NS[changed % 10**9 == 0] < started
    if settled and _signature(path) == before:
        with suppress(DataError):  # without an index the file is hashed again next time
            write_whole(index, json.dumps({"path": str(path), "signature": before, "sha256": digest}))
    return digest


def _signature(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
