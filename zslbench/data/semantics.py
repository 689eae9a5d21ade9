"""Class embeddings other than the data set's own: `--semantics original` or a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import ZSLData
from zslbench.errors import DataError, UsageError, near_misses, one_line
from zslbench.files import reading

OWN, ORIGINAL = "att", "original"
NOT_ATTRIBUTES = "# vectors of words or sentences"
"""How a text file says in its first line that it holds no attributes, whatever the signs of its values."""
LISTED = 1000
"""Unknown names in a file among which near misses are looked for; files of word vectors have millions."""


def with_semantics(data: ZSLData, semantics: str) -> ZSLData:
    """Returns the data with other class embeddings.

    Args:
        data: as loaded.
        semantics: `att`, the data set's own, L2-normalised as released; `original`, the same before normalisation; or
            a file: `.npy` with a row for each class in the data set's order, or text with a class name and its values
            on each line, divided by commas or spaces (a word vector file, for instance; further lines are ignored).
            Rows of a file are L2-normalised. They count as attributes where no value is negative, unless the file
            says that they are none.

    Raises:
        UsageError: neither a known name nor a file.
        DataError: the data set has no original embeddings, or the file does not fit its classes.
    """
    if semantics == OWN:
        return data
    if semantics == ORIGINAL:
        if data.original_semantics is None:
            raise DataError(f"--semantics original: data set {data.name} has only its normalised class embeddings")
        if data.original_semantics.shape != data.semantics.shape:
            shapes = f"{data.original_semantics.shape}, but the normalised ones {data.semantics.shape}"
            raise DataError(f"--semantics original: those of data set {data.name} have shape {shapes}")
        return replace(data, semantics=data.original_semantics)
    path = Path(semantics).expanduser()
    if not path.is_file():
        raise UsageError(f"--semantics {semantics}: that is no file; give att, original, or a .npy or text file")
    rows = _from_array(path, data) if path.suffix == ".npy" else _from_text(path, data)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0).any():
        bad = int(np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))[0])
        raise DataError(f"{path}: the embedding of class {data.class_names[bad]!r} is zero or not finite")
    attributes = bool((rows >= 0).all()) and not _says_none(path)
    return replace(data, semantics=(rows / norms).astype(np.float32), original_semantics=None, attributes=attributes)


def _says_none(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().startswith(NOT_ATTRIBUTES.encode())


def _from_array(path: Path, data: ZSLData) -> NDArray[np.float64]:
    with reading(path, ".npy"):
        rows = np.load(path, allow_pickle=False)
    classes = len(data.class_names)
    if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "fiu":
        raise DataError(f"{path}: it holds no real numbers; a row of them for each of the {classes} classes is needed")
    if rows.ndim != 2 or len(rows) != classes:
        raise DataError(f"{path}: it has shape {rows.shape}; a row for each of the {classes} classes is needed")
    return np.asarray(rows, dtype=np.float64)


def _from_text(path: Path, data: ZSLData) -> NDArray[np.float64]:
    wanted = set(data.class_names)
    found: dict[str, list[float]] = {}
    others: list[str] = []
    with reading(path, "text"), path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            name, _, rest = line.partition(",")  # before a comma, a name may have blanks in it
            name, values = name.strip(), rest.replace(",", " ").split()
            if name not in wanted:
                name, *values = line.replace(",", " ").split() or [""]
            if name not in wanted:
                others.append(name)
                continue
            if name in found:
                raise DataError(f"{path}: line {number}: class {name!r} comes a second time")
            try:
                found[name] = [float(value) for value in values]
            except ValueError as error:
                raise DataError(f"{path}: line {number}: {one_line(error)}; numbers must follow the name") from None
    for name in data.class_names:
        if name not in found:
            hint = near_misses(name, others, listed=False) if len(others) <= LISTED else ""
            raise DataError(f"{path}: it has no line for class {name!r}{hint}")
    sizes = {name: len(found[name]) for name in data.class_names}
    size = sizes[data.class_names[0]]
    if strange := [name for name, own in sizes.items() if own != size or own == 0]:
        raise DataError(f"{path}: class {strange[0]!r} has {sizes[strange[0]]} values, others have {size}")
    return np.array([found[name] for name in data.class_names])
