"""Parquet files as arrays: a row an image, a column of vectors, of classes, of names; shards are one table."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from zslbench.api.layout import ArrayFile
from zslbench.data.made import Progress
from zslbench.data.shardrows import WIDEST, Streamed, finite, per_block
from zslbench.errors import DataError, UsageError
from zslbench.files import reading

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

Array = NDArray[Any]

BUFFERED = 2**22
"""Bytes that are read of all columns together at a time; without a limit it would be a whole row group."""
TEXT_BYTES = 2**30
"""How much memory the texts of a column may take."""
NUMBERED = re.compile(r"(.*?)[._\-\[ ]*(\d+)\]?")
"""What a column of a single dimension is called: `f0`, `feature_0`, `0`, `x[0]`."""
CLASS_NAMES = "class_names"


@dataclass(frozen=True)
class _Matrix:
    """Columns that together are features.

    Attributes:
        columns: one of vectors, or one for each dimension.
        size: numbers of an image.
    """

    columns: tuple[str, ...]
    size: int


class _Table:
    """Shards with the same columns, one after another."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.counts: list[int] = []
        self.matrices: dict[str, _Matrix] = {}
        self.class_names: list[str] = []
        for path in paths:
            with _sound(path), _opened(path) as file:
                types = {field.name: _plain(field.type) for field in file.schema_arrow}
                if not self.counts:
                    self.types, self.class_names = types, _class_names(file.schema_arrow)
                self._compare(path, types)
                self.counts.append(file.metadata.num_rows)
                self._measure(path, file)
        self.lists = [name for name, kind in self.types.items() if _is_number(kind) or _is_text(kind)]
        self.lists = [name for name in self.lists if not any(name in m.columns for m in self.matrices.values())]

    def _compare(self, path: Path, types: Mapping[str, pyarrow.DataType]) -> None:
        for name in [*self.types, *types]:
            own, first = types.get(name, "absent"), self.types.get(name, "absent")
            if own != first:
                raise DataError(
                    f"{path}: column {name} is {own}, and {first} in {self.paths[0].name}; write all shards alike"
                )

    def _measure(self, path: Path, file: pyarrow.parquet.ParquetFile) -> None:
        """Takes from the first row how many numbers an image has; it must be the same in every shard."""
        found: dict[str, _Matrix] = {}
        vectors = [name for name, kind in self.types.items() if _is_vector(kind)]
        if vectors and file.metadata.num_rows:
            first = next(file.iter_batches(1, columns=vectors, use_threads=False))
            found = {name: _Matrix((name,), len(_storage(first.column(name)).flatten())) for name in vectors}
        for name, columns in _numbered(self.types).items():
            if name not in self.types:
                found[name] = _Matrix(columns, len(columns))
        if not self.matrices:
            self.matrices = found
        for name, own in found.items():
            size = self.matrices[name].size
            if own.size != size:
                _differs(path, 1, name, own.size, size)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Returns the shape of all that is read, lists last."""
        images = sum(self.counts)
        found: dict[str, tuple[int, ...]] = {name: (images, own.size) for name, own in self.matrices.items()}
        found |= dict.fromkeys(self.lists, (images,))
        return found if not self.class_names else {CLASS_NAMES: (len(self.class_names),), **found}

    def load(self, progress: Progress | None, name: str) -> Array:
        """Returns an array; features from the cache, into which they are streamed."""
        if name == CLASS_NAMES and name not in self.types:
            return np.array(self.class_names)
        if name in self.matrices:
            size = self.matrices[name].size
            if not 0 < size <= WIDEST:
                raise DataError(f"{self.paths[0]}: column {name} has {size} numbers in row 1; features are needed")
            return Streamed(self.paths, name, (sum(self.counts), size), partial(self.blocks, name), progress).rows()
        if name not in self.lists:
            raise DataError(f"{self.paths[0]}: it has no column {name!r}")
        parts = [part for path in self.paths for part in self._list(path, name)]
        width = max((part.dtype.itemsize for part in parts), default=0)
        if width * sum(map(len, parts)) > TEXT_BYTES:
            raise DataError(f"{self.paths[0]}: column {name} has texts of up to {width} bytes, too long for names")
        return np.concatenate(parts) if parts else np.empty(0)

    def blocks(self, name: str, start: int) -> Iterator[NDArray[np.float32]]:
        """Yields features from a row on."""
        for path, count in zip(self.paths, self.counts, strict=True):
            if start < count:
                yield from self._vectors(path, self.matrices[name], start)
            start = max(0, start - count)

    def _vectors(self, path: Path, matrix: _Matrix, start: int) -> Iterator[NDArray[np.float32]]:
        name = matrix.columns[0]
        for row, batch in _batches(path, matrix.columns, start, per_block(matrix.size)):
            if len(matrix.columns) > 1:
                values = np.stack([_numbers(path, row, c, batch.column(c)) for c in matrix.columns], axis=1)
            else:
                values = _vectors(path, row, name, batch.column(name), matrix.size)
            yield finite(path, values, partial(_row, name, row))

    def _list(self, path: Path, name: str) -> Iterator[Array]:
        for row, batch in _batches(path, (name,), 0, 2**16):
            column = batch.column(name)
            if _is_text(self.types[name]):
                _no_null(path, row, name, column)
                yield np.array([text.encode() for text in column.to_pylist()], dtype=np.bytes_)
            else:
                yield _numbers(path, row, name, column)


def open_parquet(paths: Sequence[Path], progress: Progress | None = None) -> ArrayFile:
    """Opens Parquet files as one file of arrays: columns of numbers, of texts, and of vectors, which are matrices.

    Columns of single dimensions, as `f0`, `f1` and so on, are a matrix called by what is before the numbers. What the
    `datasets` library writes of the names of classes is `class_names`.

    Args:
        paths: the shards, in the order of their images.
        progress: is told how many images are read of features.

    Raises:
        UsageError: pyarrow is not installed.
        DataError: a file is damaged, or has other columns than the first.
    """
    os.environ.setdefault(
        "ARROW_DEFAULT_MEMORY_POOL", "system"
    )  # its own reserves a gigabyte, and keeps what was freed
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(
            f"{paths[0]}: Parquet needs pyarrow, which is not installed; pip install 'zslbench[parquet]'"
        ) from error
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # where it was imported already
    table = _Table(paths)
    return ArrayFile(paths[0], table.shapes(), False, partial(table.load, progress), _no_maps(paths[0]), len(paths) - 1)


def _no_maps(path: Path) -> Callable[[str, str], NoReturn]:
    def pool(name: str, how: str) -> NoReturn:
        raise DataError(f"{path}: {name} is no array of feature maps")

    return pool


def _sound(path: Path) -> Any:
    return reading(path, "Parquet", "fetch or write it again")


def _opened(path: Path, columns: int = 1) -> pyarrow.parquet.ParquetFile:
    import pyarrow.parquet

    size = max(2**14, BUFFERED // columns)
    return pyarrow.parquet.ParquetFile(path, buffer_size=size, pre_buffer=False, page_checksum_verification=True)


def _batches(path: Path, columns: Sequence[str], start: int, rows: int) -> Iterator[tuple[int, pyarrow.RecordBatch]]:
    """Yields batches with the row of the shard that they begin at; the first begins at `start`."""
    with _sound(path), _opened(path, len(columns)) as file:
        groups: list[int] = []
        at = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if at + count > start or groups:
                groups.append(group)
            else:
                at += count
        for batch in file.iter_batches(rows, row_groups=groups, columns=list(columns), use_threads=False):
            skipped = min(batch.num_rows, max(0, start - at))
            if skipped < batch.num_rows:
                yield at + skipped, batch.slice(skipped)
            at += batch.num_rows
        if at != file.metadata.num_rows:
            raise DataError(f"{path}: it has {at} rows, and declares {file.metadata.num_rows}; write it again")


def _plain(kind: pyarrow.DataType) -> pyarrow.DataType:
    """Returns the type behind extensions and dictionaries, of lists with elements of any name."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_type, kind.list_size)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(kind.value_type)
    return pa.string() if pa.types.is_large_string(kind) else kind


