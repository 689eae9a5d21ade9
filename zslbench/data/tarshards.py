"""Tars of samples, as webdataset writes them, as arrays: `KEY.npy` has features, `KEY.cls` a class; many are one."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from zslbench.api.layout import ArrayFile
from zslbench.data.arrays import LONE, called, parse_arrays
from zslbench.data.made import Progress
from zslbench.data.shardrows import WIDEST, Streamed, finite, per_block
from zslbench.errors import DataError
from zslbench.files import is_clutter, reading

Array = NDArray[Any]

VECTORS = ("npy", "npz", "pt", "pth")
"""What members are called, behind their last dot, that hold features."""
FACTS = ("cls", "txt", "json")
"""What members are called that say something else of an image."""
LARGEST, LARGEST_FACT = 2**26, 2**16
"""How many bytes a member may have."""
KEYS = "image_files"
"""What the keys of samples are called as an array: they name the images."""
ZEROS = bytes(tarfile.BLOCKSIZE)

Value = int | str | None


@dataclass
class _Shard:
    """What a tar has, without its features.

    Attributes:
        path: the file.
        keys: of its samples.
        places: by what the members are called, where each begins, and its size, `(N, 2)` in the end.
        facts: what small members say, by the names of fields.
    """

    path: Path
    keys: list[str] = field(default_factory=list)
    places: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, list[Value]] = field(default_factory=dict)


class _Samples:
    """Shards, one after another, of which each sample has the same members."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._seen: set[str] = set()
        self._kinds: tuple[str, ...] = ()
        self.shards = [self._scanned(path) for path in paths]
        self.images = sum(len(shard.keys) for shard in self.shards)
        self._seen.clear()
        self.vectors: dict[str, tuple[str, str, np.dtype[Any], int]] = {}
        full = next((shard for shard in self.shards if shard.keys), None)
        if full is None:
            raise DataError(f"{paths[0]}: it has no samples, such as 0001.npy with 0001.cls")
        with _opened(full.path) as file:
            for kind in full.places:
                for name, array in _content(full, file, kind, 0).items():
                    if array.ndim and array.size == max(array.shape) > 1:
                        self.vectors[_name_of(kind, name)] = (kind, name, array.dtype, array.size)

    def _scanned(self, path: Path) -> _Shard:
        shard, members = _Shard(path), dict[str, Any]()
        with _sound(path), tarfile.open(path) as archive:
            key = ""
            for member in _members(path, archive):
                own, _, kind = _divided(member.name)
                if kind.rpartition(".")[2] not in (*VECTORS, *FACTS):
                    continue
                if own != key:
                    self._end(shard, key, members)
                    key, members = own, {}
                    self._check_new(shard, key)
                if kind in members:
                    raise DataError(f"{path}: sample {key} has two members .{kind}; write each once")
                members[kind] = _told(path, archive, member, kind)
            _check_end(path, archive, key)
            self._end(shard, key, members)
        shard.places = {kind: np.array(places, dtype=np.int64) for kind, places in shard.places.items()}
        return shard

    def _check_new(self, shard: _Shard, key: str) -> None:
        if key in self._seen:
            again = "twice" if key in shard.keys else "in another shard too"
            raise DataError(f"{shard.path}: the key {key} is there {again}; give each sample a key of its own")
        self._seen.add(key)

    def _end(self, shard: _Shard, key: str, members: dict[str, Any]) -> None:
        """Takes a sample that is complete; it must have the members of the first one."""
        if not members:
            return
        kinds = tuple(sorted(members))
        self._kinds = self._kinds or kinds
        if kinds != self._kinds:
            own, first = (" and ".join(f".{kind}" for kind in some) for some in (kinds, self._kinds))
            raise DataError(f"{shard.path}: sample {key} has {own}, and the first sample has {first}; write all alike")
        shard.keys.append(key)
        for kind, told in members.items():
            if isinstance(told, tuple):
                shard.places.setdefault(kind, []).append(told)
            else:
                for name, value in told.items():
                    column = shard.facts.setdefault(name, [])
                    column += [None] * (len(shard.keys) - 1 - len(column))
                    column.append(value)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of all that is read."""
        found: dict[str, tuple[int, ...]] = {name: (self.images, own[3]) for name, own in self.vectors.items()}
        facts = [name for shard in self.shards for name in shard.facts]
        return found | dict.fromkeys([*facts, KEYS], (self.images,))

    def load(self, progress: Progress | None, name: str) -> Array:
        """Returns an array; features from the cache, into which they are streamed."""
        if name in self.vectors:
            paths, size = [shard.path for shard in self.shards], self.vectors[name][3]
            if size > WIDEST:
                raise DataError(f"{paths[0]}: its first sample has {size} numbers; features are needed")
            return Streamed(paths, name, (self.images, size), partial(self.blocks, name), progress).rows()
        if name == KEYS and not any(KEYS in shard.facts for shard in self.shards):
            return _texts([key for shard in self.shards for key in shard.keys])
        values: list[Value] = []
        for shard in self.shards:
            own = shard.facts.get(name, [])
            own = own + [None] * (len(shard.keys) - len(own))
            if None in own:
                raise DataError(f"{shard.path}: sample {shard.keys[own.index(None)]} says nothing of {name}; add it")
            values += own
        if all(isinstance(value, int) for value in values):
            return np.array(values, dtype=np.int64)
        return _texts([str(value) for value in values])

    def blocks(self, name: str, start: int) -> Iterator[NDArray[np.float32]]:
        """Yields features from a sample on."""
        kind, array, dtype, size = self.vectors[name]
        rows = per_block(size)
        for shard in self.shards:
            samples = len(shard.keys)
            with _opened(shard.path) as file:
                for at in range(start, samples, rows):
                    end = min(at + rows, samples)
                    block = np.empty((end - at, size), dtype)
                    for i in range(at, end):
                        block[i - at] = _vector(shard, file, kind, i, array, dtype, size)
                    yield finite(shard.path, block, partial(_sample, shard.keys, at))
            start = max(0, start - samples)


def open_tars(paths: Sequence[Path], progress: Progress | None = None) -> ArrayFile:
    """Opens tar files of samples as one file of arrays: reads all that is in them but features.

    `KEY.npy` is `features`, and `KEY.emb.npy` is `emb`; `.npz`, `.pt` and `.pth` are read too, and what is in them may
    have names. `KEY.cls` and `KEY.txt` are `cls` and `txt`, and the fields of `KEY.json` are called as they are. The
    keys are `image_files`. Members of other kinds are passed over.

    Args:
        paths: the shards, in the order of their images.
        progress: is told how many images are read of features.

    Raises:
        DataError: a file is damaged or cut short, a key is there twice, or a sample lacks what the first has.
    """
    samples = _Samples(paths)
    return ArrayFile(paths[0], samples.shapes(), False, partial(samples.load, progress), _no_maps, len(paths) - 1)


def _no_maps(name: str, how: str) -> NoReturn:
    raise DataError(f"{called(name)} is no array of feature maps")


def _sound(path: Path) -> AbstractContextManager[None]:
    return reading(path, "a tar file", "fetch or write it again")


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yields files that belong to samples, and keeps none of them in memory."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]
        if member.isdir() or is_clutter(member.name):
            continue
        if not member.isreg() or member.issparse():
            raise DataError(f"{path}: {member.name} in it is a link or something else that is no file; write files")
        yield member


def _divided(name: str) -> tuple[str, str, str]:
    """Divides the name of a member at the first dot of its last part, as webdataset does."""
    folder, slash, own = name.rpartition("/")
    key, dot, kind = own.partition(".")
    return folder + slash + key, dot, kind.lower()


def _name_of(kind: str, array: str) -> str:
    """Returns what features are called: as they are in their member, else by what is before its suffix."""
    return array if array != LONE else kind.rpartition(".")[0] or "features"


def _told(path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, kind: str) -> Any:
    """Returns where features are, or what a small member says by the names of fields."""
    suffix = kind.rpartition(".")[2]
    most = LARGEST if suffix in VECTORS else LARGEST_FACT
    if member.size > most:
        raise DataError(f"{path}: {member.name} in it has {member.size} bytes; at most {most} are read")
    if suffix in VECTORS:
        return member.offset_data, member.size
    content = _read(path, archive.fileobj, member.name, member.offset_data, member.size)
    try:
        text = content.decode().strip()
        if suffix == "json":
            return _fields(json.loads(text), kind)
    except ValueError as error:
        raise DataError(f"{path}: {member.name} in it cannot be read as {suffix}; write it again") from error
    return {kind: int(text) if suffix == "cls" and text.isdecimal() and text.isascii() else text}


def _fields(told: Any, kind: str) -> dict[str, Value]:
    """Returns the whole numbers and texts of a JSON object, or the one that stands alone."""
    fields = told if isinstance(told, dict) else {kind: told}
    return {name: value for name, value in fields.items() if isinstance(value, str) or type(value) is int}


def _check_end(path: Path, archive: tarfile.TarFile, last: str) -> None:
    """Checks that a tar ends as tars do: behind a damaged head, or one that was cut, the library sees no more."""
    file: Any = archive.fileobj
    file.seek(archive.offset)
    end = file.read(tarfile.BLOCKSIZE)
    rest = file.read(tarfile.RECORDSIZE)
    while end == ZEROS and rest and not any(rest):
        rest = file.read(tarfile.RECORDSIZE)
    if end != ZEROS or rest:
        where = f"behind sample {last}" if last else "at its beginning"
        raise DataError(f"{path}: it is cut short or damaged {where}; fetch or write it again")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens what is in a tar, compressed or not."""
    with _sound(path), tarfile.open(path) as archive:
        file: Any = archive.fileobj
        yield file


