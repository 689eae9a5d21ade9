"""CSV tables, read as text so that a class called 007 keeps its name; every complaint names file and line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from zslbench.errors import DataError, UsageError, one_line


def read_table(path: Path, option: str) -> tuple[list[str], list[list[str]]]:
    """Returns the head of a table and its rows, every cell stripped.

    Raises:
        UsageError: there is no such file.
        DataError: it is no CSV file, or has no row below its head.
    """
    if not path.is_file():
        raise UsageError(f"{option} {path}: there is no such file")
    try:
        frame = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: cannot be read as CSV ({one_line(error)})") from error
    head, *rows = [[cell.strip() for cell in row] for row in frame.to_numpy(dtype=object).tolist()]
    if not rows or len(head) < 2:
        raise DataError(f"{path}: a head of at least two columns, divided by commas, and rows below it are needed")
    return head, rows


def first_twice(names: list[str]) -> str | None:
    """Returns the first name that comes a second time."""
    return next((name for i, name in enumerate(names) if name in names[:i]), None)
