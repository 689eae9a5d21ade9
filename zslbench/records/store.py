"""The store: one folder a run, written whole or not at all, claimed by one process at a time.

STORE/runs/ID/record.json              the record; its presence means that the run is finished
STORE/runs/ID/decisions-HASH.safetensors   each test image's decisions
STORE/runs/ID/model-HASH.safetensors       the final model, if it was kept
STORE/runs/ID/note.json                what somebody wrote about the run; no number depends on it
STORE/partial/ID/                      checkpoints of a run under way; gone when it is finished
STORE/claims/ID.lock                   held by the process that runs it; the system frees it when that dies
STORE/tuned/ID.json                    the log of a search over hyper-parameters, as far as it has come
STORE/jobs/                            orders, messages and logs of jobs under way on a cluster; logs of those lost
STORE/index.json                       what lists of runs show, made again from the records where they changed
STORE/schema-1.json                    what an older version stored, which has no checksums

Records and logs carry a checksum; whatever does not fit it is set aside or begun again. The store and its four folders
may be symbolic links; through a run's own link nothing is written, renamed or deleted.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from zslbench import files
from zslbench.errors import DataError, UsageError, ZSLBenchError
from zslbench.files import Locked, NotWritten, Unsealed, locked, reading, seal, write_whole, writing
from zslbench.records.record import RunRecord
from zslbench.records.schema1 import Older, upgraded
from zslbench.records.sealed import named_by, unseal
from zslbench.records.search import Search

RECORD, NOTE = "record.json", "note.json"
LONGEST = 1000
"""Characters of a note."""
MADE = "decisions-*.safetensors", "model-*.safetensors", "reconstructions.png", ".*.part"
"""What an earlier record leaves in a run's folder, is made from it, or was being written when a process died."""
OWN = (RECORD, NOTE, *MADE, "*.damaged*")
"""All that the store ever makes in a run's folder."""
T = TypeVar("T", RunRecord, Search, str)


AGAIN = "run it again with --existing rerun"


class Busy(Exception):
    """Another process is executing this run."""


