"""Reads one MATLAB or HDF5 file into plain files, in a process of its own: the reading libraries crash on damaged ones.

`python -m zslbench.data.matchild FILE FOLDER IMAGES POOL` writes the matrices of numbers as .npy and the texts as .json
into FOLDER, and says on standard output in JSON what they are, or what is wrong with the file. Without FOLDER (`-`) it
only says what the file holds. With POOL, a way of `POOLS`, it writes nothing but the feature maps of an HDF5 file, as
rows. Nothing here may import more than numpy and the library that the file needs.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zslbench.errors import DataError
from zslbench.files import NotWritten, check_expansion, reading, writing

if TYPE_CHECKING:
    import h5py

FEATURES, LABELS = "features", "labels"
POOLS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "mean": lambda maps: maps.mean(axis=(2, 3), dtype=np.float64),
    "max": lambda maps: maps.max(axis=(2, 3)),
    "keep": lambda maps: maps.reshape(len(maps), -1),
}
"""How feature maps `(N, C, H, W)` become rows: `(N, C)`, or `(N, C * H * W)` where all places are kept."""
MAPS = 4
"""How many dimensions feature maps have."""
BLOCK_BYTES = 2**25
"""How much of the features is held in memory at a time where they can be read in pieces."""
BASE_BYTES, TIMES = 2**29, 4
"""How much memory the process may take: so much, and so many times what the file declares."""
V5_HEADER, V5_MATRIX, V5_COMPRESSED = 128, 14, 15
ITEM_BYTES = {"double": 8, "single": 4, "logical": 1, "char": 4, "cell": 256} | {
    f"{sign}int{8 * size}": size for sign in ("", "u") for size in (1, 2, 4, 8)
}
"""What an item of each class of version 5 takes in memory; cells by experience."""


@dataclass
class Variable:
    """A variable as the file declares it.

    Attributes:
        shape: in MATLAB's orientation.
        size: how many bytes it takes in memory.
        why: why it is not read, the rest of a sentence that its name begins; empty if it is.
    """

    shape: tuple[int, ...]
    size: int = 0
    why: str = ""


Values = Callable[[list[str]], Iterator[tuple[str, Any]]]
"""Reads variables one after another: numbers in MATLAB's orientation, texts as a tuple, anything else as None."""


def main() -> None:
    """Answers in one line of JSON."""
    path, folder, images, pool = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    answer: dict[str, Any]
    try:
        limit_memory(BASE_BYTES)
        answer = read(path, None if folder == "-" else Path(folder), images, pool)
    except DataError as error:
        answer = {"error": str(error), "unwritten": isinstance(error, NotWritten)}
    print(json.dumps(answer))


def limit_memory(size: int) -> None:
    """Limits the memory of this process, where the platform can, and its core dump to nothing."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # Windows has none

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        soft = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def read(path: Path, folder: Path | None, images: int = 0, pool: str = "") -> dict[str, Any]:
    """Reads a file into a folder, or only says what it holds.

    Args:
        path: the file.
        folder: where to write; None for nowhere.
        images: how many images the features should be of, if the file has no labels; 0 if nobody knows.
        pool: how feature maps become rows; empty to read everything but them.

    Returns:
        `variables`: name -> `shape`, in MATLAB's orientation, and `file`, its name in the folder, or `why` it is not
        read. `rows`: whether the images are the rows of the features as MATLAB has them; None if they fit either way.

    Raises:
        DataError: the file is damaged, no MATLAB file, or declares more than it can hold.
    """
    with _sound(path):
        with path.open("rb") as file:
            head = file.read(V5_HEADER)
        if head[124:128] in (b"\x00\x01IM", b"\x01\x00MI"):
            _check_elements(path, "little" if head[126:] == b"IM" else "big")
            return _written(path, *_open_v5(path, pool), folder, images)
        if head.startswith(b"MATLAB 5.0") or not head:
            raise ValueError("its head is damaged" if head else "it is empty")
        import h5py

        with h5py.File(path, "r") as opened:
            return _written(path, *_open_hdf5(opened, pool), folder, images)


def _sound(path: Path) -> AbstractContextManager[None]:
    return reading(path, "a whole MATLAB or HDF5 file", "fetch or save it again")


def _written(
    path: Path, found: dict[str, Variable], values: Values, folder: Path | None, images: int
) -> dict[str, Any]:
    wanted = [name for name, variable in found.items() if not variable.why]
    declared = sum(found[name].size for name in wanted)
    check_expansion(path, declared)
    rows = _in_rows(found, images)
    kept: dict[str, dict[str, Any]] = {
        name: {"shape": variable.shape, "why": variable.why} for name, variable in found.items()
    }
    if folder is None:
        return {"variables": kept, "rows": rows}
    limit_memory(BASE_BYTES + TIMES * (declared + path.stat().st_size))
    for number, (name, value) in enumerate(values(wanted)):
        if value is None:
            kept[name]["why"] = "is neither a full matrix of real numbers nor a cell array of strings"
            continue
        target = folder / f"{number}.{'json' if isinstance(value, tuple) else 'npy'}"
        kept[name]["file"] = target.name
        if isinstance(value, tuple):
            with writing(target):
                target.write_text(json.dumps(value), encoding="ascii")
        elif isinstance(value, _Pooled):
            _write_rows(target, path, value)
        elif name == FEATURES and len(value.shape) == 2:
            _write_rows(target, path, value[()] if rows else value.T)
        else:
            plain = _plain(value[()])
            with writing(target):
                np.save(target, plain, allow_pickle=False)
    return {"variables": kept, "rows": rows}


def _in_rows(found: dict[str, Variable], images: int) -> bool | None:
    shape = found[FEATURES].shape if FEATURES in found else ()
    images = prod(found[LABELS].shape) if LABELS in found else images
    if len(shape) == 2 and shape[0] == shape[1] == images:
        return None
    return len(shape) == 2 and shape[0] == images


def _write_rows(target: Path, source: Path, rows: Any) -> None:
    """Writes features, `(N, D)` of anything that gives slices, as float32.

    By ordinary writes: through a memory map, a full disk would kill the process. What overflows becomes infinite.
    """
    header = {"descr": "<f4", "fortran_order": False, "shape": tuple(map(int, rows.shape))}
    step = max(1, BLOCK_BYTES // (8 * max(1, getattr(rows, "read", rows.shape[1]))))
    with writing(target), target.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows.shape[0], step):
            with _sound(source), np.errstate(all="ignore"):
                block = np.ascontiguousarray(rows[start : start + step], dtype="<f4")
            file.write(block.data)


def _plain(value: NDArray[Any]) -> NDArray[Any]:
    """Returns an array of the machine's byte order, without what HDF5 notes beside a type."""
    return np.asarray(value).astype(np.dtype(value.dtype.str).newbyteorder("="))


