"""A page of results, written from records: tables, seen-unseen curves, and the chosen hyper-parameters."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from zslbench.api.evaluator import Metric
from zslbench.errors import printable
from zslbench.evaluation.measuring import metrics
from zslbench.files import write_whole
from zslbench.records.store import Store
from zslbench.report.builders import field_tables
from zslbench.report.curves import with_area, write_curves
from zslbench.report.render import as_markdown
from zslbench.report.rows import name_of, spreads
from zslbench.report.table import table_of
from zslbench.runs.row import Row


def write_page(
    path: Path, command: str, rows: list[Row], store: Store, chosen: list[Metric] | None = None
) -> list[Path]:
    """Writes a Markdown page and beside it a figure for each data set; returns what was written.

    `chosen` are the metrics of the tables, where not those shown by default.

    Raises:
        NotWritten: a file cannot be written.
    """
    parts = ["# Results", f"Written from run records by\n\n    {printable(command)}"]
    written: list[Path] = []
    sources = groupby(rows, key=lambda row: row.source)
    for (source, members), table in zip(sources, field_tables(rows, store, chosen), strict=True):
        group = list(members)
        parts.append(as_markdown([table], level=2).strip())
        if drawn := with_area(group):
            ending = re.sub(r"[^a-z0-9]+", "-", Path(source).name.lower()).strip("-")
            figure = path.with_name(f"{path.stem}-{ending}.svg")
            if figure in written:  # two folders of one name
                figure = figure.with_stem(f"{figure.stem}-{len(written) + 1}")
            write_curves(figure, drawn, store)
            written.append(figure)
            parts.append(
                f"![Seen-unseen curves on {group[0].dataset_title}]({quote(figure.name)})\n\n"
                "Seen-unseen curves of the first seed, beside the AUSUC over all seeds; a cross marks gamma = 0, a dot "
                "the gamma that validation classes chose."
            )
        if any(row.search for row in group):
            parts.append(_tuned(group))
    write_whole(path, "\n\n".join(parts) + "\n")
    return [path, *written]


def _tuned(rows: list[Row]) -> str:
    searches = [(row, row.search) for row in rows if row.search]
    lines = []
    for row, search in searches:
        metric = metrics()[search.metric]
        values = " ".join(f"{name}={_short(value)}" for name, value in search.tuned.items())
        counts = f"{len(search.trials)}, {sum(trial.state == 'pruned' for trial in search.trials)} pruned"
        test = metric.text(spreads(row)[metric.name].mean) if metric.name in spreads(row) else ""
        lines.append([name_of(row), values, counts, metric.text(search.best.value), test])
    title = metrics()[searches[0][1].metric].title
    head = ["method", "chosen on validation classes", "trials", f"{title}, validation", f"{title}, test"]
    return as_markdown([table_of(head, lines)]).strip()


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
