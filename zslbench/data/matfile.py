"""Reads and writes MATLAB files, version 5 and 7.3: in MATLAB's orientation, large ones in pieces."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from zslbench.data.matchild import FEATURES
from zslbench.data.matentry import entry_of, heads_of
from zslbench.errors import DataError
from zslbench.files import SMALL, reading, whole

Array = NDArray[Any]
Variables = dict[str, NDArray[Any] | list[str] | str]

ROWS = 4096
"""How many columns of a matrix are held in memory at a time while it is written."""
V5_BYTES = 2**28
"""From this size on features are written to a file of version 7.3: one of version 5 would be read whole."""
CELLS = 2**15
"""How many texts are written as cells: in version 7.3 each is an object, and a million of them take minutes."""
MI_SINGLE, MI_MATRIX, MX_SINGLE = 7, 14, 7
HEADER_BYTES, DESCRIPTION_BYTES = 512, 116
LARGEST_INDEX = 2**53
"""From here on doubles are no longer exact; int64 would even wrap, later."""
SOURCE = "source"
"""The variable that says what a file was made from, so that a command can tell its own work."""


def variables(path: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each variable of a file, in MATLAB's orientation; of a large file without reading any.

    Raises:
        DataError: the file is missing, damaged or no MATLAB file.
    """
    with reading(path):
        size = path.stat().st_size
    found = entry_of(path).variables if size <= SMALL else heads_of(path)
    return {name: tuple(variable["shape"]) for name, variable in found.items()}


def read_arrays(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Array]:
    """Reads numeric variables; of the optional ones, those that are there.

    Raises:
        DataError: the file is missing, damaged or no MATLAB file, or a variable is missing or not numeric.
    """
    entry = entry_of(path, [*names, *optional])
    for name in names:
        if name not in entry.variables:
            there = ", ".join(sorted(entry.variables)) or "nothing"
            raise DataError(f"{path}: variable {name!r} is missing; the file holds {there}")
    for name in [*names, *optional]:
        if why := entry.variables.get(name, {}).get("why"):
            raise DataError(f"{path}: variable {name!r} {why}")
        if isinstance(entry.values.get(name), tuple):
            raise DataError(f"{path}: variable {name!r} is not a full matrix of real numbers")
    turned = FEATURES if not entry.rows else ""  # they are kept as rows
    return {name: value.T if name == turned else value for name, value in entry.values.items()}


def read_pooled(path: Path, name: str, how: str) -> NDArray[np.float32]:
    """Reads feature maps `(N, C, H, W)` of an HDF5 file as rows, memory-mapped: pooled over places, or all of these.

    Args:
        path: the file.
        name: the variable.
        how: a way of `matchild.POOLS`.

    Raises:
        DataError: the file is missing or damaged, or there are no such feature maps.
    """
    entry = entry_of(path, [name], pool=how)
    if name not in entry.values:
        why = entry.variables.get(name, {}).get("why") or "is missing"
        raise DataError(f"{path}: variable {name!r} {why}; feature maps (images, channels, height, width) are needed")
    rows: NDArray[np.float32] = entry.values[name]
    return rows


def is_matlab(path: Path) -> bool:
    """Returns whether a file begins as MATLAB's do; an HDF5 file of Python does not, and has no other orientation.

    Raises:
        DataError: the file cannot be read.
    """
    with reading(path), path.open("rb") as file:
        return file.read(len(b"\x89HDF")) != b"\x89HDF"


def read_strings(path: Path, name: str) -> tuple[str, ...] | None:
    """Reads a cell array of strings, or None if there is no such variable.

    Raises:
        DataError: the file is missing, damaged or no MATLAB file, or the variable holds something else.
    """
    entry = entry_of(path, [name])
    if name not in entry.variables:
        return None
    strings = entry.values.get(name)
    if not isinstance(strings, tuple):
        raise DataError(f"{path}: variable {name!r} is not a cell array of strings")
    return strings


def indices(values: Array, what: str) -> NDArray[np.int64]:
    """Turns MATLAB's indices, which count from 1 in whatever number type, into int64 from 0, flat.

    Raises:
        DataError: a value is no whole number from 1; `what` names file and variable.
    """
    flat = values.ravel(order="F")
    whole_numbers = flat.dtype.kind in "iuf" and np.isfinite(flat).all() and bool((flat == np.floor(flat)).all())
    if flat.size and not (whole_numbers and flat.min() >= 1 and flat.max() < LARGEST_INDEX):
        raise DataError(f"{what} must be whole numbers from 1; the file holds something else")
    return flat.astype(np.int64) - 1


