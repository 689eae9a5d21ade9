"""Renderers: each writes tables in one format, and knows nothing about their content.

Texts of tables come from data, plugins and other people's files. No control character in them is printed, and each
format escapes what it would read as markup.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from tabulate import tabulate

from zslbench.errors import UsageError, printable
from zslbench.files import writable
from zslbench.report.table import Cell, Table, grouped


def cleaned(table: Table) -> Table:
    """Returns the table with each text in one line and without control characters."""
    columns = [replace(one, title=printable(one.title), group=printable(one.group)) for one in table.columns]
    lines = []
    for line in table.lines:
        cells = tuple(replace(cell, text=printable(cell.text)) for cell in line.cells)
        lines.append(replace(line, cells=cells, group=printable(line.group)))
    notes = [printable(note) for note in table.notes]
    return replace(table, title=printable(table.title), columns=columns, lines=lines, notes=notes)


def as_text(tables: list[Table], *, bare: bool = False) -> str:
    """Returns plain text; an asterisk marks the best of a column, which `bare` leaves out, as it does alignment."""
    parts = []
    for table in map(cleaned, tables):
        body = _body(table, _marked(str, "{}" if bare else "{}*"), str, "" if bare else "· ")
        align = None if bare else [column.align for column in table.columns]
        grid = tabulate(body, table.head, disable_numparse=True, colalign=align) if body else ""
        starred = not bare and any(cell.best for line in table.lines for cell in line.cells)
        below = ["*: best of its column."] if starred else []
        parts.append("\n".join([*filter(None, [table.title, grid]), *table.notes, *below]))
    return ("\n" if bare else "\n\n").join(parts)


def _marked(escaped: Callable[[str], str], best: str) -> Callable[[Cell], str]:
    """Returns what writes a cell: its text escaped, and the best of a column in a frame."""
    return lambda cell: best.format(escaped(cell.text)) if cell.best else escaped(cell.text)


def _body(table: Table, cell: Callable[[Cell], str], group: Callable[[str], str], comment: str) -> list[list[str]]:
    """Returns the texts of all lines; a comment begins with a mark, because blanks would be stripped."""
    body = []
    for name, lines in grouped(table.lines):
        if name:
            body.append([group(name), *[""] * (len(table.columns) - 1)])
        for line in lines:
            first, *rest = map(cell, line.cells)
            body.append([comment * line.comment + first, *rest])
    return body


def as_markdown(tables: list[Table], level: int = 3) -> str:
    """Returns GitHub's Markdown; titles are headings of a level, or are left out at level 0."""
    parts = []
    for table in map(cleaned, tables):
        body = _body(table, _marked(escaped_markdown, "**{}**"), lambda group: f"*{escaped_markdown(group)}*", "· ")
        heading = f"{'#' * level} {escaped_markdown(table.title)}" if level and table.title else ""
        grid = tabulate(body, list(map(escaped_markdown, table.head)), tablefmt="github", disable_numparse=True)
        notes = "\n".join(f"- {escaped_markdown(note, begins=True)}" for note in table.notes)
        parts.append("\n\n".join(filter(None, [heading, grid, notes])))
    return "\n\n".join(parts) + "\n"


def escaped_markdown(text: str, *, begins: bool = False) -> str:
    """Returns text in one line in which nothing is taken for markup; `begins` says that a paragraph begins with it."""
    text = re.sub(r"[\\|*`<\[\]~&]|\b_|_\b", r"\\\g<0>", printable(text))
    return re.sub(r"^(\d*)(?=[-+#>=]|(?<=\d)[.)](?:\s|$))", r"\1\\", text) if begins else text


def as_latex(tables: list[Table]) -> str:
    """Returns a `table` environment for each, for the booktabs package; `table*` where columns are in groups."""
    return "\n\n".join(map(_latex_table, map(cleaned, tables))) + "\n"


def _latex_table(table: Table) -> str:
    wide = any(column.group for column in table.columns)
    environment = "table*" if wide else "table"
    caption = f"{table.title.removesuffix('.')}. {' '.join(table.notes)}"
    lines = [rf"\begin{{{environment}}}", rf"\caption{{{escaped_latex(caption)}}}"]
    lines += [rf"\label{{tab:{re.sub(r'[^A-Za-z0-9:-]', '-', table.name)}}}"] if table.name else []
    lines += [r"\centering\small"] if wide else []
    lines += [rf"\begin{{tabular}}{{{''.join(column.align[0] for column in table.columns)}}}", r"\toprule"]
    lines += _latex_groups(table) if wide else []
    latex = _marked(escaped_latex, r"\textbf{{{}}}")
    lines.append(_no_argument(" & ".join(escaped_latex(column.title) for column in table.columns)))
    for group, members in grouped(table.lines):
        lines.append(r"\midrule")
        if group:
            lines.append(rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\emph{{{escaped_latex(group)}}}}} \\")
        lines += [r"\quad " * line.comment + _no_argument(" & ".join(map(latex, line.cells))) for line in members]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", rf"\end{{{environment}}}"])


