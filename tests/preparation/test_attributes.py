"""The table of attributes: what is read, and one line for each thing that may be wrong with it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from pictures import write_table

from zslbench.errors import DataError, Hint, UsageError
from zslbench.preparation.attributes import read_attributes

CLASSES = ("cat", "dog", "007")
GOOD: dict[str, list[object]] = {"dog": [1, 0.5], "007": [0, 2], "cat": [-1, 3]}


def test_rows_come_in_the_order_of_the_classes(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", GOOD)
    np.testing.assert_array_equal(read_attributes(path, CLASSES)[0], [[-1, 3], [1, 0.5], [0, 2]])


def test_a_spreadsheets_byte_order_mark_quotes_and_blanks_are_no_part_of_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffclass, x ,y\r\n"cat, big" ,1,2\r\n dog,3,4\r\n'.encode())
    np.testing.assert_array_equal(read_attributes(path, ("cat, big", "dog"))[0], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cat": None}, "class 'cat' is missing"),
        ({"cat": None, "kat": [1, 1]}, "class 'cat' is missing; it has 'kat' instead; did you mean 'kat' for 'cat'?"),
        ({"cat": None, "dog": None}, "2 classes ('cat', 'dog') are missing"),
        (
            {"cat": None, "dog": None, "kat": [1, 1], "cow": [2, 1]},
            "it has 'kat', 'cow' instead; did you mean 'kat' for",
        ),
        ({"cat": ["furry", 1]}, "('cat'), column 'x': 'furry' is no number; a finite number is needed"),
        ({"cat": ["", 1]}, "('cat'), column 'x': the cell is empty"),
        ({"cat": ["nan", 1]}, "('cat'), column 'x': 'nan' is no number"),
        ({"cat": [1, "inf"]}, "('cat'), column 'y': 'inf' is no number"),
        ({"cat": [1, 2], "dog": [1, 2], "007": [1, 2]}, "all columns are the same for every class"),
        ({"cat": [0, 0]}, "no attribute but zeros, so that they cannot be L2-normalised: 'cat'"),
        ({"cat": ["", "a"], "dog": ["yes", 1]}, "'x': 'yes' is no number, write 1 for yes and 0 for no; row 4 ('cat')"),
        ({"cat": ["", "a"], "dog": ["b", "c"]}, "; and 1 cells more; a finite number is needed"),
        ({"cat": [1]}, "('cat'), column 'y': the cell is empty"),
        ({"cat": [1, 2, 3]}, "has 4 cells, the head 3; a cell with separators in it must be in double quotes, and"),
        ({"cat": ["=1+1", 1]}, "column 'x': '=1+1' is a formula; save its value"),
        ({"cat": ["#N/A", 1]}, "column 'x': '#N/A' is an error of the spreadsheet"),
        ({"cat": ["1e999", 1]}, "column 'x': '1e999' is no number"),
        ({"cat": ["1_0", 1]}, "column 'x': '1_0' is no number"),
        ({"Cat": [1, 2]}, "class 'Cat' is not in the data; 'Cat' differs from 'cat' only in case; keep one"),
        ({" cat ": [1, 2]}, "class 'cat' is there twice"),
    ],
)
def test_each_fault_of_a_table_is_one_line_that_names_it(
    tmp_path: Path, change: dict[str, list[object] | None], message: str
) -> None:
    rows = {name: values for name, values in {**GOOD, **change}.items() if values is not None}
    path = write_table(tmp_path / "a.csv", rows)
    with pytest.raises(DataError) as error:
        read_attributes(path, CLASSES)
    assert str(error.value).startswith(f"{path}: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read as CSV"),
        (b"class,x\n", "a head of at least two columns"),
        (b"class\ncat\ndog\n", "a head of at least two columns"),
        (b"class|x\ncat|1\n", "divided by commas"),
        (b"class,x,x\ncat,1,2\ndog,2,1\n", "two columns are called 'x'"),
        (b"\xff\xfe\x00,\x00", "cannot be read as text"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_attributes(tmp_path / "a.csv", ("cat", "dog"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("class;x;y\ndog;1;0,5\n007;0;2,25\ncat;-1;3\n", "';' between cells and decimal commas"),
        ("dog;1;0,5\n007;0;2,25\ncat;-1;3\n", "';' between cells and no head line and decimal commas"),
        ("class,dog,007,cat\nx,1,0,-1\ny,.5,2.25,3\n", "rows and columns exchanged"),
        ("sep=;\nclass;x;y\ndog;1;.5\n007;0;2.25\ncat;-1;3\n", "';' between cells"),
        ("class,x,y\nDog,1,.5\n007,0,2.25\nCAT,-1,3\n", "without regard to case"),
    ],
)
def test_a_table_as_a_spreadsheet_saves_it_is_read_and_said(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.warns(Hint) as hints:
        rows, _ = read_attributes(tmp_path / "a.csv", CLASSES)
    np.testing.assert_array_equal(rows, [[-1, 3], [1, 0.5], [0, 2.25]])
    [hint] = hints
    assert said in str(hint.message)


def test_an_absent_table_is_a_wrong_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--attributes .*: there is no such file"):
        read_attributes(tmp_path / "a.csv", CLASSES)


@pytest.mark.parametrize(("sizes", "warned"), [("12 75 30", True), ("0.1 0.9 0.4", False), ("0 9 2", False)])
def test_a_column_in_other_units_is_named(tmp_path: Path, sizes: str, warned: bool) -> None:
    path = tmp_path / "table.csv"
    rows = [
        f"{name},{size},{i % 2},{(i + 1) % 2}" for i, (name, size) in enumerate(zip("abc", sizes.split(), strict=True))
    ]
    path.write_text("\n".join(["class,size,red,blue", *rows]))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read_attributes(path, list("abc"))
    assert (
        any("column 'size' spans 63 and outweighs the others, which span 1" in str(w.message) for w in said) == warned
    )
