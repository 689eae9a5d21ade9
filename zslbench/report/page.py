"""A page of results, written from records: tables, seen-unseen curves, and the hyper-parameters that were chosen."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from tabulate import tabulate

from zslbench.records.search import TITLES
from zslbench.records.store import Store
from zslbench.report.curves import write_curves
from zslbench.report.field import field_tables, name_of, with_area
from zslbench.report.formats import escaped_markdown, markdown
from zslbench.report.summary import spreads
from zslbench.runs.plan import Row


def write_page(path: Path, command: str, rows: list[Row], store: Store) -> list[Path]:
    """Writes a Markdown page and beside it a figure for each data set; returns what was written.

    Raises:
        OSError: a file cannot be written.
    """
    parts = ["# Results", f"Written from run records by\n\n    {command}"]
    written: list[Path] = []
    sources = groupby(rows, key=lambda row: row.source)
    for (source, members), table in zip(sources, field_tables(rows, store), strict=True):
        group = list(members)
        parts.append(markdown([table]).replace("### ", "## ", 1).strip())
        if drawn := with_area(group):
            figure = path.with_name(f"{path.stem}-{_file_name(source)}.svg")
            if figure in written:  # two folders of one name
                figure = figure.with_stem(f"{figure.stem}-{len(written) + 1}")
            write_curves(figure, drawn, store)
            written.append(figure)
            parts.append(
                f"![Seen-unseen curves on {group[0].dataset_title}]({quote(figure.name)})\n\n"
                "Seen-unseen curves of the first seed, beside the AUSUC over all seeds; a cross marks gamma = 0, a dot "
                "the gamma that validation classes chose."
            )
        if chosen := _chosen(group):
            parts.append(chosen)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return [path, *written]


def _file_name(source: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", Path(source).name.lower()).strip("-")


def _chosen(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        if row.search is not None:
            best, metric = row.search.best, row.search.metric
            values = " ".join(f"{k}={_short(v)}" for k, v in row.search.tuned.items())
            test = spreads(row).get(metric)
            on_test = f"{100 * test.mean:.1f}" if test else ""
            counts = f"{len(row.search.trials)}, {sum(t.state == 'pruned' for t in row.search.trials)} pruned"
            lines.append([escaped_markdown(name_of(row)), values, counts, f"{100 * best.value:.1f}", on_test])
            title = TITLES[metric]
    if not lines:
        return ""
    head = ["method", "chosen on validation classes", "trials", f"{title}, validation", f"{title}, test"]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
