"""Tables of which each row is one line: cut at the width of a terminal, whole in a pipe."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

GAP = "  "


def print_lines(rows: list[dict[str, str]], console: Console) -> None:
    """Prints a line for the columns and one for each row; in a terminal the widest columns give way, names never."""
    table = [list(rows[0]), *([*row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    if console.is_terminal:
        while sum(widths) + len(GAP) * (len(widths) - 1) > console.width and max(widths[1:]) > 1:
            widths[1 + widths[1:].index(max(widths[1:]))] -= 1
    for i, row in enumerate(table):
        cells = (_cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True))
        console.print(Text(GAP.join(cells).rstrip(), style="" if i else "bold"), soft_wrap=True)


def _cut(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1].rstrip()}…"
