"""The table of class attributes: a row for each class, a column for each attribute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.data.tables import first_twice, read_table
from zslbench.errors import DataError, near_misses
from zslbench.files import existing


def read_attributes(path: Path, class_names: Sequence[str]) -> NDArray[np.float64]:
    """Reads attribute strengths from a CSV file: class names in the first column, attribute names in the head.

    Returns:
        `(C, A)`, in the order of `class_names`, which are compared as they are, but for blanks around them.

    Raises:
        UsageError: there is no such file.
        DataError: a class is missing, unknown or there twice, a value is no finite number, or a column is constant.
    """
    head, numbered = read_table(existing("--attributes", path))
    rows = list(numbered.values())
    names, attributes = [row[0] for row in rows], head[1:]
    if (twice := first_twice(attributes)) is not None:
        raise DataError(f"{path}: two columns are called {twice!r}")
    check_classes(path, names, class_names)
    values = np.array([[_number(cell, path, row[0], attributes[i]) for i, cell in enumerate(row[1:])] for row in rows])
    constant = [attribute for attribute, column in zip(attributes, values.T, strict=True) if np.ptp(column) == 0]
    if constant:
        others = f" ({len(constant)} such columns in all)" if len(constant) > 1 else ""
        raise DataError(f"{path}: column {constant[0]!r} is constant, so it tells no two classes apart{others}")
    if zero := [name for name, row in zip(names, values, strict=True) if not row.any()]:
        raise DataError(f"{path}: class {zero[0]!r} has no attribute but zeros, so it cannot be L2-normalised")
    return values[[names.index(name) for name in class_names]]


def check_classes(path: Path, names: list[str], class_names: Sequence[str]) -> None:
    """Raises a DataError unless a table's names are the classes, each once; near misses are suggested."""
    if (twice := first_twice(names)) is not None:
        raise DataError(f"{path}: two classes are called {twice!r}")
    missing, extra = [c for c in class_names if c not in names], [c for c in names if c not in class_names]
    if missing:
        raise DataError(f"{path}: {_these(missing)} missing{near_misses(missing[0], extra, listed=False)}")
    if extra:
        raise DataError(f"{path}: {_these(extra)} in the table, but there are no images of it")


def _these(names: list[str]) -> str:
    if len(names) == 1:
        return f"class {names[0]!r} is"
    return f"{len(names)} classes, {names[0]!r} the first, are"


def _number(cell: str, path: Path, name: str, attribute: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise DataError(f"{path}: class {name!r} has {cell!r} in column {attribute!r}; a finite number is needed")
    return value