def _check_elements(path: Path, order: Any) -> None:
    """Checks that the elements of a version 5 file follow each other to its end, and the checksum of compressed ones.

    The library takes a length that leads past the end for the end of the file, and leaves out what follows.
    """
    end, start = path.stat().st_size, V5_HEADER
    with path.open("rb") as file:
        while start < end:
            file.seek(start)
            tag = file.read(8)
            kind, size = int.from_bytes(tag[:4], order), int.from_bytes(tag[4:], order)
            start += 8 + size
            if kind not in (V5_MATRIX, V5_COMPRESSED) or len(tag) < 8 or start > end:
                raise ValueError("its variables do not follow each other to its end")
            if kind == V5_COMPRESSED:
                _inflate(file, size)


def _inflate(file: Any, size: int) -> None:
    inflater = zlib.decompressobj()
    while size:
        content = file.read(min(size, 2**16))
        size -= len(content)
        while content:
            inflater.decompress(content, 2**20)
            content = inflater.unconsumed_tail
    if not inflater.eof or inflater.unused_data:
        raise ValueError("a compressed variable is not whole")


def _open_v5(path: Path, pool: str) -> tuple[dict[str, Variable], Values]:
    import scipy.io.matlab

    found: dict[str, Variable] = {}
    for name, shape, kind in scipy.io.matlab.whosmat(str(path), appendmat=False):
        if name in found:
            raise ValueError(f"it holds two variables {name!r}")
        if any(size < 0 for size in shape):
            raise ValueError(f"variable {name!r} declares the shape {shape}")
        why = "" if kind in ITEM_BYTES else f"is of class {kind}, not a full matrix of real numbers"
        why = _why_not(shape, "feature maps are pooled from HDF5 alone" if pool and not why else why)
        found[name] = Variable(tuple(map(int, shape)), prod(map(int, shape)) * ITEM_BYTES.get(kind, 0), why)

    def values(names: list[str]) -> Iterator[tuple[str, Any]]:
        loaded = scipy.io.matlab.loadmat(str(path), variable_names=names, appendmat=False) if names else {}
        for name in names:
            value = loaded.pop(name)
            if value.dtype.kind not in "OU" and value.shape != found[name].shape:
                raise ValueError(f"variable {name!r} has another shape than it declares")
            yield name, _v5_value(value)

    return found, values


def _why_not(shape: tuple[int, ...], why: str, pool: str = "") -> str:
    if pool:
        return why or ("" if len(shape) == MAPS else "is no array of feature maps")
    return why or ("" if len(shape) in (1, 2) else f"has shape {tuple(map(int, shape))}; only matrices are read")


def _v5_value(value: NDArray[Any]) -> Any:
    cells = value.ravel(order="F")
    if value.dtype.kind == "U":  # a character matrix: one string a row
        return tuple(str(row).rstrip() for row in cells)
    if value.dtype.kind != "O":
        return value if value.dtype.kind in "biuf" else None
    if all(isinstance(cell, np.ndarray) and cell.dtype.kind == "U" and cell.size <= 1 for cell in cells):
        return tuple("".join(cell.ravel()) for cell in cells)
    return None