def _no_argument(line: str) -> str:
    """Returns a line of a table with its end, that does not begin with what the end before would take for its own."""
    return ("{}" if line.startswith(("[", "*")) else "") + line + r" \\"


def _latex_groups(table: Table) -> list[str]:
    heads, rules, first = [], [], 1
    for group, columns in grouped(table.columns):
        size = len(columns)
        heads += [rf"\multicolumn{{{size}}}{{c}}{{{escaped_latex(group)}}}"] if group else [""] * size
        rules += [rf"\cmidrule(lr){{{first}-{first + size - 1}}}"] if group else []
        first += size
    return [" & ".join(heads) + r" \\", "".join(rules)]


_SPECIAL = {c: rf"\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\^{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
}


def escaped_latex(text: str) -> str:
    """Returns text in which nothing is taken for a command, arrows as symbols."""
    parts = text.split("->")
    return r"$\to$".join("".join(_SPECIAL.get(c, c) for c in part) for part in parts)


def as_csv(tables: list[Table]) -> str:
    """Returns one line for what is behind each line, all tables in one file."""
    head = dict.fromkeys(name for table in tables for name in table.fields)
    out = io.StringIO()
    # scores made elsewhere may have metrics of evaluators that are no longer installed
    writer = csv.DictWriter(out, list(head), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        writer.writerows({name: _in_csv(value) for name, value in line.items()} for line in table.data)
    return out.getvalue()


def _in_csv(value: Any) -> Any:
    """Returns what a spreadsheet shows as it is: a text that would be a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.lstrip().startswith(("=", "+", "-", "@")) and not _number(text) else text


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def as_json(tables: list[Table]) -> str:
    """Returns what the CSV holds, every pair of lines compared, and the notes."""
    return json.dumps(
        [{"title": table.title, "rows": table.data, "pairs": table.pairs, "notes": table.notes} for table in tables],
        indent=1,
    )


def html_table(table: Table) -> str:
    """Returns a `table` element, and below it a list of the notes."""
    table = cleaned(table)
    heads = [_tag("th", escape(column.title), scope="col") for column in table.columns]
    spans = [_tag("th", escape(name), scope="colgroup", colspan=len(own)) for name, own in grouped(table.columns)]
    above = [_tag("tr", "".join(spans))] if any(column.group for column in table.columns) else []
    parts = [_tag("caption", escape(table.title)), _tag("thead", "".join([*above, _tag("tr", "".join(heads))]))]
    for group, members in grouped(table.lines):
        title = _tag("th", escape(group), scope="rowgroup", colspan=len(table.columns))
        lines = [_tag("tr", title)] if group else []
        for line in members:
            first, *rest = map(_marked(escape, "<strong>{}</strong>"), line.cells)
            cells = _tag("th", first, scope="row") + "".join(_tag("td", text) for text in rest)
            lines.append(_tag("tr", cells, **{"class": "comment"} if line.comment else {}))
        parts.append(_tag("tbody", "\n".join(lines)))
    notes = [_tag("ul", "".join(_tag("li", escape(note)) for note in table.notes))] if table.notes else []
    return "\n".join([_tag("table", "\n".join(parts)), *notes])


def _tag(name: str, content: str, **attributes: object) -> str:
    """Returns an element; the content and the attributes' values are escaped already."""
    given = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{given}>{content}</{name}>"


FORMATS: dict[str, Callable[[list[Table]], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "json": as_json,
}
"""Formats of tables; the page of a report shows more."""

ENDINGS = {".html": "html", ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json", ".txt": "text"}
"""The format of a file, by the ending of its name."""


def format_of(path: Path, option: str = "") -> str:
    """Returns the format that the ending of a file's name stands for.

    Raises:
        UsageError: no format has this ending, or the file cannot be there; `option` is named.
    """
    if path.suffix.lower() not in ENDINGS:
        named = f"{option} {path}".lstrip()
        raise UsageError(f"{named}: no format has this ending; give a name that ends in {', '.join(ENDINGS)}")
    return ENDINGS[writable(option, path).suffix.lower()]
