"""Counterparts of the figures and tables of a method's paper, made from records, and a page that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from zslbench.api.cards import Exhibit, MethodCard
from zslbench.api.dataset import ZSLData
from zslbench.errors import DataError, ZSLBenchError, printable
from zslbench.files import write_whole
from zslbench.records.store import Store
from zslbench.report.attributes import write_attributes
from zslbench.report.curves import with_area, write_panels
from zslbench.report.grids import write_grids
from zslbench.report.paper_table import naming, paper_table, shared_note
from zslbench.report.render import as_latex, as_markdown, escaped_markdown
from zslbench.runs.entrant import Entrant
from zslbench.runs.request import DatasetLike, Request
from zslbench.runs.resolve import resolve
from zslbench.runs.row import Row

PAGE_NAME = "README.md"


@dataclass(frozen=True)
class Made:
    """An exhibit's files, and what the page says below its caption."""

    files: list[Path]
    body: str


Loaded = Callable[[], list[tuple[ZSLData, str]]]
"""Returns each data set, with why it has no features, if it has none."""


def entrants_of(
    exhibits: Mapping[str, Exhibit], sources: list[DatasetLike], request: Request
) -> tuple[dict[str, list[Entrant]], dict[str, ZSLBenchError]]:
    """Returns the entrants of each exhibit, and why some have none, by name."""
    entrants: dict[str, list[Entrant]] = {}
    problems: dict[str, ZSLBenchError] = {}
    for name, exhibit in exhibits.items():
        try:
            entrants[name] = resolve(exhibit.methods, sources, request)
        except ZSLBenchError as error:
            problems[name] = error
    return entrants, problems


def make_all(
    exhibits: Mapping[str, Exhibit], rows: Mapping[str, list[Row]], store: Store, data: Loaded, folder: Path
) -> tuple[dict[str, Made], dict[str, ZSLBenchError]]:
    """Makes the exhibits that have rows; returns what was made, and why the rest could not be, by name."""
    made: dict[str, Made] = {}
    problems: dict[str, ZSLBenchError] = {}
    for name, shown in rows.items():
        try:
            made[name] = make(name, exhibits[name], shown, store, data, folder)
        except ZSLBenchError as error:
            problems[name] = error
    return made, problems


def make(name: str, exhibit: Exhibit, rows: list[Row], store: Store, data: Loaded, folder: Path) -> Made:
    """Writes an exhibit's files from its rows, data set by data set; `store` holds their arrays.

    Raises:
        DataError: it cannot be made of these rows, or a file cannot be written.
    """
    stem = folder / name
    if exhibit.kind == "attributes":
        return _pictured(name, exhibit, *write_attributes(stem, data()))
    groups = [list(group) for _, group in groupby(rows, key=lambda row: row.source)]
    if not any(row.records for row in rows):
        reasons = sorted({row.refusal for row in rows if row.refusal})
        raise DataError("; ".join(reasons) or "none of its runs is stored")
    if exhibit.kind == "table":
        return _table(name, exhibit, groups, stem, store)
    if exhibit.kind == "curves":
        panels = [drawn for drawn in map(with_area, groups) if drawn]
        if not panels:
            raise DataError("none of its runs has a seen-unseen curve")
        files = write_panels(stem, panels, store, naming(exhibit, rows))
    else:
        grids = [stored for group in groups if (stored := [row for row in group if row.records])]
        files = write_grids(stem, grids, store, naming(exhibit, rows))
    return _pictured(name, exhibit, files, shared_note(rows))


def _pictured(name: str, exhibit: Exhibit, files: list[Path], lines: list[str]) -> Made:
    picture = f"![{escaped_markdown(exhibit.caption)}]({name}.png)\n\n[PDF]({name}.pdf)"
    return Made(files, "\n\n".join([picture, *(escaped_markdown(line, begins=True) for line in lines)]))


def _table(name: str, exhibit: Exhibit, groups: list[list[Row]], stem: Path, store: Store) -> Made:
    table = paper_table(exhibit, groups, store, name)
    body = as_markdown([table], level=0).rstrip("\n")
    latex = f"% needs \\usepackage{{booktabs}}\n{as_latex([table])}"
    texts = {"md": f"{escaped_markdown(exhibit.caption, begins=True)}\n\n{body}\n", "tex": latex}
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in texts]
    for path, text in zip(files, texts.values(), strict=True):
        write_whole(path, text)
    return Made(files, f"{body}\n\n[LaTeX]({name}.tex)")


def write_index(
    folder: Path, card: MethodCard, command: str, made: Mapping[str, Made], left_out: Mapping[str, str]
) -> Path:
    """Writes the page that shows what was made, and says why the rest was not; returns its path.

    Raises:
        DataError: it cannot be written.
    """
    parts = [
        f"# {escaped_markdown(card.title)}: figures and tables",
        f"Counterparts of those of {escaped_markdown(card.paper)}{f' <{card.url}>' if card.url else ''}",
        f"Made from run records by\n\n    {printable(command)}",
    ]
    for name, exhibit in card.exhibits.items():
        if name not in made and name not in left_out:  # nobody asked for it
            continue
        parts.append(f"## {name.replace('-', ' ').capitalize()}\n\n{escaped_markdown(exhibit.caption, begins=True)}")
        parts.append(made[name].body if name in made else f"Not made: {escaped_markdown(left_out[name])}.")
    path = folder / PAGE_NAME
    write_whole(path, "\n\n".join(parts) + "\n")
    return path
