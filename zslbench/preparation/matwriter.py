"""Writes MATLAB files: version 5, or 7.3 where a variable exceeds 2 GB; a large matrix goes through in pieces."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from zslbench.files import whole

V5_BYTES = 2**31
"""From this size on a variable does not fit a version 5 file."""
ROWS = 4096
"""How many columns of a matrix are held in memory at a time."""
MI_SINGLE, MI_MATRIX, MX_SINGLE = 7, 14, 7
HEADER_BYTES, DESCRIPTION_BYTES = 512, 116

Variables = dict[str, NDArray[Any] | list[str] | str]


def write_mat(path: Path, variables: Variables, columns: dict[str, NDArray[np.float32]] | None = None) -> None:
    """Writes a MATLAB file that is visible only once it is whole.

    Args:
        path: where to.
        variables: matrices; a list of strings becomes a column of cells, a string a row of characters.
        columns: large matrices, given as rows `(N, D)` and written as the columns of `(D, N)`.

    Raises:
        DataError: it cannot be written.
    """
    columns = columns or {}
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
            if isinstance(value, list):
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


def _characters(group: h5py.Group, name: str, text: str) -> h5py.Dataset:
    codes = np.frombuffer(text.encode("utf-16-le"), dtype=np.uint16)[:, None]
    dataset = group.create_dataset(name, data=codes)
    dataset.attrs["MATLAB_class"] = np.bytes_("char")
    return dataset


def _cells(texts: list[str]) -> NDArray[Any]:
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = texts
    return cells