def _read(path: Path, file: Any, name: str, offset: int, size: int) -> bytes:
    file.seek(offset)
    content: bytes = file.read(size)
    if len(content) < size:
        raise DataError(f"{path}: it is cut short in {name}; fetch or write it again")
    return content


def _content(shard: _Shard, file: Any, kind: str, sample: int) -> dict[str, Array]:
    offset, size = shard.places[kind][sample].tolist()
    name = f"{shard.keys[sample]}.{kind}"
    return parse_arrays(shard.path, name, f".{kind.rpartition('.')[2]}", _read(shard.path, file, name, offset, size))


def _vector(shard: _Shard, file: Any, kind: str, sample: int, array: str, dtype: np.dtype[Any], size: int) -> Array:
    found = _content(shard, file, kind, sample).get(array)
    if found is None or found.dtype != dtype or found.size != size:
        own = "no such array" if found is None else f"{found.dtype} {found.shape}"
        raise DataError(
            f"{shard.path}: sample {shard.keys[sample]} has {own} in .{kind}, and the first sample has {dtype} "
            f"({size},); write all alike"
        )
    return found.ravel()


def _sample(keys: list[str], start: int, row: int) -> str:
    return f"sample {keys[start + row]}"


def _texts(values: list[str]) -> Array:
    return np.array([value.encode() for value in values], dtype=np.bytes_)
