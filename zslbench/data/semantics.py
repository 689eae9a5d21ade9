"""Class embeddings other than the data set's own: `--semantics original` or a file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import ZSLData
from zslbench.data.arrayfile import split_name
from zslbench.data.arrays import CLASSES, called, is_arrays, read_arrays, take_classes
from zslbench.data.names import class_positions, listed, match, meant
from zslbench.data.names import hint as say_matched
from zslbench.data.tables import Table, is_number, read_rows, to_numbers
from zslbench.errors import DataError, Hint, UsageError
from zslbench.files import SMALL, reading

OWN, ORIGINAL = "att", "original"
NOT_ATTRIBUTES = "# vectors of words or sentences"
"""How a text file says in its first line that it holds no attributes, whatever the signs of its values."""
TEMPLATES, BETWEEN, WEIGHTS = "# templates: ", " | ", "# weights: "
"""How the lines below it say in which texts names of classes stood, and which weights the text encoder had."""
LONGEST_NOTE = 2**16


def with_semantics(data: ZSLData, semantics: str) -> ZSLData:
    """Returns the data with other class embeddings.

    Args:
        data: as loaded.
        semantics: `att`, the data set's own, L2-normalised as released; `original`, the same before normalisation; or
            a file. One of arrays (.npy, .npz, .pt, .safetensors, .mat) has a matrix with a row for each class in the
            data set's order, or in that of an array `classes` beside it; columns are classes where only their number
            fits. One of text has a class name and its values on each line, divided by commas or blanks (a word vector
            file, for instance; further lines are ignored); spreadsheets' other ways are understood.
            `FILE:ARRAY` takes one array of a file. An array with a row for each attribute of the data set instead, its
            word vector for one, gives each class their sum, weighted by its attributes.
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
    found = read_embeddings(semantics, data.class_names, data.semantics)
    own = (found.rows / np.linalg.norm(found.rows, axis=1, keepdims=True)).astype(np.float32)
    return replace(
        data, semantics=own, original_semantics=None, attributes=found.attributes, attribute_names=found.names
    )


@dataclass(frozen=True)
class Embeddings:
    """Class embeddings as a file has them.

    Attributes:
        rows: one for each class, `(C, A)`, not normalised.
        attributes: whether they are strengths of attributes.
        names: of the columns, A texts, or none.
    """

    rows: NDArray[Any]
    attributes: bool
    names: tuple[str, ...] = ()


def read_embeddings(text: str, class_names: tuple[str, ...], own: NDArray[Any] | None = None) -> Embeddings:
    """Reads class embeddings from a file, as `with_semantics` says.

    Args:
        text: `FILE` or `FILE:ARRAY`.
        class_names: C names of classes.
        own: strengths of attributes, `(C, A)`, by which vectors of attributes are weighted; None if there are none.

    Raises:
        UsageError: there is no such file.
        DataError: it does not fit the classes, or an embedding is zero or not finite.
    """
    path, array = split_name(text)
    if not path.is_file():
        raise UsageError(f"--semantics {text}: that is no file; give att, original, or a file of arrays or text")
    named: tuple[str, ...] = ()
    if is_arrays(path):
        rows = _from_arrays(path, array, class_names, own)
    else:
        rows, named = _from_text(path, class_names)
    norms = np.linalg.norm(rows, axis=1)
    if not np.isfinite(norms).all() or (norms == 0).any():
        bad = int(np.flatnonzero(~np.isfinite(norms) | (norms == 0))[0])
        raise DataError(f"{path}: the embedding of class {class_names[bad]!r} is zero or not finite")
    return Embeddings(rows, bool((rows >= 0).all()) and not _says_none(path), named)


def origin_of(semantics: str) -> dict[str, Any]:
    """Returns what a file of class embeddings says of the text encoder that made it, by the names in `provenance`.

    `semantics_by` is the encoder, `semantics_templates` the texts in which names of classes stood, `semantics_weights`
    a hash of its weights; what the file does not say is left out.
    """
    path, _ = split_name(semantics)
    if semantics in (OWN, ORIGINAL) or is_arrays(path):
        return {}
    with reading(path, "text"), path.open("rb") as file:
        lines = [file.readline(LONGEST_NOTE).decode("utf-8", "replace").strip() for _ in range(3)]
    if not lines[0].startswith(NOT_ATTRIBUTES) or " by " not in lines[0]:
        return {}
    origin: dict[str, Any] = {"semantics_by": lines[0].rpartition(" by ")[2]}
    for line in lines[1:]:
        if line.startswith(TEMPLATES):
            origin["semantics_templates"] = line.removeprefix(TEMPLATES).split(BETWEEN)
        elif line.startswith(WEIGHTS):
            origin["semantics_weights"] = line.removeprefix(WEIGHTS)
    return origin


