"""The store: one folder a run, written whole or not at all, claimed by one process at a time.

STORE/runs/ID/record.json              the record; its presence means that the run is finished
STORE/runs/ID/decisions-HASH.safetensors   each test image's decisions
STORE/partial/ID/                      checkpoints of a run under way; gone when it is finished
STORE/claims/ID.lock                   held by the process that runs it; the system frees it when that dies
STORE/tuned/ID.json                    the log of a search over hyper-parameters, as far as it has come
STORE/schema-1.json                    ids of runs that an older version stored, by the ids that they have now

Records and logs carry a checksum; whatever does not fit it is set aside or begun again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from zslbench.errors import DataError, UsageError, near_misses
from zslbench.files import Locked, locked, reading, write_whole
from zslbench.records.record import RunRecord
from zslbench.records.schema1 import upgraded
from zslbench.records.sealed import seal, unseal
from zslbench.records.search import Search
from zslbench.records.spec import SCHEMA

RECORD = "record.json"


class Busy(Exception):
    """Another process is executing this run."""


class Store:
    """Finished runs by id."""

    def __init__(self, root: Path, *, create: bool = True) -> None:
        """Opens a store; raises a UsageError where it cannot be written, or `create` is false and there is none."""
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

    def _folder_of(self, run: str) -> Path:
        """Returns where a run's record is: under its own id, or under that of an older version."""
        own = self._folder(run)
        return self._folder(self._older[run][0]) if run in self._older and not (own / RECORD).is_file() else own

    @cached_property
    def _older(self) -> dict[str, list[str]]:
        """The ids of runs that schema 1 stored, by present ids; looked for once in the life of a store.

        Runs that differed in evaluators alone are one now; the first was measured by most.
        """
        path = self.root / "schema-1.json"
        with suppress(OSError, ValueError):
            return dict(unseal(path.read_bytes())["ids"])
        found: dict[str, dict[str, int]] = {}
        for record in sorted((self.root / "runs").glob(f"*/{RECORD}")):
            with suppress(OSError, ValueError, KeyError, TypeError):
                values = json.loads(record.read_bytes())
                if values["spec"]["schema_version"] == SCHEMA:
                    continue
                new = upgraded(values)
                found.setdefault(new.id, {})[record.parent.name] = len(new.measured)
        ids = {new: sorted(own, key=lambda old: -own[old]) for new, own in found.items()}
        with suppress(DataError):  # a store that cannot be written is looked through each time
            write_whole(path, seal({"ids": ids}))
        return ids

    def partial(self, run: str) -> Path:
        """Returns the folder for checkpoints of a run under way."""
        return self.root / "partial" / run

    def discard_partial(self, run: str) -> None:
        """Removes a run's checkpoints."""
        shutil.rmtree(self.partial(run), ignore_errors=True)

    def find(self, run: str) -> RunRecord | None:
        """Returns the record of a finished run; a damaged one is set aside with a warning, as if it had never been."""
        folder = self._folder_of(run)
        path = folder / RECORD
        try:
            content = path.read_bytes()
            values = unseal(content)
            current = values["spec"]["schema_version"] == SCHEMA
            record = RunRecord.model_validate(values) if current else upgraded(values)
            if not run == record.id == record.spec.id:
                raise ValueError("it belongs to another run")
            if record.arrays and not (folder / record.arrays).is_file():
                raise ValueError(f"{record.arrays} is missing")
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:  # pydantic's and json's errors are ValueErrors
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
        reason = str(error) if type(error) is ValueError else "it is cut short or edited"
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
        # safetensors writes the memory of an array as it lies, whatever its strides
        content = safetensors.numpy.save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        name = f"decisions-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
        record = record.model_copy(update={"arrays": name})
        write_whole(folder / name, content)
        write_whole(folder / RECORD, seal(record.model_dump(mode="json")))
        for old in folder.iterdir():  # what an earlier record left, or was made from it
            if old.name not in (name, RECORD) and ".damaged" not in old.name:
                old.unlink(missing_ok=True)
        self.discard_partial(record.id)
        return record

    def arrays(self, record: RunRecord) -> dict[str, NDArray[Any]]:
        """Returns the decisions of a run; raises a DataError where their file is missing or damaged."""
        path = self._folder_of(record.id) / record.arrays
        advice = "run it again with --existing rerun"
        with reading(path, advice=advice):
            content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] not in record.arrays:
            raise DataError(f"{path}: damaged, its content does not match its name; {advice}")
        return dict(safetensors.numpy.load(content))

    def beside(self, record: RunRecord, name: str) -> Path:
        """Returns the path of a file that is made from a record, beside it."""
        return self._folder_of(record.id) / name

    def ids(self) -> list[str]:
        """Returns the ids of all runs, damaged ones included."""
        folders = {path.parent.name for path in (self.root / "runs").glob(f"*/{RECORD}")}
        return sorted(folders.difference(*self._older.values()) | set(self._older))

    def records(self) -> Iterator[RunRecord]:
        """Yields every readable record."""
        yield from filter(None, map(self.find, self.ids()))

    def lookup(self, prefix: str) -> RunRecord:
        """Returns the one run whose id, present or older, starts with `prefix`, or raises a UsageError."""
        ids = self.ids()
        older = {old: new for new, own in self._older.items() for old in own}
        matches = sorted({older.get(run, run) for run in [*ids, *older] if run.startswith(prefix)})
        if len(matches) != 1:
            hint = f"; it stands for {', '.join(matches)}" if matches else near_misses(prefix, ids)
            raise UsageError(f"{'more than one' if matches else 'no'} run {prefix!r} in {self.root}{hint}")
        record = self.find(matches[0])
        if record is None:
            raise DataError(f"run {matches[0]} in {self.root} was damaged and has been set aside; run it again")
        return record

    def find_search(self, search: str) -> Search | None:
        """Returns the log of a search; a damaged one is reported and counts as absent."""
        path = self.root / "tuned" / f"{search}.json"
        try:
            return Search.model_validate(unseal(path.read_bytes()))
        except FileNotFoundError:
            return None
        except ValueError:
            warnings.warn(f"{path}: damaged log of a search; it is begun again", stacklevel=2)
            return None

    def save_search(self, search: Search) -> None:
        """Stores the log of a search, replacing what was known of it."""
        write_whole(self.root / "tuned" / f"{search.id}.json", seal(search.model_dump(mode="json")))

    @contextmanager
    def claim(self, run: str, *, wait: bool) -> Iterator[None]:
        """Holds the only right to execute a run; whoever gets it must look again whether the record exists.

        A killed process leaves no claim behind, but see `locked`. Raises `Busy` where another process holds it and
        `wait` is false.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(self.root / "claims" / f"{run}.lock", wait=wait))
            except Locked:
                raise Busy(run) from None
            yield
