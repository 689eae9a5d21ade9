"""Tables of text as people and spreadsheets save them: how they are written is found out, and said if unusual."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from zslbench.data.names import FEW, listed, match, shown
from zslbench.errors import DataError, Hint
from zslbench.files import EXPANSION, SMALL, check_expansion, reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEPARATORS = {"\t": "tabs", ";": "';'", ",": "','"}
"""What may stand between cells; the usual comma comes last."""
SAMPLE = 100
"""From how many lines the separator is found out."""
ADVICE = "save it as CSV in UTF-8"
PLAIN = "save numbers with decimal points, and none between thousands"
_FOREIGN = {
    b"PK\x03\x04": "an archive or an Excel workbook",
    b"{\\rtf": "a document of a word processor",
    b"<!DOCTYPE": "a web page",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x93NUMPY": "a NumPy array",
    b"%PDF": "a PDF",
}
_NUMBER = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?", re.ASCII)
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+", re.ASCII)
NO_NUMBERS = ("nan", "inf", "-inf")
"""What programs write for a number that is none."""
HEADS = ("", "class", "classes", "class name", "class_name", "name", "names")
"""What a head above a list of names may be."""
YES_AND_NO = ("yes", "no", "true", "false", "y", "n")
_END = "\x1e"


@dataclass(frozen=True)
class Table:
    """The cells of a table, blanks around them and empty lines left out.

    Attributes:
        path: where it was read.
        rows: the number of each row, from 1 as in a spreadsheet, and its cells.
        assumed: how it is written, where that is unusual; `say` tells.
    """

    path: Path
    rows: dict[int, list[str]]
    assumed: list[str] = field(default_factory=list)

    @property
    def head(self) -> list[str]:
        """The first row."""
        return next(iter(self.rows.values()))

    @property
    def body(self) -> dict[int, list[str]]:
        """The other rows."""
        return dict(islice(self.rows.items(), 1, None))

    def transposed(self) -> Table:
        """Returns the table with columns as rows, all of one length, and assumes it."""
        columns = zip_longest(*self.rows.values(), fillvalue="")
        rows = {number: list(cells) for number, cells in enumerate(columns, 1)}
        return replace(self, rows=rows, assumed=[*self.assumed, "rows and columns exchanged"])

    @property
    def how(self) -> str:
        """How the table was read, for the end of an error; empty if that is usual."""
        return f" (read with {' and '.join(dict.fromkeys(self.assumed))})" if self.assumed else ""

    def say(self) -> None:
        """Tells once how the table was read, if that is unusual."""
        if self.assumed:
            warnings.warn(f"{self.path}: {self.how[2:-1]}", Hint, stacklevel=2)

    def upright(self, names: Sequence[str] = (), columns: Sequence[str] = ()) -> Table:
        """Returns the table with these names in the first column, and these columns in the first row.

        It is transposed where it has more of them then. A column that only counts the rows, before that of the names,
        is left out.
        """
        tables = self, self.transposed()
        lacking = [
            len(match(names, table.column()).missing) + len(match(columns, table.head).missing) for table in tables
        ]
        return tables[lacking[1] < lacking[0]]._without_numbers()

    def headed(self) -> Table:
        """Returns the table with a head; where it begins with a row of numbers, columns are called by theirs."""
        counted = [str(i) for i in range(1, len(self.head))]
        if not all(map(is_number, self.head[1:])) or self.head[0].lower() in HEADS or self.head[1:] == counted:
            return self
        head = {0: ["", *counted]}
        return replace(self, rows=head | self.rows, assumed=[*self.assumed, "no head line"])

    def lined_up(self, names: Sequence[str]) -> Table:
        """Returns the table as `upright` and `headed` do.

        Raises:
            DataError: the first column has none of the names; where they are is said if they are anywhere.
        """
        table = self.upright(names)
        if len(match(names, table.column()).missing) == len(set(names)):
            raise DataError(f"{self.path}: {table._elsewhere(names)}{table.how}")
        return table.headed()

    def column(self, number: int = 0) -> list[str]:
        """Returns the cells of a column, counted from 0, the head among them."""
        return [row[number] if number < len(row) else "" for row in self.rows.values()]

    def keeping(self, names: Collection[str]) -> Table:
        """Returns the head, and the rows that begin with one of these names."""
        rows = {number: row for number, row in self.body.items() if row[0] in names}
        return replace(self, rows=dict(islice(self.rows.items(), 1)) | rows)

    def picking(self, columns: Sequence[str]) -> Table:
        """Returns the first column, and those with these heads, in their order."""
        chosen = [0, *(1 + self.head[1:].index(name) for name in columns)]
        return replace(self, rows={number: [row[i] for i in chosen] for number, row in self.rows.items()})

    def _without_numbers(self) -> Table:
        """Returns the table without a first column that counts its rows, if the second has no numbers."""
        counts, rest = self.column()[1:], self.column(1)[1:]
        first = int(counts[0]) if counts and counts[0].isdecimal() else -1
        if counts != [str(first + i) for i in range(len(counts))] or first not in (0, 1) or any(map(is_number, rest)):
            return self
        rows = {number: row[1:] for number, row in self.rows.items()}
        return replace(self, rows=rows, assumed=[*self.assumed, "row numbers left out"])

    def _has_words(self, number: int) -> bool:
        """Returns whether several rows have a word in this column, and none has anything else."""
        cells = self.column(number)[1:]
        words = [cell for cell in cells if cell and not is_number(cell) and cell.lower() not in YES_AND_NO]
        return len(cells) == len(words) > 1

    def _elsewhere(self, names: Sequence[str]) -> str:
        """Says where names are that are not in the first column."""
        for number in range(1, len(self.head)):
            if len(match(names, self.column(number)).missing) < len(set(names)):
                return (
                    f"class names are in column {number + 1} ({self.head[number]!r}); "
                    "move it to the front, and remove columns that are no attributes"
                )
        below, across, wanted = (shown(some, FEW) for some in (self.column()[1:], self.head[1:], names))
        return (
            f"neither its first column ({below}) nor its first row ({across}) names any of the {len(set(names))} "
            f"classes ({wanted}); name its rows after them"
        )

    def numbers(self, first: int = 1) -> NDArray[np.float64]:
        """Returns the cells below the head, from a column on, as numbers; decimal commas are understood.

        Raises:
            DataError: a cell holds no finite number, or one that can be read in two ways; row and column are named.
        """
        numbers, head = list(self.body), self.head
        if words := [name for j, name in enumerate(head) if j >= first and self._has_words(j)]:
            raise DataError(
                f"{self.path}: no numbers but words in {listed(words, 'column')}; remove what is no attribute"
            )

        def where(i: int, j: int) -> str:
            return f"row {numbers[i]} ({self.body[numbers[i]][0]!r}), column {head[first + j]!r}"

        values, commas = to_numbers(self.path, [row[first:] for row in self.body.values()], where)
        if commas:
            self.assumed.append("decimal commas")
        return values


def read_table(path: Path) -> Table:
    """Reads a table with a head: rows that are too short are filled up with empty cells.

    Raises:
        DataError: as `read_rows`; or a row is longer than the head, or there is none below the head.
    """
    table = read_rows(path)
    width = len(table.head)
    for number, row in table.rows.items():
        if any(row[width:]):
            raise DataError(
                f"{path}: row {number} has {len(row)} cells, the head {width}; a cell with separators in it must be in "
                "double quotes, and nothing may stand above the head"
            )
    if width < 2 or len(table.rows) < 2:
        raise DataError(f"{path}: a head of at least two columns, divided by commas, and rows below it are needed")
    rows = {number: (row + [""] * width)[:width] for number, row in table.rows.items()}
    return replace(table, rows=rows)


def read_rows(path: Path, blanks: bool = False) -> Table:
    """Reads the rows of a table of any shape; the separator is what divides most lines alike.

    Args:
        path: CSV, or the same with semicolons or tabs, as UTF-8, UTF-16 or Windows-1252 (Latin-1), also gzipped.
        blanks: whether blanks may divide cells, where nothing else does.

    Raises:
        DataError: the file is missing, empty or no text, or a double quote is not closed.
    """
    text, assumed = decoded(path)
    with reading(path, "CSV", ADVICE):
        if named := re.match(r"sep=(.)[ ,;\t]*\n", text):  # as Excel says it; the line is empty for the sake of numbers
            text, separator = text[named.end() - 1 :], named[1]
        else:
            separator = _separator(text, blanks)
        rows = _split(path, text, separator) if separator else _split_at_blanks(text)
    if separator not in ("\t," if blanks else ","):
        assumed.append(f"{SEPARATORS.get(separator, repr(separator))} between cells")
    width = max(map(len, rows.values()), default=0)
    while width and not any(row[width - 1 : width] and row[width - 1] for row in rows.values()):
        width -= 1  # columns of nothing at the end
    rows = {number: row[:width] for number, row in rows.items() if any(row)}
    if not rows:
        raise DataError(f"{path}: cannot be read as CSV (it is empty); {ADVICE}")
    return Table(path, rows, assumed)


def decoded(path: Path, advice: str = ADVICE) -> tuple[str, list[str]]:
    """Returns the text of a file, and how it was read where that is not UTF-8; a gzipped one is unpacked.

    Args:
        path: the file.
        advice: what to do where it cannot be read.

    Raises:
        DataError: the file is missing or no text.
    """
    with reading(path, "text", advice):
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = _unpacked(path, content)
        for start, kind in _FOREIGN.items():
            if content.startswith(start):
                raise DataError(f"{path}: it is {kind}, no text; {advice}")
        text, assumed = _decoded(content)
    if strange := re.search(r"[\x00-\x08\x0b\x0e-\x1f]", text):
        raise DataError(f"{path}: it is no text (it holds the character {strange[0]!r}); {advice}")
    return text.replace("\r\n", "\n").replace("\r", "\n"), assumed


def to_numbers(
    path: Path, cells: Sequence[Sequence[str]], where: Callable[[int, int], str]
) -> tuple[NDArray[np.float64], bool]:
    """Returns a grid of cells as numbers, and whether they have decimal commas.

    Args:
        path: the file, for messages.
        cells: rows of one length.
        where: names the cell of a row and a column, both from 0.

    Raises:
        DataError: a cell holds no finite number, or one that can be read in two ways.
    """
    import numpy as np  # here, because commands that only list do without it

    if set("".join(map("".join, cells))) <= set("0123456789.+-eE"):  # the usual case, at once
        with suppress(ValueError):
            values = np.array(cells, dtype=np.float64)
            if np.isfinite(values).all():
                return values, False
    with_commas = [cell for row in cells for cell in row if "," in cell]
    faults = []
    for i, row in enumerate(cells):
        for j, cell in enumerate(row):
            if _GROUPED.fullmatch(cell) and cell.count(",") == 1:
                continue
            if not is_number(cell) or not math.isfinite(float(cell.replace(",", "."))):
                faults.append(f"{where(i, j)}: {_no_number(cell)}")
            elif with_commas and "." in cell:
                faults.append(f"{where(i, j)}: {cell!r} has a point, and {with_commas[0]!r} a comma; {PLAIN}")
    if faults:
        more = f"; and {len(faults) - FEW} cells more" if len(faults) > FEW else ""
        raise DataError(f"{path}: {'; '.join(faults[:FEW])}{more}; a finite number is needed")
    if with_commas and all(_GROUPED.fullmatch(cell) for cell in with_commas):
        raise DataError(f"{path}: {with_commas[0]!r} may count thousands, or have a decimal comma; {PLAIN}")
    return np.array([[float(cell.replace(",", ".")) for cell in row] for row in cells]), bool(with_commas)


def is_number(cell: str) -> bool:
    """Returns whether a cell holds a number, with a decimal point or comma."""
    return _NUMBER.fullmatch(cell) is not None


def read_lines(path: Path, advice: str = ADVICE) -> list[str]:
    """Returns the lines of a text, blanks around them left out; says how it was read where that is not UTF-8.

    Raises:
        DataError: as `decoded`.
    """
    text, assumed = decoded(path, advice)
    Table(path, {}, assumed).say()
    return [line.strip() for line in text.split("\n")]


def first_twice(names: Sequence[str]) -> str | None:
    """Returns the first name that comes a second time."""
    return next((name for i, name in enumerate(names) if name in names[:i]), None)


def _decoded(content: bytes) -> tuple[str, list[str]]:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16"), ["UTF-16"]
    sample = content[:SAMPLE]
    for encoding, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if zeros and zeros.count(0) > len(zeros) // 2:
            return content.decode(encoding), ["UTF-16"]
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        lenient = content.decode("utf-8-sig", errors="ignore")
        if not lenient.isascii():  # UTF-8 that was damaged, and not another encoding
            raise
        return content.decode("cp1252"), ["Windows-1252 (Latin-1), because it is not UTF-8,"]


def _unpacked(path: Path, content: bytes) -> bytes:
    limit = max(SMALL, EXPANSION * len(content))
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        text = file.read(limit + 1)
    check_expansion(path, len(text), "the gzipped text")
    return text


def _separator(text: str, blanks: bool) -> str:
    """Returns what divides the first line, then most of the others alike, numbers first; empty for blanks."""
    lines = [line for line in text[: 2**20].split("\n")[:SAMPLE] if line.strip()]
    best, chosen = (False, 0, 0.0), "" if blanks else ","
    for separator in SEPARATORS:
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
        divided = [row for row in rows if len(row) > 1]
        width, count = Counter(map(len, divided)).most_common(1)[0] if divided else (0, 0)
        cells = [cell.strip() for row in divided if len(row) == width for cell in row[1:]]
        numeric = sum(is_number(cell) for cell in cells) / max(1, len(cells))
        if (found := (divided[:1] == rows[:1], count, numeric)) > best and count:
            best, chosen = found, separator
    return chosen


def _split(path: Path, text: str, separator: str) -> dict[int, list[str]]:
    lines = [*text.split("\n"), _END]  # a quote that is not closed swallows the end
    rows = list(csv.reader([line + "\n" for line in lines], delimiter=separator, skipinitialspace=True))
    if rows.pop() != [_END]:
        raise DataError(f"{path}: cannot be read as CSV (the double quote in row {len(rows) + 1} is not closed)")
    return {number: [cell.strip() for cell in row] for number, row in enumerate(rows, 1)}


def _split_at_blanks(text: str) -> dict[int, list[str]]:
    """Divides lines at blanks, but for those in a name before the first number."""
    rows = {}
    for number, line in enumerate(text.split("\n"), 1):
        cells = line.split()
        first = next((i for i, cell in enumerate(cells) if i and (is_number(cell) or cell.lower() in NO_NUMBERS)), 1)
        rows[number] = [" ".join(cells[:first]), *cells[first:]]
    return rows


def _no_number(cell: str) -> str:
    if not cell:
        return "the cell is empty"
    if cell.startswith("="):
        return f"{cell!r} is a formula; save its value"
    if cell.startswith("#"):
        return f"{cell!r} is an error of the spreadsheet"
    if cell.lower() in YES_AND_NO:
        return f"{cell!r} is no number, write 1 for yes and 0 for no"
    if re.fullmatch(r"[+-]?[\d.,' ]+", cell):
        return f"{cell!r} is no number, {PLAIN}"
    return f"{cell!r} is no number"
