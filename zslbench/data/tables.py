"""CSV tables, read as text so that a class called 007 keeps its name."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from zslbench.errors import DataError
from zslbench.files import reading


def read_table(path: Path) -> tuple[list[str], dict[int, list[str]]]:
    """Returns the head of a table, and its other rows by their number, from 2 as in a spreadsheet; cells are stripped.

    A row that is too short is filled up with empty cells, and an empty one is passed over.

    Raises:
        DataError: it is no CSV file in UTF-8, a row is longer than the head, or there is none below the head.
    """
    with reading(path, "CSV in UTF-8", "a cell with commas in it must be in double quotes"):
        frame = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8-sig"
        )
    cells = [[cell.strip() for cell in row] for row in frame.to_numpy(dtype=object).tolist()]
    rows = {number: row for number, row in enumerate(cells, start=1) if any(row)}
    head = rows.pop(1, [])
    if not rows or len(head) < 2:
        raise DataError(f"{path}: a head of at least two columns, divided by commas, and rows below it are needed")
    return head, rows


def first_twice(names: list[str]) -> str | None:
    """Returns the first name that comes a second time."""
    return next((name for i, name in enumerate(names) if name in names[:i]), None)
