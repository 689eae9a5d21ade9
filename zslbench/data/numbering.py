"""Settles what arrays of strangers leave open: whether numbers count from 0 or 1, whether rows or columns are items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from zslbench.data.arrays import Array
from zslbench.errors import DataError

IntArray = NDArray[np.int64]


def settle_rows(what: str, array: Array, items: int, noun: str, columns: bool) -> tuple[Array, str]:
    """Returns a matrix with a row for each item, and how it was understood.

    Args:
        what: the array, for messages.
        array: of real numbers, `(items, D)` or `(D, items)`.
        items: how many there are.
        noun: what they are, in the plural.
        columns: whether they are columns if their number does not tell, as in MATLAB's files.

    Raises:
        DataError: neither rows nor columns are as many.
    """
    if array.ndim != 2 or array.dtype.kind not in "fiub" or items not in array.shape:
        kind = f"has shape {array.shape}" if array.dtype.kind in "fiub" else f"is of type {array.dtype}"
        raise DataError(f"{what} {kind}; a row or a column for each of {items} {noun} is needed")
    square = array.shape[0] == array.shape[1]
    across = columns if square else array.shape[1] == items
    how = f"{array.shape}, a {'column' if across else 'row'} for each of {items} {noun}"
    how += ", taken so because the shape does not tell" if square else ""
    return (array.T if across else array), how


def count_from(
    what: str, numbers: IntArray, most: int | None, given: int | None = None, usual: int | None = None
) -> int:
    """Returns whether numbers count from 0 or 1.

    Args:
        what: the numbers, for messages.
        numbers: as they are.
        most: how many things they number; None if only they tell.
        given: what the user says.
        usual: what holds if the numbers do not tell, as 1 in MATLAB's files.

    Raises:
        DataError: some number is out of range, or the numbers may count from either.
    """
    if not numbers.size:
        raise DataError(f"{what} is empty")
    least, largest = int(numbers.min()), int(numbers.max())
    bases = [base for base in (0, 1) if least >= base and (most is None or largest < most + base)]
    bases = [base for base in bases if given in (None, base)]
    if not bases:
        ranges = [f"from {b}" + ("" if most is None else f" to {most + b - 1}") for b in (0, 1) if given in (None, b)]
        raise DataError(f"{what} runs from {least} to {largest}; numbers {' or '.join(ranges)} are needed")
    if len(bases) == 1 or (most is None and least == 1):
        return bases[-1]
    if usual is not None:
        return usual
    raise DataError(f"{what} runs from {least} to {largest}, and may count from 0 or 1; say so by --count-from 0 or 1")
