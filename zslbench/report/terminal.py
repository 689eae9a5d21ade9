"""Tables in a terminal: no word is broken, and what does not fit is left out and named; bare text elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import rich.table
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from zslbench.report.render import as_text, cleaned
from zslbench.report.table import Column, Line, Table, grouped

BETWEEN, AROUND = 2, 2
"""Blanks between two columns, and on both sides of a table."""
SUMMARY = 40
"""The last column of a list is not cut below this, while another one can be left out."""
NAMES = 20
"""A first column of up to this width stays on one line."""


def print_tables(tables: list[Table], *, plain: bool) -> None:
    """Prints tables and their notes on standard output; if `plain`, or in a pipe, as bare text."""
    console = Console(no_color=plain)
    show(tables, console, plain=plain or not console.is_terminal)


def show(tables: list[Table], console: Console, *, plain: bool) -> None:
    """Prints tables and their notes; if `plain`, as bare text with every column, whatever the width of a terminal."""
    if plain:
        console.print(as_text(tables, bare=True), highlight=False, soft_wrap=True, markup=False)
        return
    for table in map(cleaned, tables):
        layout = fitted(table, console.width)
        if table.lines:
            console.print(*([Text(table.title, style="bold")] if table.title else []), _grid(layout), sep="\n")
        for note in [*layout.table.notes, *layout.said(console.width)]:
            console.print(note, highlight=False, markup=False, style="dim")


def show_lines(table: Table, console: Console) -> None:
    """Prints each line unbroken: in a terminal the last column is cut behind a word, and a pipe gets all."""
    table = cleaned(table)
    kept = list(range(len(table.columns)))
    widths = [max(map(cell_len, _texts(table, i))) for i in kept]
    last = kept[-1]
    if console.is_terminal:

        def room() -> int:
            return console.width - sum(widths[i] + 2 for i in kept[:-1])

        while len(kept) > 2 and room() < min(widths[last], SUMMARY):
            kept.remove(max(kept[1:-1], key=lambda i: (table.columns[i].rank, i)))
        widths[last] = max(1, min(widths[last], room()))
    for i, row in enumerate([table.head, *([cell.text for cell in line.cells] for line in table.lines)]):
        cells = (_padded(_cut(row[k], widths[k]) if k == last else row[k], widths[k]) for k in kept)
        console.print(Text("  ".join(cells).rstrip(), style="" if i else "bold"), soft_wrap=True)


@dataclass(frozen=True)
class Layout:
    """A table with the columns that fit, how wide each is, and the headings of those that do not."""

    table: Table
    widths: list[int]
    left_out: list[str]

    def said(self, width: int) -> list[str]:
        """Returns the note on what is left out."""
        if not self.left_out:
            return []
        return [f"not in {width} columns: {', '.join(self.left_out)}; a wider terminal or --plain shows all."]


def fitted(table: Table, width: int) -> Layout:
    """Returns how a table is shown in a width.

    Columns give way by their rank, the highest first, of equal ones the rightmost; the first one and one other stay.
    Words are then put on several lines where a column must be narrower than its longest text.
    """
    kept = list(range(len(table.columns)))
    needed = [_needed(table, i) for i in kept]
    while len(kept) > 2 and _sum([needed[i] for i in kept]) > width:
        kept.remove(max(kept[1:], key=lambda i: (table.columns[i].rank, i)))
    widths = [max(map(cell_len, _texts(table, i))) for i in kept]
    while (over := _sum(widths) - width) > 0:
        slack = [w - needed[i] for w, i in zip(widths, kept, strict=True)]
        if max(slack) <= 0:
            break
        most = slack.index(max(slack))
        widths[most] -= min(over, slack[most])
    return Layout(table.only(kept), widths, [table.head[i] for i in range(len(needed)) if i not in kept])


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + BETWEEN * (len(widths) - 1) + AROUND


def _needed(table: Table, index: int) -> int:
    """Returns the width that breaks no word, and no figure with what stands beside it; a short name is kept whole."""
    heading, *texts = _texts(table, index)
    if table.columns[index].align == "right":
        return max([_longest(heading), *map(cell_len, texts)])
    whole = max(map(cell_len, texts), default=0)
    return max(_longest(heading), *map(_longest, texts), min(whole, NAMES) if index == 0 else 0)


def _texts(table: Table, index: int) -> list[str]:
    """Returns the heading and the texts of a column."""
    indented = ("  " * line.comment * (index == 0) + line.cells[index].text for line in table.lines)
    return [table.head[index], *indented]


def _longest(text: str) -> int:
    return max(map(cell_len, text.split()), default=0)


def _grid(layout: Layout) -> rich.table.Table:
    table = layout.table
    grid = rich.table.Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    columns: list[tuple[str, Column, int]] = list(zip(table.head, table.columns, layout.widths, strict=True))
    for head, column, width in columns:
        grid.add_column(Text(head), justify=column.align, width=width, overflow="fold")
    for group, lines in grouped(table.lines):
        if group:
            grid.add_row(Text(group, style="italic"))
        for line in lines:
            grid.add_row(*_row(line))
    return grid


def _row(line: Line) -> list[Text]:
    style, indent = ("dim", "  ") if line.comment else ("", "")
    first, *rest = (Text(cell.text, style="bold green" if cell.best else style) for cell in line.cells)
    return [Text(indent, style=style) + first, *rest]


def _cut(text: str, width: int) -> str:
    """Returns what of a text fits, with whole words where there are several, and a mark where some is missing."""
    if cell_len(text) <= width:
        return text
    own = text
    while cell_len(own) > width - 1:
        own = own[:-1]
    whole = own if text[len(own)] == " " else own.rpartition(" ")[0]
    return f"{(whole or own).rstrip(' ,;')}…"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))