def _says_none(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().startswith(NOT_ATTRIBUTES.encode())


def _from_arrays(path: Path, array: str, class_names: tuple[str, ...], own: NDArray[Any] | None) -> NDArray[np.float64]:
    classes, found = len(class_names), read_arrays(path)
    if array and array not in found:
        raise UsageError(f"{path}: there is no array {array!r}; there are {', '.join(found) or 'none'}")
    if (array or len(found) == 1) and (weighted := _weighted(path, array or next(iter(found)), found, own)) is not None:
        return weighted
    found = {name: values for name, values in found.items() if not array or name in (array, *CLASSES)}
    names = take_classes(path, found)
    matrices = {n: a for n, a in found.items() if a.dtype.kind in "fiu" and a.ndim == 2 and classes in a.shape}
    if len(matrices) > 1:  # a list of images or the like
        matrices = {n: a for n, a in matrices.items() if min(a.shape) > 1} or matrices
    if len(matrices) > 1:
        raise DataError(
            f"{path}: {', '.join(matrices)} all fit the {classes} classes; choose one, as {path.name}:{min(matrices)}"
        )
    if not matrices:
        raise DataError(f"{path}: {_misfit(found)}; a row for each of the {classes} classes is needed")
    [(name, rows)] = matrices.items()
    if len(rows) != classes:
        rows = rows.T
        _say(path, f"{called(name)} has classes in its columns, by their number")
    elif len(rows[0]) == classes:
        _say(path, f"{called(name)} is square; its rows are taken for the classes")
    if names is not None:
        rows = rows[class_positions(names, class_names, path)]
    if ignored := sorted(set(found) - {name}):
        _say(path, f"{called(name)} is taken; ignored: {', '.join(ignored)}")
    return np.asarray(rows, dtype=np.float64)


def _weighted(
    path: Path, name: str, found: Mapping[str, NDArray[Any]], own: NDArray[Any] | None
) -> NDArray[np.float64] | None:
    """Returns `own @ vectors`, `(C, d)`, of an array with a row for each attribute and not for each class, or None."""
    vectors = found[name]
    if own is None or vectors.ndim != 2 or vectors.dtype.kind not in "fiu" or len(own) in vectors.shape:
        return None
    if own.shape[1] != len(vectors):
        return None
    _say(
        path,
        f"{called(name)} has a row for each of {len(vectors)} attributes; a class is their sum, weighted by its own",
    )
    weighted: NDArray[np.float64] = np.asarray(own, dtype=np.float64) @ np.asarray(vectors, dtype=np.float64)
    return weighted


def _misfit(found: Mapping[str, NDArray[Any]]) -> str:
    """Says why none of the arrays of a file will do."""
    if len(found) == 1:
        [array] = found.values()
        return f"it has shape {array.shape}" if array.dtype.kind in "fiu" else "it holds no real numbers"
    return f"none of its arrays ({', '.join(f'{n} {a.shape}' for n, a in found.items()) or 'none'}) fits"


def _say(path: Path, what: str) -> None:
    warnings.warn(f"{path}: {what}", Hint, stacklevel=2)


def _from_text(path: Path, names: tuple[str, ...]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Returns the values, and what the columns are called: where a head stands above the classes, as many texts."""
    large = path.stat().st_size > SMALL
    table = _lines_of(path, set(names)) if large else read_rows(path, blanks=True)
    table = table if large else table.upright(names)
    matching = match(names, table.column())
    if matching.missing:
        raise DataError(f"{path}: it has no line for {listed(matching.missing, 'class')}{meant(matching)}{table.how}")
    lines = _wanted(table, set(matching.found.values()))
    numbers = [lines[matching.found[name]] for name in names]
    cells = [table.rows[number][1:] for number in numbers]
    for name, row in zip(names, cells, strict=True):
        if len(row) != len(cells[0]) or not row:
            raise DataError(f"{path}: class {name!r} has {len(row)} values, others have {len(cells[0])}")
    values, commas = to_numbers(path, cells, lambda i, j: f"line {numbers[i]} ({names[i]!r}), value {j + 1}")
    if commas:
        table.assumed.append("decimal commas")
    table.say()
    say_matched(path, matching)
    return values, () if min(table.rows) in numbers else _called(table.head[1:], len(cells[0]))


def _called(heads: list[str], columns: int) -> tuple[str, ...]:
    """Returns what columns are called; nothing where the first line of a file is no head of theirs."""
    named = len(set(heads)) == columns and all(heads) and not any(map(is_number, heads))
    return tuple(heads) if named and len(heads) == columns else ()


def _wanted(table: Table, names: set[str]) -> dict[str, int]:
    """Returns the number of the line of each name; raises a DataError where one comes a second time."""
    lines: dict[str, int] = {}
    for number, (name, *_) in table.rows.items():
        if name in names and lines.setdefault(name, number) != number:
            raise DataError(f"{table.path}: line {number}: class {name!r} comes a second time")
    return lines


def _lines_of(path: Path, wanted: set[str]) -> Table:
    """Reads a large file, of which only lines of wanted names are kept; names are not matched in it."""
    rows: dict[int, list[str]] = {}
    with reading(path, "text"), path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            cells = [cell.strip() for cell in line.split(",")] if "," in line else line.split()
            if cells and cells[0] in wanted:
                rows[number] = cells
    return Table(path, rows or {0: [""]})
