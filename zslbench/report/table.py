"""The model of a table: builders fill it from rows, and each renderer writes it in one format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Literal, TypeVar

from zslbench.errors import UsageError


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and whether it is the best of its column."""

    text: str = ""
    best: bool = False


@dataclass(frozen=True)
class Column:
    """Heading of a column; columns of one `group`, a data set for instance, stand side by side below its name.

    Columns of the highest `rank` are the first to be left out where a table is too wide for a terminal.
    """

    title: str
    align: Literal["left", "right"] = "right"
    group: str = ""
    rank: int = 0


@dataclass(frozen=True)
class Line:
    """A line, or a comment on the line above; lines of one `group` follow each other below its name."""

    cells: tuple[Cell, ...]
    group: str = ""
    comment: bool = False


Member = TypeVar("Member", Line, Column)


@dataclass(frozen=True)
class Table:
    """A table, and the figures behind it for formats that programs read.

    Attributes:
        title: what it shows.
        columns: one for each cell of a line.
        lines: in the order of their groups; without any there are only the notes.
        notes: what a reader must know, below the table.
        name: for references to it in LaTeX.
        fields: what `data` may hold, in the order of columns of a file.
        data: what is behind each line that is no comment; fractions are not in percent.
        pairs: every two lines compared.
    """

    title: str
    columns: list[Column]
    lines: list[Line]
    notes: list[str] = field(default_factory=list)
    name: str = ""
    fields: list[str] = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)

    def only(self, kept: Sequence[int]) -> Table:
        """Returns the table with these columns, by their places."""
        lines = [replace(line, cells=tuple(line.cells[i] for i in kept)) for line in self.lines]
        return replace(self, columns=[self.columns[i] for i in kept], lines=lines)

    @property
    def head(self) -> list[str]:
        """Headings on one line, each with that of its group."""
        return [f"{column.group}: {column.title}" if column.group else column.title for column in self.columns]


def with_columns(table: Table, names: Sequence[str]) -> Table:
    """Returns the table with its first column and those of these headings, in any case; without names, all of them.

    Raises:
        UsageError: it has no such column; those that there are.
    """
    wanted = {name.strip().casefold() for name in names}
    known = {text.casefold() for one, head in zip(table.columns, table.head, strict=True) for text in (one.title, head)}
    if unknown := sorted(wanted - known):
        raise UsageError(
            f"no column {unknown[0]!r}; there are {', '.join(dict.fromkeys(c.title for c in table.columns))}"
        )
    kept = [
        i
        for i, (one, head) in enumerate(zip(table.columns, table.head, strict=True))
        if not (i and wanted) or {one.title.casefold(), head.casefold()} & wanted
    ]
    return table.only(kept)


def grouped(items: Iterable[Member]) -> list[tuple[str, list[Member]]]:
    """Returns the name of each group of lines or columns, empty for none, and its members."""
    return [(name, list(members)) for name, members in groupby(items, key=lambda item: item.group)]


def table_of(head: list[str], body: list[list[str]], left: int = 1, title: str = "") -> Table:
    """Returns a table of plain texts; the first `left` columns are words, the others figures."""
    columns = [Column(name, "left" if i < left else "right") for i, name in enumerate(head)]
    return Table(title, columns, [Line(tuple(map(Cell, texts))) for texts in body])
