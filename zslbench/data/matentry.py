"""What the cache has of .mat files: each is read once, by a process of its own, and kept as plain arrays and texts.

Whatever reads a .mat file comes through here. The libraries that read them crash on damaged files, so the first reading
happens in a process with limits (`matchild`), which writes into an entry of the cache, named after the SHA-256 of the
file. Every later reading verifies the checksums of what it takes from there; a damaged entry is made again. Without a
cache that can be written, the entries last as long as the process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import array_fingerprint
from zslbench.api.soundness import check_finite
from zslbench.data.digests import checksums, file_digest, remember, remembered, signature
from zslbench.data.folders import cache_folder
from zslbench.data.made import made_once
from zslbench.data.matchild import FEATURES, MAPS
from zslbench.errors import DataError, Hint
from zslbench.files import NotWritten, reading, seal, unseal, write_whole

State = Literal["cached", "not cached", "damaged"]
Declared = dict[str, dict[str, Any]]
"""Name of a variable -> `shape` in MATLAB's orientation, and `why` it is not read, empty if it is."""

DAMAGED: State = "damaged"
FORMAT = "3"
"""Raised whenever the meaning of an entry changes; older entries are then left alone."""
ENTRY = "entry.json"
SECONDS, BYTES_A_SECOND = 30, 2**20
"""How long a first reading may take: so long, and longer the larger the file is."""
CRASHES = [getattr(signal, f"SIG{name}", 0) for name in ("SEGV", "BUS", "ABRT", "FPE", "ILL", "SYS", "TRAP")]
WINDOWS_CRASH = 2**31
"""From here on an exit status is an exception of Windows, an access violation for instance."""


@dataclass(frozen=True)
class Entry:
    """What the cache has of a .mat file.

    Attributes:
        variables: all that the file holds.
        values: those asked for: matrices in MATLAB's orientation, texts as a tuple; features as rows `(N, D)` of
            float32, memory-mapped.
        rows: whether MATLAB's features have the images in rows; None if they fit either way.
        fingerprint: `array_fingerprint` of the features, empty if there are none.
        sound: whether the features pass `check_finite`.
    """

    variables: Declared
    values: dict[str, Any]
    rows: bool | None
    fingerprint: str
    sound: bool


def entry_of(path: Path, names: Collection[str] = (), images: int | None = None, pool: str = "") -> Entry:
    """Returns what the cache has of a file, which is read into it first; of the named variables, the values.

    Args:
        path: the file.
        names: variables whose values are needed, if they are there.
        images: how many images the features are of, where the file has no labels; it tells rows from columns.
        pool: how feature maps become rows, a way of `matchild.POOLS`; such an entry has nothing else.

    Raises:
        DataError: the file is missing, damaged or no MATLAB file.
    """
    with reading(path):
        digest = file_digest(path)
    name = f"{digest}-{FORMAT}" + ("" if images is None else f"-{images}") + (f"-{pool}" if pool else "")
    found, make = partial(_read_entry, names=names), partial(_write_entry, path, images, pool)
    try:
        return made_once(cache_folder() / "mat" / name, found, make)
    except NotWritten as error:
        _say_once(f"the cache {cache_folder()}: {str(error).partition(': ')[2]}; until then .mat files are read anew")
        return made_once(_temporary() / name, found, make)


def cache_state(path: Path) -> State:
    """Returns whether the cache holds the present content of a .mat file, undamaged.

    Raises:
        DataError: the file cannot be read.
    """
    with reading(path):
        entry = cache_folder() / "mat" / f"{file_digest(path)}-{FORMAT}"
    if not entry.exists():
        return "not cached"
    return DAMAGED if _read_entry(entry, None) is None else "cached"


def heads_of(path: Path) -> Declared:
    """Returns the variables of a file without reading any, from the index if nobody has touched it.

    Raises:
        DataError: the file is missing, damaged or no MATLAB file.
    """
    with reading(path):
        known = remembered(path).get("variables")
        if isinstance(known, dict):
            return known
        before, started = signature(path), time.time_ns()
    found: Declared = _child(path)["variables"]
    remember(path, before, started, variables=found)
    return found


