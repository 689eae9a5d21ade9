"""A table of the field as text, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from zslbench.evaluation.significance import Difference
from zslbench.report.field import Cell, FieldTable, megabytes, seconds
from zslbench.report.summary import metrics, spreads
from zslbench.runs.plan import Row


def text(tables: list[FieldTable]) -> str:
    """Returns plain text; the best of a column is marked by an asterisk."""
    parts = []
    for table in tables:
        body = _body(table, lambda cell: f"{cell.text}*" if cell.best else cell.text, group=str)
        columns = ["left" if i == 0 else "right" for i in range(len(table.head))]
        grid = tabulate(body, table.head, disable_numparse=True, colalign=columns)
        parts.append("\n".join([table.title, grid, *table.notes, "*: best of its column."]))
    return "\n\n".join(parts)


def markdown(tables: list[FieldTable]) -> str:
    """Returns GitHub's Markdown."""
    parts = []
    for table in tables:
        body = _body(table, _markdown, group=lambda g: f"*{g}*")
        grid = tabulate(body, table.head, tablefmt="github", disable_numparse=True)
        parts.append("\n\n".join([f"### {table.title}", grid, "\n".join(f"- {note}" for note in table.notes)]))
    return "\n\n".join(parts) + "\n"


def latex(tables: list[FieldTable]) -> str:
    """Returns a `table` environment for each data set, for the booktabs package."""
    parts = []
    for table in tables:
        lines = [
            r"\begin{table}",
            rf"\caption{{{escaped_latex(table.title)}. {escaped_latex(' '.join(table.notes))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
            r"\toprule",
            " & ".join(map(escaped_latex, table.head)) + r" \\",
        ]
        for group, members in table.groups.items():
            lines += [r"\midrule", rf"\multicolumn{{{len(table.head)}}}{{l}}{{\emph{{{escaped_latex(group)}}}}} \\"]
            for line in members:
                indent = r"\quad " if line.comment else ""
                lines.append(indent + " & ".join(map(_latex, line.cells)) + r" \\")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def as_csv(tables: list[FieldTable]) -> str:
    """Returns one line for each row, metrics as fractions, all data sets in one file."""
    names = list(metrics())
    head = ["dataset", "features", "semantics", "scale", "label", "method", "settings", "uses"]
    head += ["hyper_parameters", "seeds"]
    head += [part for name in names for part in (name, f"{name}_std")]
    head += ["ausuc_group", "seconds", "peak_memory_mb", "oracle", "refused"]
    out = io.StringIO()
    # scores made elsewhere may have metrics of evaluators that are no longer installed
    writer = csv.DictWriter(out, head, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        writer.writerows(_flat(line.row, table) for line in table.lines if not line.comment)
    return out.getvalue()


def as_json(tables: list[FieldTable]) -> str:
    """Returns what the CSV holds, and every pair of rows compared."""
    return json.dumps(
        [
            {
                "title": table.title,
                "rows": [_flat(line.row, table) for line in table.lines if not line.comment],
                "pairs": [_pair(pair) for pair in table.comparison.differences] if table.comparison else [],
                "notes": table.notes,
            }
            for table in tables
        ],
        indent=1,
    )


def _pair(pair: Difference) -> dict[str, Any]:
    """Returns a pair of rows, by their labels; JSON has no infinity, which equal rows have as degrees of freedom."""
    return {name: None if value == math.inf else value for name, value in asdict(pair).items()}


def _flat(row: Row, table: FieldTable) -> dict[str, Any]:
    time, memory = seconds(row), megabytes(row)
    spec = row.jobs[0].spec if row.jobs else None
    flat: dict[str, Any] = {
        "dataset": row.dataset_title,
        "features": spec.features if spec else "",
        "semantics": spec.semantics if spec else "",
        "scale": spec.scale if spec else "",
        "label": row.label,
        "method": row.title,
        "settings": row.settings,
        "uses": row.uses,
        "hyper_parameters": row.jobs[0].params_from if row.jobs else "",
        "seeds": len(row.records),
        "ausuc_group": table.comparison.letters.get(row.label, "") if table.comparison else "",
        "seconds": None if time is None else round(time, 1),
        "peak_memory_mb": None if memory is None else round(memory),
        "oracle": row.oracle,
        "refused": row.refusal,
    }
    for name, spread in spreads(row).items():
        flat[name], flat[f"{name}_std"] = spread.mean, spread.std
    return flat


def _body(table: FieldTable, show: Callable[[Cell], str], group: Callable[[str], str]) -> list[list[str]]:
    body = []
    for name, members in table.groups.items():
        body.append([group(name), *[""] * (len(table.head) - 1)])
        for line in members:
            first, *rest = line.cells
            mark = "· " if line.comment else ""  # blanks would be stripped
            body.append([mark + show(first), *map(show, rest)])
    return body


def escaped_markdown(text: str) -> str:
    """Returns text for a cell, in which nothing is taken for markup."""
    return re.sub(r"[\\|*`<]", r"\\\g<0>", text)


def _markdown(cell: Cell) -> str:
    return f"**{escaped_markdown(cell.text)}**" if cell.best else escaped_markdown(cell.text)


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


def _latex(cell: Cell) -> str:
    return rf"\textbf{{{escaped_latex(cell.text)}}}" if cell.best else escaped_latex(cell.text)


FORMATS: dict[str, Callable[[list[FieldTable]], str]] = {
    "text": text,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
}