class Store:
    """Finished runs by id; opening one writes nothing."""

    def __init__(self, root: Path, *, create: bool = True) -> None:
        """Opens a store; raises a UsageError where `create` is false and there is none."""
        self.root = root
        if not create and not (root / "runs").is_dir():
            raise UsageError(f"--store {root}: there is no store; run a method first or name another folder")

    def prepare(self) -> None:
        """Makes the folders, so that no run is trained in vain; raises a UsageError where they cannot be written."""
        try:
            for part in ("runs", "partial", "claims", "tuned"):
                (self.root / part).mkdir(parents=True, exist_ok=True)
            probe = self.root / "claims" / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            reason = error.strerror
            raise UsageError(f"--store {self.root}: cannot be written ({reason}); name another folder") from error
        Older.of(self.root)  # from now on nothing without a checksum is read but what it lists

    def _folder(self, run: str) -> Path:
        return self.root / "runs" / run

    def _folder_of(self, run: str) -> Path:
        """Returns where a run's record is: under its own id, or under that of an older version."""
        own = self._folder(run)
        if os.path.lexists(own / RECORD) or run not in self._older.ids:
            return own
        return self._folder(self._older.ids[run][0])

    def record_path(self, run: str) -> Path:
        """Returns where the record of a run is, or would be."""
        return self._folder_of(run) / RECORD

    @cached_property
    def _older(self) -> Older:
        return Older.of(self.root)

    def partial(self, run: str) -> Path:
        """Returns the folder for checkpoints of a run under way."""
        return self.root / "partial" / run

    def discard_partial(self, run: str) -> None:
        """Removes a run's checkpoints, or raises `NotWritten`: a run that is repeated must not go on from them."""
        folder = self.partial(run)
        with writing(folder):
            if folder.is_symlink():
                folder.unlink()
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)

    def find(self, run: str) -> RunRecord | None:
        """Returns the record of a finished run; a damaged one is set aside with a warning, as if it had never been.

        Raises:
            DataError: the record cannot be read.
        """
        return self._read(self._folder_of(run) / RECORD, partial(self.parsed, run), "record")

    def parsed(self, run: str, content: bytes) -> RunRecord:
        """Returns what the file of a run's record says, or raises a ValueError that says what is wrong with it."""
        folder = self._folder_of(run)
        try:
            record = RunRecord.model_validate_json(unseal(content))
        except Unsealed:
            self._older.check(folder.name, content)
            record = upgraded(json.loads(content))
        if record.id != record.spec.id or run not in (record.id, *self._older.ids.get(record.id, [])):
            raise ValueError("it belongs to another run")
        if record.arrays and not (folder / record.arrays).is_file():
            raise ValueError(f"{record.arrays} is missing")
        return record

    def _read(self, path: Path, parse: Callable[[bytes], T], what: str) -> T | None:
        """Returns what a file holds; None where there is none, or a damaged one, which is set aside with a warning."""
        content = b""
        try:
            content = path.read_bytes()
            return parse(content)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ZSLBenchError:
            raise
        except OSError as error:
            if not path.is_dir():
                raise DataError(f"{path}: cannot be read ({error.strerror})") from error
            self.set_aside(path, "it is a folder", what)
        except Exception as error:  # damaged files make readers raise a dozen kinds
            with suppress(OSError):
                if path.read_bytes() != content:  # it was replaced while it was read
                    return self._read(path, parse, what)
            self.set_aside(
                path, str(error) if type(error) in (ValueError, Unsealed) else "it is cut short or edited", what
            )
        return None

    def set_aside(self, path: Path, reason: str, what: str = "record") -> None:
        """Renames a damaged file, so that it counts as absent, and warns; where it cannot be renamed it only warns."""
        aside, number = path.with_name(f"{path.name}.damaged"), 1
        while aside.exists():
            number += 1
            aside = path.with_name(f"{path.name}.damaged-{number}")
        done = f"set aside as {aside.name}"
        try:
            if path.parent.is_symlink() and path.name == RECORD:
                done = "left where it is, behind a symbolic link"
            else:
                path.rename(aside)
        except FileNotFoundError:  # another process was faster
            return
        except OSError as error:
            done = f"it cannot be set aside ({error.strerror})"
        warnings.warn(f"{path}: damaged {what} ({reason}); {done}", stacklevel=4)

    def save(self, record: RunRecord, arrays: Mapping[str, NDArray[Any]], model: bytes | None = None) -> RunRecord:
        """Stores a finished run, replacing an earlier one with the same id; returns the record as stored.

        `model` is a file to keep beside it; without one, that which the record names stays.

        The caller holds the claim, so unfinished files in the run's folder are those of processes that died. Files that
        the store did not make stay.

        Raises:
            NotWritten: a file or folder cannot be written, or the run's folder is a symbolic link.
        """
        # safetensors writes the memory of an array as it lies, whatever its strides
        content = safetensors.numpy.save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        return self.put(record.model_copy(update={"arrays": named_by(content, "decisions")}), content, model)

    def put(self, record: RunRecord, decisions: bytes, model: bytes | None = None) -> RunRecord:
        """Stores a run as `save` does, whose record names the file of its decisions already."""
        folder, note = self._own_folder(record.id), self.note(record.id)
        write_whole(folder / record.arrays, decisions)
        if model is not None:
            record = record.model_copy(update={"model": named_by(model, "model")})
            write_whole(folder / record.model, model)
        if note and not (folder / NOTE).exists():  # it was written of the record of an older version
            write_whole(folder / NOTE, sealed_note(record.id, note))
        write_whole(folder / RECORD, seal(record.model_dump(mode="json")))
        with writing(folder):
            for old in (path for pattern in MADE for path in folder.glob(pattern)):
                if old.name not in (record.arrays, record.model) and not old.is_dir():
                    old.unlink(missing_ok=True)
        self.discard_partial(record.id)
        return record

    def remove(self, run: str) -> None:
        """Removes a run, its checkpoints, and all that the store made of it; files of others stay.

        The record goes first, so that what a killed process leaves is no run.

        Raises:
            Busy: another process is executing it.
            NotWritten: a file cannot be removed, or the run's folder is a symbolic link.
        """
        with self.claim(run, wait=False):
            for folder in map(self._own_folder, [run, *self._older.ids.get(run, [])]):
                with writing(folder):
                    for pattern in OWN:
                        for path in folder.glob(pattern):
                            path.unlink(missing_ok=True)
                    with suppress(OSError):  # it is not there, or has files of others
                        folder.rmdir()
            self.discard_partial(run)

    def _own_folder(self, run: str) -> Path:
        """Returns the folder of a run, in which something is to be changed; a symbolic link is `NotWritten`."""
        folder = self._folder(run)
        if folder.is_symlink():
            raise NotWritten(f"{folder}: it is a symbolic link, through which nothing is written; remove the link")
        return folder

    def note(self, run: str) -> str:
        """Returns what somebody wrote about a run, or an empty text; a damaged note is set aside with a warning."""

        return self._read(self._folder_of(run) / NOTE, partial(parsed_note, run), "note") or ""

    def set_note(self, run: str, text: str) -> None:
        """Writes about a stored run, in place of what was written before; an empty text removes that.

        Raises:
            UsageError: the text is too long.
            NotWritten: the file cannot be written.
        """
        text = checked_note(text)
        path = self._own_folder(self._folder_of(run).name) / NOTE
        if text:
            write_whole(path, sealed_note(run, text))
        else:
            with writing(path):
                path.unlink(missing_ok=True)

    def arrays(self, record: RunRecord) -> dict[str, NDArray[Any]]:
        """Returns the decisions of a run; raises a DataError where their file is missing or damaged."""
        with reading(self._folder_of(record.id) / record.arrays, advice=AGAIN):
            return dict(safetensors.numpy.load(self.decisions(record)))

    def decisions(self, record: RunRecord) -> bytes:
        """Returns the file of the decisions of a run; raises a DataError where it is missing or damaged."""
        path = self._folder_of(record.id) / record.arrays
        with reading(path, advice=AGAIN):
            return _checked(path, "decisions")

    def model_path(self, record: RunRecord) -> Path | None:
        """Returns where the model of a run is, or None where it was not kept or was removed."""
        path = self._folder_of(record.id) / record.model
        return path if record.model and path.is_file() else None

    def model(self, record: RunRecord) -> bytes:
        """Returns the file of the model of a run; raises a DataError where there is none, or a damaged one."""
        path = self.model_path(record)
        if path is None:
            raise DataError(f"run {record.id} kept no model; run it again with --keep-model always --existing rerun")
        with reading(path, advice=AGAIN):
            return _checked(path, "model")

    def beside(self, record: RunRecord, name: str) -> Path:
        """Returns the path of a file that is made from a record, beside it."""
        return self._folder_of(record.id) / name

    def ids(self) -> list[str]:
        """Returns the ids of all runs, damaged ones included."""
        with suppress(FileNotFoundError), os.scandir(self.root / "runs") as entries:
            folders = {entry.name for entry in entries}
            older = self._older.ids
            return sorted(folders.difference(*older.values()) | set(older))
        return []

    def records(self) -> Iterator[RunRecord]:
        """Yields every readable record."""
        yield from filter(None, map(self.find, self.ids()))

    def lookup(self, prefix: str) -> RunRecord:
        """Returns the one run whose id, present or older, starts with `prefix`, or raises a UsageError."""
        ids = [run for run in self.ids() if os.path.lexists(self.record_path(run))]
        older = {old: new for new, own in self._older.ids.items() for old in own}
        matches = sorted({older.get(run, run) for run in [*ids, *older] if run.startswith(prefix)})
        if len(matches) != 1:
            hint = f"; it stands for {', '.join(matches)}" if matches else "; `zslbench runs` lists them"
            raise UsageError(f"{'more than one' if matches else 'no'} run {prefix!r} in {self.root}{hint}")
        record = self.find(matches[0])
        if record is None:
            raise DataError(f"run {matches[0]} in {self.root} was damaged and has been set aside; run it again")
        return record

    def search_path(self, search: str) -> Path:
        """Returns where the log of a search is, or would be."""
        return self.root / "tuned" / f"{search}.json"

    def searches(self) -> list[str]:
        """Returns the ids of all searches, damaged logs included."""
        return sorted(path.stem for path in (self.root / "tuned").glob("*.json"))

    def find_search(self, search: str) -> Search | None:
        """Returns the log of a search; a damaged one is set aside with a warning and counts as absent.

        Raises:
            DataError: the log cannot be read.
        """
        return self._read(self.search_path(search), partial(self.parsed_search, search), "log of a search")

    def parsed_search(self, search: str, content: bytes) -> Search:
        """Returns what the file of a search says, or raises a ValueError that says what is wrong with it."""
        try:
            found = Search.model_validate_json(unseal(content))
        except Unsealed:
            self._older.check(search, content)
            found = Search.model_validate_json(content)
        if found.id != search:
            raise ValueError("it belongs to another search")
        return found

    def save_search(self, search: Search) -> None:
        """Stores the log of a search, replacing what was known of it."""
        write_whole(self.search_path(search.id), seal(search.model_dump(mode="json")))

    @contextmanager
    def claim(self, run: str, *, wait: bool) -> Iterator[None]:
        """Holds the only right to execute a run; whoever gets it must look again whether the record exists.

        A killed process leaves no claim behind, but see `locked`. Raises `Busy` where another process holds it and
        `wait` is false.
        """
        path = self.root / "claims" / f"{run}.lock"
        with ExitStack() as stack:
            try:
                with writing(path):
                    stack.enter_context(locked(path, wait=wait))
            except Locked:
                raise Busy(run) from None
            yield


def checked_note(text: str) -> str:
    """Returns a note in one line, or raises a UsageError where it is too long."""
    line = " ".join(text.split())
    if len(line) > LONGEST:
        raise UsageError(f"--note: it has {len(line):,} characters, and a note has {LONGEST:,} at most")
    return line


def parsed_note(run: str, content: bytes) -> str:
    """Returns the text in the file of a note, or raises a ValueError."""
    values = json.loads(files.unseal(content))
    if values["run"] != run:
        raise ValueError("it belongs to another run")
    return str(values["note"])


def sealed_note(run: str, text: str) -> str:
    """Returns the file of a note."""
    return seal({"run": run, "note": text})


def _checked(path: Path, what: str) -> bytes:
    """Returns the content of a file that is named by its hash."""
    content = path.read_bytes()
    if named_by(content, what) != path.name:
        raise DataError(f"{path}: damaged, its content does not match its name; {AGAIN}")
    return content