def _open_hdf5(file: h5py.File, pool: str) -> tuple[dict[str, Variable], Values]:
    import h5py

    found: dict[str, Variable] = {}
    for name in file:
        if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            found[name] = Variable((), why="is a link, which may lead to another file; save the variable itself")
        elif isinstance(item := file[name], h5py.Dataset):
            shape = tuple(reversed(item.shape or ()))
            if "MATLAB_empty" in item.attrs and item.size in range(1, 33) and item.dtype.kind in "iuf":
                shape = tuple(int(size) for size in item[()].ravel())  # it holds the dimensions instead of values
            found[name] = Variable(shape, item.nbytes, _why_not(shape, _why_not_stored(item), pool))

    def values(names: list[str]) -> Iterator[tuple[str, Any]]:
        for name in names:
            yield name, _Pooled(file[name], pool) if pool else _hdf5_value(file, file[name])

    return found, values


def _why_not_stored(item: h5py.Dataset) -> str:
    """Returns why a data set is not read: its values are not in the file, or are no numbers."""
    import h5py

    if item.external or item.is_virtual:
        return "keeps its values in other files; save it in one file"
    numbers = item.dtype.kind in "biuf" and item.dtype.itemsize <= 8
    if item.shape is None or not (numbers or _is_cell(item) or _is_text(item)):
        return f"is of type {item.dtype}, not a full matrix of real numbers"
    if item.id.get_create_plist().get_layout() == h5py.h5d.CHUNKED:
        pieces = prod(-(-size // step) for size, step in zip(item.shape, item.chunks, strict=True))
        stored = item.id.get_num_chunks()
    else:
        pieces, stored = item.nbytes, item.id.get_storage_size()
    if stored < pieces:
        declared = f"declares {item.nbytes / 1e6:,.1f} MB"
        return f"is not whole: it {declared}, of which {stored / pieces:.0%} is stored; save it again"
    return ""


def _is_cell(item: h5py.Dataset) -> bool:
    import h5py

    return h5py.check_ref_dtype(item.dtype) is h5py.Reference


def _is_text(item: h5py.Dataset) -> bool:
    import h5py

    return h5py.check_string_dtype(item.dtype) is not None


def _hdf5_value(file: h5py.File, item: h5py.Dataset) -> Any:
    kind = item.attrs.get("MATLAB_class", b"")
    if "MATLAB_empty" in item.attrs:
        return () if kind in (b"cell", b"char") else _empty(item)
    if _is_cell(item):
        texts = [_text(file[reference]) for reference in item[()].flat]  # C order here is MATLAB's column order
        return None if None in texts else tuple(texts)
    if _is_text(item):
        return tuple(bytes(text).decode(errors="replace") for text in np.ravel(item[()]))
    if kind == b"char":
        return tuple(_decode(codes).rstrip() for codes in np.atleast_2d(item[()].T))
    return _Columns(item)


class _Columns:
    """A data set in MATLAB's orientation, read when it is sliced; HDF5 holds the transpose."""

    def __init__(self, item: h5py.Dataset) -> None:
        self.T, self.shape = item, tuple(reversed(item.shape))

    def __getitem__(self, everything: tuple[()]) -> NDArray[Any]:
        return np.asarray(self.T[everything]).T


class _Pooled:
    """Feature maps `(N, C, H, W)` as rows, pooled when they are sliced.

    Attributes:
        shape: of the rows.
        read: how many numbers are read for one row.
    """

    def __init__(self, item: h5py.Dataset, pool: str) -> None:
        self._item, self._pool = item, POOLS[pool]
        images, channels, *places = item.shape
        self.read = channels * prod(places)
        self.shape = (images, self.read if pool == "keep" else channels)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        return self._pool(np.asarray(self._item[rows], dtype=np.float32))


def _empty(item: h5py.Dataset) -> NDArray[np.float64]:
    shape = [int(size) for size in item[()].ravel()]
    if prod(shape):
        raise ValueError(f"an empty variable declares the shape {shape}")
    return np.empty(shape)


def _text(cell: Any) -> str | None:
    """Returns the text of a cell, or None if it holds something else."""
    import h5py

    if not isinstance(cell, h5py.Dataset) or _is_cell(cell) or _why_not_stored(cell) or cell.dtype.kind not in "ui":
        return None
    if "MATLAB_empty" in cell.attrs:
        return ""
    if cell.nbytes > 2**20:
        raise ValueError("a cell declares more than a million characters")
    return _decode(cell[()].ravel())


def _decode(codes: NDArray[Any]) -> str:
    if codes.size and not 0 <= codes.min() <= codes.max() < 2**16:
        raise ValueError("a text holds a number that is no character")
    return codes.astype("<u2").tobytes().decode("utf-16-le")


if __name__ == "__main__":
    main()
