"""Taking over runs and searches from an export file or another store: checked first, and nothing is overwritten."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from zslbench.errors import UsageError, ZSLBenchError, one_line
from zslbench.evaluation.measuring import owner_of
from zslbench.records.archive import Archive, opened
from zslbench.records.recomputed import check_metrics
from zslbench.records.record import RunRecord
from zslbench.records.sealed import named_by, unseal
from zslbench.records.search import Search
from zslbench.records.store import NOTE, RECORD, Busy, Store, checked_note, parsed_note
from zslbench.records.verify import wrong_trial


@dataclass(frozen=True)
class Imported:
    """What became of a run or search.

    Attributes:
        state: `added`; `present` where it was there already; `conflict` where another one has its id, which stays;
            `damaged` where it is not what it says, and was not taken.
        problem: one line; empty where there is none.
        unchecked: metrics that do not follow from the decisions alone, or whose evaluator is not installed so.
    """

    kind: Literal["run", "search"]
    id: str
    state: Literal["added", "present", "conflict", "damaged"]
    problem: str = ""
    unchecked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Found:
    """A run outside the store: its record, its files, and its note."""

    record: RunRecord
    decisions: bytes
    arrays: Mapping[str, NDArray[Any]]
    model: bytes | None
    note: str
    unchecked: list[str]


class _Source(Protocol):
    """What runs come from: an export file, or a folder of a store, which is only read."""

    def runs(self) -> list[str]:
        """Returns the ids of its runs."""

    def searches(self) -> list[str]:
        """Returns the ids of its searches."""

    def files(self, run: str) -> dict[str, bytes]:
        """Returns the files of a run, by name."""

    def search(self, search: str) -> Search:
        """Returns the log of a search."""

    def record(self, run: str, content: bytes) -> RunRecord:
        """Returns what the file of a record says."""


class _ArchiveSource:
    """An export file as a source."""

    def __init__(self, archive: Archive) -> None:
        self.runs, self.searches, self.files, self.search = (
            archive.runs,
            archive.searches,
            archive.files,
            archive.search,
        )

    def record(self, run: str, content: bytes) -> RunRecord:
        record = RunRecord.model_validate_json(unseal(content))
        if not run == record.id == record.spec.id:
            raise ValueError("it belongs to another run")
        return record


class _StoreSource:
    """A store as a source; nothing in it is set aside."""

    def __init__(self, store: Store) -> None:
        self._store, self.searches, self.record = store, store.searches, store.parsed

    def runs(self) -> list[str]:
        return [run for run in self._store.ids() if self._store.record_path(run).is_file()]

    def files(self, run: str) -> dict[str, bytes]:
        folder = self._store.record_path(run).parent
        wanted = (RECORD, NOTE, "decisions-*.safetensors", "model-*.safetensors")
        return {path.name: path.read_bytes() for pattern in wanted for path in folder.glob(pattern)}

    def search(self, search: str) -> Search:
        return self._store.parsed_search(search, self._store.search_path(search).read_bytes())


def import_runs(store: Store, source: Path) -> Iterator[Imported]:
    """Takes over what is in an export file or another store, one after the other, each once it stood every check.

    Of each run: the checksums, its id computed again, and every metric, interval and per-class accuracy that follows
    from its decisions. A note is taken over where the run has none here.

    Raises:
        UsageError: there is no such file or store, or it is this store.
        DataError: the file is no export file, or damaged as a whole; nothing was taken.
        NotWritten: the store cannot be written.
    """
    with ExitStack() as stack:
        if source.is_dir():
            if source.resolve() == store.root.resolve():
                raise UsageError(f"{source}: it is the store itself; name another one")
            if not (source / "runs").is_dir():
                raise UsageError(f"{source}: there is no store in this folder")
            found: _Source = _StoreSource(Store(source))
        elif source.is_file():
            found = _ArchiveSource(stack.enter_context(opened(source)))
        else:
            raise UsageError(f"{source}: there is no such file or folder")
        store.prepare()
        for run in found.runs():
            yield _taken(store, found, run)
        for search in found.searches():
            yield _search_taken(store, found, search)


@contextmanager
def collected(files: Sequence[Path]) -> Iterator[tuple[Store, dict[Path, list[Imported]]]]:
    """Gives a store, gone after the block, with all good runs of export files or stores, and what became of each."""
    with tempfile.TemporaryDirectory(prefix="zslbench-") as folder:
        store = Store(Path(folder))
        store.prepare()
        yield store, {file: list(import_runs(store, file)) for file in files}


def _taken(store: Store, source: _Source, run: str) -> Imported:
    """Takes one run over, if it stands all checks and is not there yet."""
    try:
        found = _checked(source, run)
    except Exception as error:  # what others made may make readers raise a dozen kinds
        return Imported("run", run, "damaged", _reason(error))
    record = found.record
    try:
        with store.claim(record.id, wait=False):
            own = store.find(record.id)
            if own is None:
                store.put(record, found.decisions, found.model)
            elif problem := _difference(own, store.arrays(own), found):
                return Imported("run", record.id, "conflict", problem)
            if found.note and not store.note(record.id):
                store.set_note(record.id, found.note)
    except Busy:
        return Imported("run", record.id, "conflict", "another process executes it now; import it again later")
    return Imported("run", record.id, "present" if own else "added", unchecked=found.unchecked)


def _checked(source: _Source, run: str) -> _Found:
    """Reads a run, or raises an error that says what is wrong with it."""
    files = source.files(run)
    if RECORD not in files:
        raise ValueError(f"it has no {RECORD}")
    record = source.record(run, files[RECORD])
    decisions, model = files.get(record.arrays), files.get(record.model) if record.model else None
    if decisions is None:
        raise ValueError(f"its decisions {record.arrays} are missing")
    for content, what, name in ((decisions, "decisions", record.arrays), (model, "model", record.model)):
        if content is not None and named_by(content, what) != name:
            raise ValueError(f"the content of {name} does not match its name")
    arrays = safetensors.numpy.load(decisions)
    unchecked = check_metrics(record, arrays)
    note = checked_note(parsed_note(record.id, files[NOTE])) if NOTE in files else ""
    return _Found(record, decisions, arrays, model, note, unchecked)


def _difference(own: RunRecord, arrays: Mapping[str, NDArray[Any]], found: _Found) -> str:
    """Returns in which result two records of one run differ; an empty text where in none.

    What was measured in one of them alone, or by another version, is no difference; nor are times and machines.
    """
    other = found.record
    otherwise = {name for name, version in own.measured.items() if other.measured.get(name, version) != version}
    if own.class_names != other.class_names or own.params != other.params:
        return "its classes or hyper-parameters are others here"
    for name in sorted(own.metrics.keys() & other.metrics.keys()):
        if own.metrics[name] != other.metrics[name] and owner_of(name) not in otherwise:
            return f"its {name} is {own.metrics[name]:.6g} here and {other.metrics[name]:.6g} there"
    for name in sorted(arrays.keys() & found.arrays.keys()):
        same = np.array_equal(arrays[name], found.arrays[name], equal_nan=arrays[name].dtype.kind == "f")
        if not same and name.partition("/")[0] not in otherwise:
            return f"its decisions differ ({name})"
    return ""


def _search_taken(store: Store, source: _Source, name: str) -> Imported:
    """Takes the log of a search over, if it stands all checks and is not there yet."""
    try:
        search = source.search(name)
        if search.id != name:
            raise ValueError("it belongs to another search")
        if problem := wrong_trial(search, store):
            raise ValueError(problem)
    except Exception as error:
        return Imported("search", name, "damaged", _reason(error))
    own = store.find_search(name)
    if own is None:
        store.save_search(search)
        return Imported("search", name, "added")
    if own == search:
        return Imported("search", name, "present")
    return Imported("search", name, "conflict", f"it has {len(own.trials)} trials here and {len(search.trials)} there")


def _reason(error: Exception) -> str:
    """Returns in one line what is wrong; errors of readers are not for people."""
    if isinstance(error, ZSLBenchError) or type(error) is ValueError:
        return str(error)
    text = " ".join(one_line(error).split())
    return f"it cannot be read ({text if len(text) < 120 else f'{text[:119]}…'})"
