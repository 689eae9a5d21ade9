"""Export files: runs and searches of a store in one ZIP file, the same bytes for the same content.

manifest.json                              format, version of zslbench, and size and SHA-256 of every other entry
runs/ID/record.json                        the record, with its checksum
runs/ID/decisions-HASH.safetensors         each test image's decisions
runs/ID/model-HASH.safetensors             the final model, unless it was left out
runs/ID/note.json                          what somebody wrote about the run
tuned/ID.json                              the search that tuned a run, with its checksum

Entries are stored, not compressed: so the bytes depend on no library, and no entry can be larger than the file.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zslbench
from zslbench.errors import DataError, UsageError
from zslbench.files import in_folder, reading, seal, unseal, whole
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.records.store import NOTE, RECORD, Store, sealed_note

FORMAT = 1
"""Raised when an export file means something else."""
MANIFEST = "manifest.json"
_ENTRY = re.compile(
    r"runs/[0-9a-f]{16}/(record\.json|note\.json|(decisions|model)-[0-9a-f]{16}\.safetensors)|tuned/[0-9a-f]{16}\.json"
)
_NOT_STORED = "export it again with `zslbench runs export`"


@dataclass(frozen=True)
class Exported:
    """What was written: how many runs, models and searches, and the bytes of the file."""

    runs: int
    models: int
    searches: int
    size: int


def export(store: Store, file: Path, ids: Iterable[str], *, models: bool = True) -> Exported:
    """Writes runs, and the searches that tuned them, to a file that is there whole or not at all.

    Raises:
        UsageError: the file is in no folder, or something else has its name.
        DataError: a run is damaged.
        NotWritten: the file cannot be written.
    """
    in_folder("", file)
    if file.is_dir() or (file.is_file() and not zipfile.is_zipfile(file)):
        raise UsageError(f"{file}: it is there already and is no export file; name another file")
    counts, searches = {"record": 0, "model": 0}, set[str]()
    with whole(file) as part, zipfile.ZipFile(part, "w") as archive:
        entries: dict[str, dict[str, Any]] = {}
        for run in sorted(ids):
            record = store.find(run)
            if record is None:
                continue
            searches |= {record.search} - {""}
            for name, content in _files(store, record, models):
                counts["record"] += name == RECORD
                counts["model"] += name == record.model
                _add(archive, entries, f"runs/{record.id}/{name}", content)
        logs = list(filter(None, map(store.find_search, sorted(searches))))
        for log in logs:
            _add(archive, entries, f"tuned/{log.id}.json", seal(log.model_dump(mode="json")).encode())
        manifest = {"format": FORMAT, "zslbench": zslbench.__version__, "entries": entries}
        _write(archive, MANIFEST, seal(manifest).encode())
    return Exported(counts["record"], counts["model"], len(logs), file.stat().st_size)


def _files(store: Store, record: RunRecord, models: bool) -> Iterator[tuple[str, bytes]]:
    """Yields the files of a run in the order of their names."""
    yield record.arrays, store.decisions(record)
    if models and store.model_path(record) is not None:
        yield record.model, store.model(record)
    if note := store.note(record.id):
        yield NOTE, sealed_note(record.id, note).encode()
    yield RECORD, seal(record.model_dump(mode="json")).encode()


def _add(archive: zipfile.ZipFile, entries: dict[str, dict[str, Any]], name: str, content: bytes) -> None:
    entries[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    _write(archive, name, content)


def _write(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    about = zipfile.ZipInfo(name)  # its date is always the same, the first that a ZIP file can say
    about.create_system, about.external_attr = 3, 0o644 << 16
    archive.writestr(about, content)


class Archive:
    """An export file, opened and checked as a whole: names, sizes, no compression, a manifest that fits."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        """Checks what the file says of itself; nothing but the manifest has been read then.

        Raises:
            DataError: it is no export file, of another format, damaged, or made to do harm.
        """
        self.path, self._archive = path, archive
        sizes = _checked_sizes(path, archive)
        if MANIFEST not in sizes:
            raise DataError(f"{path}: it has no {MANIFEST}, so it is no export file of `zslbench runs export`")
        try:
            manifest = json.loads(unseal(archive.read(MANIFEST)))
            entries: dict[str, dict[str, Any]] = dict(manifest["entries"])
            kind = manifest["format"]
            own = {name: entry["size"] for name, entry in entries.items()} if kind == FORMAT else {}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: its manifest is damaged ({error})") from error
        if kind != FORMAT:
            raise DataError(f"{path}: its format is {kind}, and this version reads {FORMAT}; update zslbench")
        del sizes[MANIFEST]
        if strange := sorted(set(own.items()) ^ set(sizes.items())):
            raise DataError(f"{path}: {strange[0][0]!r} is not as its manifest says; {_NOT_STORED}")
        self._entries = entries

    def runs(self) -> list[str]:
        """Returns the ids of its runs."""
        return sorted({name.split("/")[1] for name in self._entries if name.startswith("runs/")})

    def searches(self) -> list[str]:
        """Returns the ids of its searches."""
        return sorted(name[6:-5] for name in self._entries if name.startswith("tuned/"))

    def files(self, run: str) -> dict[str, bytes]:
        """Returns the files of a run, by name; raises a ValueError where one does not fit its checksum."""
        names = [name for name in self._entries if name.startswith(f"runs/{run}/")]
        return {name.rpartition("/")[2]: self._read(name) for name in names}

    def search(self, search: str) -> Search:
        """Returns the log of a search, or raises a ValueError."""
        return Search.model_validate_json(unseal(self._read(f"tuned/{search}.json")))

    def _read(self, name: str) -> bytes:
        try:
            content = self._archive.read(name)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise ValueError(f"{name} cannot be read ({error})") from error
        if hashlib.sha256(content).hexdigest() != self._entries[name].get("sha256"):
            raise ValueError(f"{name} does not fit the checksum of the manifest")
        return content


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Opens an export file, or raises a DataError."""
    with reading(path, "ZIP"), zipfile.ZipFile(path) as archive:
        yield Archive(path, archive)


def _checked_sizes(path: Path, archive: zipfile.ZipFile) -> dict[str, int]:
    """Returns the size of each entry; a DataError says what an export file never has."""
    sizes: dict[str, int] = {}
    for entry in archive.infolist():
        if entry.filename != MANIFEST and not _ENTRY.fullmatch(entry.filename):
            raise DataError(f"{path}: {entry.filename!r} is no name in an export file; nothing was taken")
        if entry.filename in sizes:
            raise DataError(f"{path}: {entry.filename!r} is there twice; nothing was taken")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size or entry.flag_bits & 1:
            raise DataError(f"{path}: {entry.filename!r} is compressed or encrypted; {_NOT_STORED}")
        sizes[entry.filename] = entry.file_size
    if (total := sum(sizes.values())) > (size := path.stat().st_size):
        raise DataError(f"{path}: its entries declare {total:,} bytes in a file of {size:,}; nothing was taken")
    return sizes