def made_from(path: Path) -> dict[str, str]:
    """Returns what a file was made from, its variable `source` in JSON; empty if it does not say.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        found = json.loads("".join(read_strings(path, SOURCE) or ()))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def write_mat(
    path: Path,
    variables: Variables,
    columns: dict[str, NDArray[np.float32]] | None = None,
    source: dict[str, str] | None = None,
) -> None:
    """Writes a MATLAB file that is visible only once it is whole.

    Args:
        path: where to.
        variables: matrices; a list of strings becomes a column of cells, a string a row of characters.
        columns: large matrices, given as rows `(N, D)` and written as the columns of `(D, N)`.
        source: what the file is made from, for `made_from`.

    Raises:
        DataError: it cannot be written.
    """
    columns = columns or {}
    if source is not None:
        variables = {**variables, SOURCE: json.dumps(source, sort_keys=True)}
    write = _write_v73 if any(rows.nbytes >= V5_BYTES for rows in columns.values()) else _write_v5
    with whole(path) as part:
        write(part, variables, columns)


def _write_v5(path: Path, variables: Variables, columns: dict[str, NDArray[np.float32]]) -> None:
    cells = {name: _cells(value) if isinstance(value, list) else value for name, value in variables.items()}
    with path.open("wb") as file:
        scipy.io.savemat(cast("Any", file), cells, do_compression=True)
        for name, rows in columns.items():  # scipy would hold it in memory
            _write_v5_matrix(file, name, rows)
        file.seek(0)
        file.write(
            b"MATLAB 5.0 MAT-file".ljust(DESCRIPTION_BYTES)
        )  # scipy puts the time there; equal data, equal files


def _write_v5_matrix(file: IO[bytes], name: str, rows: NDArray[np.float32]) -> None:
    """Appends a single-precision matrix as the MAT-file format, level 5, describes it."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    head = element(6, struct.pack("<II", MX_SINGLE, 0)) + element(5, struct.pack("<ii", rows.shape[1], rows.shape[0]))
    head += element(1, name.encode("ascii"))
    padding = bytes(-rows.nbytes % 8)
    file.write(struct.pack("<II", MI_MATRIX, len(head) + 8 + rows.nbytes + len(padding)) + head)
    file.write(struct.pack("<II", MI_SINGLE, rows.nbytes))
    for block in _blocks(rows):
        file.write(block.astype("<f4").data)
    file.write(padding)


def _write_v73(path: Path, variables: Variables, columns: dict[str, NDArray[np.float32]]) -> None:
    with h5py.File(path, "w", userblock_size=HEADER_BYTES) as file:
        references = file.create_group("#refs#")
        for name, value in variables.items():
            if isinstance(value, list) and len(value) > CELLS and all(text == text.rstrip() for text in value):
                _characters(file, name, *value)
            elif isinstance(value, list):
                cells = [_characters(references, f"{name}{i}", text).ref for i, text in enumerate(value)]
                dataset = file.create_dataset(name, data=np.array([cells], dtype=h5py.ref_dtype))
                dataset.attrs["MATLAB_class"] = np.bytes_("cell")
            elif isinstance(value, str):
                _characters(file, name, value)
            else:
                dataset = file.create_dataset(name, data=np.atleast_2d(value).T)
                dataset.attrs["MATLAB_class"] = np.bytes_("single" if value.dtype == np.float32 else "double")
        for name, rows in columns.items():
            dataset = file.create_dataset(name, rows.shape, np.float32)  # HDF5 holds MATLAB's matrices transposed
            dataset.attrs["MATLAB_class"] = np.bytes_("single")
            start = 0
            for block in _blocks(rows):
                dataset[start : start + len(block)] = block
                start += len(block)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def _blocks(rows: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(rows), ROWS):
        yield np.ascontiguousarray(rows[start : start + ROWS])


def _characters(group: h5py.Group, name: str, *texts: str) -> h5py.Dataset:
    """Writes texts as a matrix of characters, a row each, in MATLAB's orientation; blanks fill it up."""
    coded = [np.frombuffer(text.encode("utf-16-le"), dtype=np.uint16) for text in texts]
    codes = np.full((len(coded), max(map(len, coded))), ord(" "), dtype=np.uint16)
    for row, own in zip(codes, coded, strict=True):
        row[: len(own)] = own
    dataset = group.create_dataset(name, data=codes.T)
    dataset.attrs["MATLAB_class"] = np.bytes_("char")
    return dataset


def _cells(texts: list[str]) -> NDArray[Any]:
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = texts
    return cells