def _read_entry(folder: Path, names: Collection[str] | None) -> Entry | None:
    """Returns an entry with the values of the named variables, or of all; None if any of that is not whole."""
    try:
        body = json.loads(unseal((folder / ENTRY).read_bytes()))
        kept, values = body["variables"], {}
        for name in kept if names is None else names:
            file = kept.get(name, {}).get("file")
            if file is None:
                continue
            if checksums(folder / file) != body["checksums"][file]:
                return None
            values[name] = _value(folder / file, name == FEATURES or len(kept[name]["shape"]) == MAPS)
        return Entry(kept, values, body["rows"], body["fingerprint"], body["sound"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _value(path: Path, mapped: bool) -> Any:
    if path.suffix == ".json":
        return tuple(json.loads(path.read_text(encoding="ascii")))
    return np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)


def _write_entry(path: Path, images: int | None, pool: str, folder: Path) -> None:
    """Makes an entry in a folder that takes its name once it is whole."""
    if folder.with_suffix("").exists():
        warnings.warn(f"{path}: what the cache has of it is damaged, and is made again", Hint, stacklevel=2)
    shutil.rmtree(folder)  # what a process that was killed has left
    folder.mkdir()
    before = signature(path)
    body = _child(path, str(folder), images or 0, pool)
    if signature(path) != before:
        raise DataError(f"{path}: it changed while it was read; try again")
    files = [variable["file"] for variable in body["variables"].values() if "file" in variable]
    features = body["variables"].get(FEATURES, {}).get("file")
    body |= {"checksums": {file: checksums(folder / file) for file in files}, "fingerprint": "", "sound": True}
    if features is not None and (folder / features).suffix == ".npy":
        rows = np.load(folder / features, mmap_mode="r", allow_pickle=False)
        body |= {"fingerprint": array_fingerprint(rows), "sound": _sound(rows)}
    write_whole(folder / ENTRY, seal(body))


def _sound(rows: NDArray[np.float32]) -> bool:
    try:
        check_finite(rows, FEATURES)
    except DataError:  # loading them says it again, and more of it
        return False
    return True


def _child(path: Path, folder: str = "-", images: int = 0, pool: str = "") -> dict[str, Any]:
    """Returns the answer of the process that reads a file; raises a DataError where it is an error, or none."""
    module = [sys.executable, "-P", "-W", "ignore", "-m", "zslbench.data.matchild"]
    command = [*module, str(path), folder, str(images), pool]
    seconds = SECONDS + path.stat().st_size // BYTES_A_SECOND
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=_environment(), check=False
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{path}: damaged; reading it did not end within {seconds} s; fetch or save it again") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read, because no process can be started ({error.strerror})") from error
    answer: dict[str, Any] = {}
    with suppress(ValueError, IndexError):
        answer = json.loads(ended.stdout.splitlines()[-1])
    if ended.returncode or not answer:
        raise DataError(f"{path}: {_why_it_ended(ended.returncode, ended.stderr)}")
    if "error" in answer:
        raise (NotWritten if answer["unwritten"] else DataError)(answer["error"])
    return answer


def _why_it_ended(status: int, said: bytes) -> str:
    if (status < 0 and -status in CRASHES) or status >= WINDOWS_CRASH:
        how = f"signal {-status}" if status < 0 else f"exit status {status:#x}"
        return f"damaged; the reading library crashed ({how}); fetch or save it again"
    if status < 0:
        return f"cannot be read, because the process that read it was ended (signal {-status}); is memory short?"
    last = (said.decode(errors="replace").split("\n")[:-1] or ["no message"])[-1]
    return f"cannot be read, because the process that read it failed (exit status {status}: {last})"


def _environment() -> dict[str, str]:
    """Returns the environment of the process that reads: our modules, one thread, no plugin of HDF5."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HDF5_")}
    ours = [*filter(None, sys.path), str(Path(__file__).parents[2])]
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return kept | threads | {"PYTHONPATH": os.pathsep.join(ours), "HDF5_PLUGIN_PRELOAD": "::"}


@cache
def _say_once(text: str) -> None:
    warnings.warn(text, stacklevel=4)


@cache
def _temporary() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="zslbench-")
    _kept_until_the_end.append(folder)
    return Path(folder.name)


_kept_until_the_end: list[tempfile.TemporaryDirectory[str]] = []
