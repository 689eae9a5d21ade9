"""The table of class attributes: a row for each class, a column for each attribute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.data.names import match_all
from zslbench.data.tables import first_twice, read_table
from zslbench.errors import DataError
from zslbench.files import existing


def read_attributes(path: Path, class_names: Sequence[str]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Reads attribute strengths from a CSV file: class names in the first column, attribute names in the head.

    It may be saved by a spreadsheet, have no head, or classes in columns; what is unusual is said.

    Returns:
        `(C, A)`, in the order of `class_names`, which are matched as `match` does; and the names of the attributes.

    Raises:
        UsageError: there is no such file.
        DataError: a class is missing, unknown or there twice, a value is no finite number, or a column is constant.
    """
    table = read_table(existing("--attributes", path)).lined_up(class_names)
    attributes, names = table.head[1:], [row[0] for row in table.body.values()]
    if (twice := first_twice(attributes)) is not None:
        raise DataError(f"{path}: two columns are called {twice!r}")
    found = match_all(class_names, names, path)
    values = table.numbers()
    constant = [attribute for attribute, column in zip(attributes, values.T, strict=True) if np.ptp(column) == 0]
    if constant:
        others = f" ({len(constant)} such columns in all)" if len(constant) > 1 else ""
        raise DataError(f"{path}: column {constant[0]!r} is constant, so it tells no two classes apart{others}")
    if zero := [name for name, row in zip(names, values, strict=True) if not row.any()]:
        raise DataError(f"{path}: class {zero[0]!r} has no attribute but zeros, so it cannot be L2-normalised")
    table.say()
    return values[[names.index(found[name]) for name in class_names]], tuple(attributes)