def _is_number(kind: pyarrow.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_text(kind: pyarrow.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind))


def _is_vector(kind: pyarrow.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind)) and _is_number(kind.value_type)


def _numbered(types: Mapping[str, pyarrow.DataType]) -> dict[str, tuple[str, ...]]:
    """Returns columns of floats that are numbered from 0 or 1 without a gap, by what is before the numbers."""
    import pyarrow as pa

    groups: dict[str, dict[int, str]] = {}
    for name, kind in types.items():
        if pa.types.is_floating(kind) and (told := NUMBERED.fullmatch(name)):
            groups.setdefault(told[1] or "features", {})[int(told[2])] = name
    found = {name: tuple(own[i] for i in sorted(own)) for name, own in groups.items()}
    return {
        name: columns
        for name, columns in found.items()
        if len(columns) > 1 and min(groups[name]) in (0, 1) and max(groups[name]) - min(groups[name]) < len(columns)
    }


def _class_names(schema: pyarrow.Schema) -> list[str]:
    """Returns the names of classes that the `datasets` library writes beside a column of numbers, if it is one."""
    try:
        told = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        [names] = [own["names"] for own in told.values() if own.get("_type") == "ClassLabel"]
        return [str(name) for name in names]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _row(name: str, start: int, row: int) -> str:
    return f"row {start + row + 1}, column {name},"


def _storage(column: pyarrow.Array) -> pyarrow.Array:
    import pyarrow as pa

    return _storage(column.storage) if isinstance(column, pa.ExtensionArray) else column


def _no_null(path: Path, row: int, name: str, column: pyarrow.Array) -> None:
    if column.null_count:
        missing = row + int(np.asarray(column.is_null()).argmax())
        raise DataError(f"{path}: row {missing + 1} has no {name}; add it, or leave the row out")


def _numbers(path: Path, row: int, name: str, column: pyarrow.Array) -> Array:
    _no_null(path, row, name, column)
    return np.asarray(_storage(column).to_numpy(zero_copy_only=False))


def _vectors(path: Path, row: int, name: str, column: pyarrow.Array, size: int) -> Array:
    """Returns a column of vectors as a matrix, each of so many numbers."""
    import pyarrow as pa

    _no_null(path, row, name, column)
    column = _storage(column)
    values = column.flatten()
    if not pa.types.is_fixed_size_list(column.type):
        lengths = np.asarray(column.value_lengths())
        if (lengths != size).any():
            wrong = int((lengths != size).argmax())
            _differs(path, row + wrong + 1, name, int(lengths[wrong]), size)
    if values.null_count:
        missing = row + int(np.asarray(values.is_null()).argmax()) // size
        raise DataError(f"{path}: row {missing + 1} lacks numbers in column {name}; repair it, or leave the row out")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(-1, size)


def _differs(path: Path, row: int, name: str, own: int, size: int) -> NoReturn:
    raise DataError(f"{path}: row {row} has {own} numbers in column {name}, and the first row of all has {size}")
