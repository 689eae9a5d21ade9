"""The table of class attributes: a row for each class, a column for each attribute."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.data.names import match_all, shown
from zslbench.data.tables import first_twice, read_table
from zslbench.errors import DataError
from zslbench.files import existing

OUTWEIGHS = 10
"""So many times the usual range of a column is too much: rows are L2-normalised, and one column would decide all."""


def read_attributes(path: Path, class_names: Sequence[str]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Reads attribute strengths from a CSV file: class names in the first column, attribute names in the head.

    It may be saved by a spreadsheet, have no head, or classes in columns; what is unusual is said. Rows of other
    classes are left out with a warning; columns that are the same for all classes stay, with a warning.

    Returns:
        `(C, A)`, in the order of `class_names`, which are matched as `match` does; and the names of the attributes.

    Raises:
        UsageError: there is no such file.
        DataError: a class is missing or there twice, has no attribute but zeros, or a value is no finite number.
    """
    table = read_table(existing("--attributes", path)).lined_up(class_names)
    attributes = table.head[1:]
    if (twice := first_twice(attributes)) is not None:
        raise DataError(f"{path}: two columns are called {twice!r}{table.how}")
    found = match_all(class_names, [row[0] for row in table.body.values()], path, only=False, how=table.how)
    table = table.keeping(set(found.values()))
    values, names = table.numbers(), table.column()[1:]
    if zero := [name for name, row in zip(names, values, strict=True) if not row.any()]:
        raise DataError(f"{path}: no attribute but zeros, so that they cannot be L2-normalised: {shown(zero)}")
    constant = [attribute for attribute, column in zip(attributes, values.T, strict=True) if np.ptp(column) == 0]
    if len(constant) == len(attributes):
        raise DataError(f"{path}: all columns are the same for every class, so they tell no two classes apart")
    if constant:
        said = f"{len(constant)} columns are" if len(constant) > 1 else "a column is"
        warnings.warn(f"{path}: {said} the same for every class, and of no use: {shown(constant)}", stacklevel=2)
    spans = np.ptp(values, axis=0)
    largest, usual = int(spans.argmax()), float(np.median(spans[spans > 0]))
    if spans[largest] > OUTWEIGHS * usual:
        warnings.warn(
            f"{path}: column {attributes[largest]!r} spans {spans[largest]:g} and outweighs the others, which span "
            f"{usual:g}; bring columns to one range",
            stacklevel=2,
        )
    table.say()
    return values[[names.index(found[name]) for name in class_names]], tuple(attributes)
