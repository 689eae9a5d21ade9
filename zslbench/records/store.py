"""The store: one folder a run, written whole or not at all, claimed by one process at a time.

STORE/runs/ID/record.json              the record; its presence means that the run is finished
STORE/runs/ID/decisions-HASH.safetensors   each test image's decisions
STORE/partial/ID/                      checkpoints of a run under way; gone when it is finished
STORE/claims/ID.lock                   held by the process that runs it; the system frees it when that dies
STORE/tuned/ID.json                    the log of a search over hyper-parameters, as far as it has come
"""

from __future__ import annotations

import hashlib
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import ValidationError

from zslbench.errors import DataError, UsageError, near_misses
from zslbench.files import write_whole
from zslbench.records.record import RunRecord
from zslbench.records.search import Search


class Busy(Exception):
    """Another process is executing this run."""


class Store:
    """Finished runs by id."""

    def __init__(self, root: Path, *, create: bool = True) -> None:
        """Opens a store.

        Raises:
            UsageError: the folder cannot be created or written, or `create` is false and there is none.
        """
        self.root = root
        if not create:
            if not (root / "runs").is_dir():
                raise UsageError(f"--store {root}: there is no store; run a method first or name another folder")
            return
        try:
            for part in ("runs", "partial", "claims", "tuned"):
                (root / part).mkdir(parents=True, exist_ok=True)
            probe = root / "claims" / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UsageError(f"--store {root}: cannot be written ({error.strerror}); name another folder") from error

    def _folder(self, run: str) -> Path:
        return self.root / "runs" / run

    def partial(self, run: str) -> Path:
        """Returns the folder for checkpoints of a run under way."""
        return self.root / "partial" / run

    def discard_partial(self, run: str) -> None:
        """Removes a run's checkpoints."""
        shutil.rmtree(self.partial(run), ignore_errors=True)

    def find(self, run: str) -> RunRecord | None:
        """Returns the record of a finished run; a damaged one is set aside with a warning, as if it had never been."""
        path = self._folder(run) / "record.json"
        try:
            content = path.read_bytes()
            record = RunRecord.model_validate_json(content)
            if record.id != run:
                raise ValueError("it belongs to another run")
            if record.arrays and not (path.parent / record.arrays).is_file():
                raise ValueError(f"{record.arrays} is missing")
        except FileNotFoundError:
            return None
        except (ValidationError, ValueError) as error:
            if path.is_file() and path.read_bytes() != content:  # it was replaced while it was read
                return self.find(run)
            self._set_aside(path, error)
            return None
        return record

    def _set_aside(self, path: Path, error: Exception) -> None:
        aside = path.with_name(f"{path.name}.damaged")
        number = 1
        while aside.exists():
            number += 1
            aside = path.with_name(f"{path.name}.damaged-{number}")
        reason = "it is cut short or edited" if isinstance(error, ValidationError) else str(error)
        try:
            path.rename(aside)
        except FileNotFoundError:  # another process was faster
            return
        warnings.warn(f"{path}: damaged record ({reason}); set aside as {aside.name}", stacklevel=3)

    def save(self, record: RunRecord, arrays: Mapping[str, NDArray[Any]]) -> RunRecord:
        """Stores a finished run, replacing an earlier one with the same id; returns the record as stored.

        The caller holds the claim, so unfinished files in the run's folder are those of processes that died.
        """
        folder = self._folder(record.id)
        folder.mkdir(parents=True, exist_ok=True)
        # safetensors writes the memory of an array as it lies, whatever its strides
        content = safetensors.numpy.save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        name = f"decisions-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        record = record.model_copy(update={"arrays": name})
        write_whole(folder / name, content)
        write_whole(folder / "record.json", record.model_dump_json(indent=1).encode())
        for old in folder.iterdir():  # what an earlier record left, or was made from it
            if old.name not in (name, "record.json") and ".damaged" not in old.name:
                old.unlink(missing_ok=True)
        self.discard_partial(record.id)
        return record

    def arrays(self, record: RunRecord) -> dict[str, NDArray[Any]]:
        """Returns the decisions of a run.

        Raises:
            DataError: the file is missing or damaged.
        """
        path = self._folder(record.id) / record.arrays
        advice = "run it again with --existing rerun"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
        if hashlib.sha256(content).hexdigest()[:16] not in record.arrays:
            raise DataError(f"{path}: damaged, its content does not match its name; {advice}")
        return dict(safetensors.numpy.load(content))

    def beside(self, record: RunRecord, name: str) -> Path:
        """Returns the path of a file that is made from a record, beside it."""
        return self._folder(record.id) / name

    def records(self) -> Iterator[RunRecord]:
        """Yields every readable record."""
        for path in sorted((self.root / "runs").glob("*/record.json")):
            record = self.find(path.parent.name)
            if record is not None:
                yield record

    def lookup(self, prefix: str) -> RunRecord:
        """Returns the one run whose id starts with `prefix`.

        Raises:
            UsageError: there is none, or more than one.
        """
        ids = [path.parent.name for path in (self.root / "runs").glob("*/record.json")]
        matches = [run for run in ids if run.startswith(prefix)]
        if len(matches) != 1:
            hint = f"; it stands for {', '.join(sorted(matches))}" if matches else near_misses(prefix, ids)
            raise UsageError(f"{'more than one' if matches else 'no'} run {prefix!r} in {self.root}{hint}")
        record = self.find(matches[0])
        if record is None:
            raise DataError(f"run {matches[0]} in {self.root} was damaged and has been set aside; run it again")
        return record

    def find_search(self, search: str) -> Search | None:
        """Returns the log of a search; a damaged one is reported and counts as absent."""
        path = self.root / "tuned" / f"{search}.json"
        try:
            return Search.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            warnings.warn(f"{path}: damaged log of a search; it is begun again", stacklevel=2)
            return None

    def save_search(self, search: Search) -> None:
        """Stores the log of a search, replacing what was known of it."""
        write_whole(self.root / "tuned" / f"{search.id}.json", search.model_dump_json(indent=1).encode())

    @contextmanager
    def claim(self, run: str, *, wait: bool) -> Iterator[None]:
        """Holds the only right to execute a run; whoever gets it must look again whether the record exists.

        The lock belongs to the open file, so a killed process leaves no claim behind.

        Raises:
            Busy: another process holds it, and `wait` is false.
        """
        lock = FileLock(self.root / "claims" / f"{run}.lock", timeout=-1 if wait else 0)
        try:
            lock.acquire()
        except Timeout:
            raise Busy(run) from None
        try:
            yield
        finally:
            lock.release()
