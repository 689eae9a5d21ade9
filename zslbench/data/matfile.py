"""Reads chosen variables of MATLAB files, version 5 (scipy) and 7.3 (HDF5), in MATLAB's orientation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

from zslbench.errors import DataError

Array = NDArray[Any]
BLOCK_BYTES = 2**25
"""How much of a matrix is held in memory at a time where it can be read in pieces."""


def variables(path: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each variable of a file, in MATLAB's orientation, without reading any.

    Raises:
        DataError: the file is missing or is no MATLAB file.
    """
    with _one_line_errors(path):
        if _is_hdf5(path):
            with h5py.File(path, "r") as file:
                datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
                return {name: tuple(reversed(item.shape)) for name, item in datasets.items()}
        return {name: tuple(shape) for name, shape, _ in scipy.io.whosmat(path, appendmat=False)}


def read_arrays(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Array]:
    """Reads numeric variables; of the optional ones, those that are there.

    Raises:
        DataError: the file is missing, damaged or no MATLAB file, or a variable is missing or not numeric.
    """
    found = _read(path, names, optional)
    for name, value in found.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            raise DataError(f"{path}: variable {name!r} is not a full matrix of real numbers")
    return found


def read_strings(path: Path, name: str) -> tuple[str, ...] | None:
    """Reads a cell array of strings, or None if there is no such variable.

    Raises:
        DataError: the file is missing, damaged or no MATLAB file, or the variable holds something else.
    """
    found = _read(path, (), (name,))
    if name not in found:
        return None
    if not isinstance(found[name], tuple):
        raise DataError(f"{path}: variable {name!r} is not a cell array of strings")
    strings: tuple[str, ...] = found[name]
    return strings


def column_blocks(path: Path, name: str) -> Iterator[Array]:
    """Yields the columns of a matrix `(D, N)` as the rows of blocks `(n, D)`, in order; HDF5 is read piece by piece.

    Raises:
        DataError: as `read_arrays`, or the variable is not a matrix.
    """
    shape = variables(path).get(name)
    if shape is not None and len(shape) != 2:
        raise DataError(f"{path}: variable {name!r} has shape {shape}; a matrix is needed")
    with _one_line_errors(path):
        streamed = shape is not None and _is_hdf5(path)
    if not streamed:
        matrix = read_arrays(path, [name])[name].T
        step = _rows_per_block(matrix.shape[1])
        yield from (matrix[start : start + step] for start in range(0, len(matrix), step))
        return
    with _one_line_errors(path), h5py.File(path, "r") as file:
        dataset = file[name]  # HDF5 holds MATLAB's matrices transposed
        if dataset.dtype.kind not in "biuf":
            raise DataError(f"{path}: variable {name!r} is not a full matrix of real numbers")
        step = _rows_per_block(dataset.shape[1])
        blocks = range(0, dataset.shape[0], step)
    for start in blocks:
        with _one_line_errors(path), h5py.File(path, "r") as file:  # closed while the caller has the block
            block = file[name][start : start + step]
        yield block


def indices(values: Array, what: str) -> NDArray[np.int64]:
    """Turns MATLAB's indices, which count from 1 in whatever number type, into int64 from 0, flat.

    Raises:
        DataError: a value is no whole number from 1; `what` names file and variable.
    """
    flat = values.ravel(order="F")
    if flat.size and not (np.isfinite(flat).all() and (flat == np.floor(flat)).all() and flat.min() >= 1):
        raise DataError(f"{what} must be whole numbers from 1; the file holds something else")
    return flat.astype(np.int64) - 1


def _read(path: Path, names: Sequence[str], optional: Sequence[str]) -> dict[str, Any]:
    wanted = [*names, *optional]
    with _one_line_errors(path):
        if _is_hdf5(path):
            with h5py.File(path, "r") as file:
                present = [name for name in wanted if isinstance(file.get(name), h5py.Dataset)]
                found = {name: _from_hdf5(file, file[name]) for name in present}
        else:
            loaded = scipy.io.loadmat(path, variable_names=wanted, appendmat=False)
            found = {name: _from_v5(loaded[name]) for name in wanted if name in loaded}
    for name in names:
        if name not in found:
            there = ", ".join(sorted(variables(path))) or "nothing"
            raise DataError(f"{path}: variable {name!r} is missing; the file holds {there}")
    return found


def _is_hdf5(path: Path) -> bool:
    with path.open("rb"):  # a missing or forbidden file says so here; h5py would only say no
        return bool(h5py.is_hdf5(path))


def _from_v5(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "OU":
        return value
    cells = value.ravel(order="F")
    if value.dtype.kind == "U":  # a character matrix: one string a row
        return tuple(str(row).rstrip() for row in cells)
    if all(isinstance(cell, np.ndarray) and cell.dtype.kind == "U" and cell.size <= 1 for cell in cells):
        return tuple("".join(cell) for cell in cells)
    return value


def _from_hdf5(file: h5py.File, dataset: h5py.Dataset) -> Any:
    kind = dataset.attrs.get("MATLAB_class", b"")
    if "MATLAB_empty" in dataset.attrs:  # holds the dimensions instead of values
        return () if kind in (b"cell", b"char") else np.empty(tuple(int(size) for size in dataset[()]))
    if kind == b"char":
        return tuple(_decode(codes).rstrip() for codes in np.atleast_2d(dataset[()].T))
    if h5py.check_ref_dtype(dataset.dtype) is h5py.Reference:
        cells = [file[reference] for reference in dataset[()].flat]  # C order here is MATLAB's column order
        return tuple("" if "MATLAB_empty" in cell.attrs else _decode(cell[()].ravel()) for cell in cells)
    return dataset[()].T


def _decode(codes: Array) -> str:
    if codes.dtype.kind not in "ui":
        raise ValueError("a cell holds no characters")
    return codes.astype("<u2").tobytes().decode("utf-16-le")


def _rows_per_block(columns: int) -> int:
    return max(1, BLOCK_BYTES // (8 * max(1, columns)))


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (PermissionError, IsADirectoryError, NotADirectoryError) as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except Exception as error:  # a damaged file makes scipy and h5py raise a dozen kinds, zlib.error among them
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DataError(f"{path}: not a whole MATLAB file ({reason}); fetch or save it again") from error
