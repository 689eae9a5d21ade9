"""Tables of text as spreadsheets save them: the cells are the same however they are written, or the reason is named."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zslbench.data.tables import read_rows, read_table
from zslbench.errors import DataError, Hint

CELLS = [["class", "x", "größe"], ["bär", "1.5", "-2"], ["a, b", "0", "1e-3"]]


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def text(cells: list[list[str]], separator: str = ",", end: str = "\r\n") -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=separator, lineterminator=end).writerows(cells)
    return out.getvalue()


WAYS: dict[str, tuple[bytes, list[str]]] = {
    "plain": (text(CELLS).encode(), []),
    "mark": (text(CELLS).encode("utf-8-sig"), []),
    "old Mac": (text(CELLS, end="\r").encode(), []),
    "semicolons": (text(CELLS, ";").encode(), ["';' between cells"]),
    "tabs": (text(CELLS, "\t").encode(), ["tabs between cells"]),
    "said so": (b"sep=|\r\n" + text(CELLS, "|").encode(), ["'|' between cells"]),
    "UTF-16": (text(CELLS, "\t").encode("utf-16"), ["UTF-16", "tabs between cells"]),
    "UTF-16 without a mark": (text(CELLS).encode("utf-16-le"), ["UTF-16"]),
    "big-endian": (text(CELLS).encode("utf-16-be"), ["UTF-16"]),
    "Latin-1": (text(CELLS).encode("latin-1"), ["Windows-1252 (Latin-1), because it is not UTF-8,"]),
    "gzip": (gzip.compress(text(CELLS).encode()), []),
    "blank lines": ((text(CELLS) + "\r\n,,\r\n\r\n").encode(), []),
    "blank columns": (text([[*row, "", " "] for row in CELLS]).encode(), []),
    "blanks": (text([[f" {cell} " for cell in row] for row in CELLS]).encode(), []),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_cells_are_the_same_however_a_table_is_written(tmp_path: Path, way: str) -> None:
    content, assumed = WAYS[way]
    table = read_table(written(tmp_path, content))
    assert [table.head, *table.body.values()] == CELLS
    assert table.assumed == assumed
    assert table.numbers().tolist() == [[1.5, -2], [0, 1e-3]]
    if assumed:
        with pytest.warns(Hint, match="table.csv: read with ") as said:
            table.say()
        assert len(said) == 1


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    cells=st.lists(
        st.lists(st.text('ab,;"é \n', max_size=4).map(lambda cell: f"x{cell}x"), min_size=3, max_size=3),
        min_size=2,
        max_size=5,
    ),
    separator=st.sampled_from(",;\t"),
)
def test_quotes_protect_every_separator(tmp_path: Path, cells: list[list[str]], separator: str) -> None:
    """A head without separators and quotes, as heads are, tells which one divides the cells."""
    content = separator.join("xyz") + "\n" + text(cells, separator, "\n")
    table = read_rows(written(tmp_path, content))
    assert list(table.rows.values()) == [["x", "y", "z"], *cells]


def test_rows_keep_the_numbers_that_a_spreadsheet_shows(tmp_path: Path) -> None:
    table = read_rows(written(tmp_path, '\nclass,x\n\n"two\nlines",1\n,,\nlast,2\n'))
    assert table.rows == {2: ["class", "x"], 4: ["two\nlines", "1"], 6: ["last", "2"]}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (["0,5", "1,25", "-3"], [0.5, 1.25, -3]),
        (["1,5e-3", "2", ",5"], [1.5e-3, 2, 0.5]),
        (["1,234", "0,5", "1"], [1.234, 0.5, 1]),  # 0,5 cannot count thousands
    ],
)
def test_decimal_commas_are_understood_and_said(tmp_path: Path, numbers: list[str], expected: list[float]) -> None:
    table = read_table(written(tmp_path, text([["class", "x", "y", "z"], ["a", *numbers]], ";")))
    assert table.numbers().tolist() == [expected]
    assert table.assumed == ["';' between cells", "decimal commas"]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (["1,234", "2", "3"], "'1,234' may count thousands, or have a decimal comma"),
        (["0,5", "0.5", "3"], "row 2 ('a'), column 'y': '0.5' has a point, and '0,5' a comma"),
        (["1,234.5", "2", "3"], "row 2 ('a'), column 'x': '1,234.5' is no number"),
        (["1.234,5", "2", "3"], "row 2 ('a'), column 'x': '1.234,5' is no number"),
        (["1", "1,234,567", "3"], "row 2 ('a'), column 'y': '1,234,567' is no number"),
        (["1", "50%", "3"], "'50%' is no number"),
        (["1", "2", "=A1"], "row 2 ('a'), column 'z': '=A1' is a formula; save its value"),
        (["1", "2", "#DIV/0!"], "'#DIV/0!' is an error of the spreadsheet"),
        (["1", "", "3"], "column 'y': the cell is empty"),
        (["1", "\u0662", "3"], "is no number"),
    ],
)
def test_what_can_be_read_in_two_ways_or_not_at_all_is_named(tmp_path: Path, numbers: list[str], said: str) -> None:
    table = read_table(written(tmp_path, text([["class", "x", "y", "z"], ["a", *numbers]], ";")))
    with pytest.raises(DataError) as error:
        table.numbers()
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"\n , ,\n", "it is empty"),
        (b'a,b\nc,"d\n', "the double quote in row 2 is not closed"),
        (b"PK\x03\x04rest", "it is an archive or an Excel workbook, no text; save it as CSV"),
        (b"\xd0\xcf\x11\xe0rest", "it is an old Excel workbook"),
        (b"\x93NUMPYrest", "it is a NumPy array"),
        (b"a,b\n1,\x07\n", "it is no text"),
        ("a,b\né,1\n".encode() + b"\xe9,2\n", "cannot be read as text"),  # UTF-8 that was damaged
        (b"a,b\n\x81,1\n", "cannot be read as text"),
        (b"\x1f\x8b\x08 cut", "cannot be read as text"),
        (gzip.compress(bytes(2**27)), "declares"),
        (b"a,b\n" + b"x" * 200_000 + b",1\n", "cannot be read as CSV"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(DataError) as error:
        read_rows(written(tmp_path, content))
    assert str(error.value).startswith(f"{tmp_path / 'table.csv'}: ")
    assert said in str(error.value) and "\n" not in str(error.value)
