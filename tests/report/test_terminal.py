"""Tables in terminals of every width: names are whole, no word is broken, and what is left out is named."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as some
from outside import on_terminal
from rich.console import Console

from zslbench.report.table import Cell, Column, Line, Table, table_of
from zslbench.report.terminal import show, show_lines

WORDS = some.text("abcdefgh", min_size=1, max_size=9)
TEXTS = some.lists(WORDS, min_size=1, max_size=4).map(" ".join)
FIGURES = some.floats(0, 99).map("{:.1f}±0.1".format)


def shown(table: Table, width: int) -> list[str]:
    out = StringIO()
    show([table], Console(file=out, width=width, force_terminal=True, color_system=None), plain=False)
    return out.getvalue().splitlines()


@given(
    some.lists(some.tuples(TEXTS, TEXTS, some.lists(FIGURES, min_size=5, max_size=5)), min_size=1, max_size=4),
    some.integers(44, 200),
)
def test_every_word_and_figure_is_whole_and_what_is_not_there_is_named(
    rows: list[tuple[str, str, list[str]]], width: int
) -> None:
    columns = [Column("method", "left"), Column("input", "left", rank=2), *(Column(f"m{i}") for i in range(5))]
    lines = [Line(tuple(map(Cell, [name, given, *figures]))) for name, given, figures in rows]
    output = shown(Table("", columns, lines), width)
    assert all(len(line) <= width for line in output)
    words = set(" ".join(output).split())
    left_out = re.findall(r"(?:m\d|input)(?=[,;])", " ".join(output).partition(f"not in {width} columns: ")[2])
    for i, column in enumerate(columns):
        if column.title not in left_out:
            assert {word for line in lines for word in line.cells[i].text.split()} <= words
    assert left_out == [c.title for c in columns if c.title in left_out]
    kept = [column.title for column in columns[2:] if column.title not in left_out]
    assert kept and kept == [f"m{i}" for i in range(len(kept))]  # the rightmost give way
    assert "input" in left_out or len(kept) == 5  # and before them what only describes


def test_bare_text_has_every_column_whatever_the_width() -> None:
    out = StringIO()
    table = table_of(["method", *(f"metric {i}" for i in range(20))], [["sae", *["51.2±0.1"] * 20]])
    show([table], Console(file=out, width=40), plain=True)
    assert out.getvalue().count("51.2±0.1") == 20 and "not in" not in out.getvalue()


def test_lists_cut_their_last_column_behind_a_word() -> None:
    out = StringIO()
    table = table_of(["name", "kind", "summary"], [["spaen", "x" * 30, "several words that are many"]], 3)
    show_lines(table, Console(file=out, width=40, force_terminal=True, color_system=None))
    assert out.getvalue().splitlines()[1].split("  ") == ["spaen", "several words that are many"]
    out.truncate(0)
    show_lines(table, Console(file=out, width=20, force_terminal=True, color_system=None))
    assert "several…" in out.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_screens_show_names_whole(width: int, store: object) -> None:
    methods = ["sae", "eszsl:gamma=0.1,lam=0.1"]
    for arguments in (["compare", *methods], ["table", "gbu", "-m", " ".join(methods)]):
        lines = on_terminal(width, *arguments, "-d", "digits", "--uncalibrated")
        assert all(len(line) <= width for line in lines)
        assert any(re.match(r" *SAE  +[0-9]", line) for line in lines), lines
        assert any(line.strip().startswith("ESZSL gamma=0.1 lam=0.1") for line in lines)
    lines = on_terminal(width, "compare", "sae", "-d", "digits", "--seeds", "1", "--tuned", "--oracle", "--folds", "1")
    assert all(len(line) <= width for line in lines) and any("SAE" in line and "(tuned)" in line for line in lines)
    lines = on_terminal(width, "runs")
    assert all(len(line) <= width for line in lines) and any(" eszsl " in line for line in lines)
    listed = on_terminal(width, "list", "methods")
    assert all(len(line) <= width for line in listed)
    names = [line.split()[0] for line in listed if line]
    assert {"spaen", "spaen-image", "splitbranch", "cmt-star"} <= set(names)
