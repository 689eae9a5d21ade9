"""Comparison tables, for the terminal (rich) and as plain text (tabulate)."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tabulate import tabulate

from zslbench.api.evaluator import Metric
from zslbench.records.search import TITLES
from zslbench.records.spec import RunSpec
from zslbench.report.published import Published, published_for
from zslbench.report.summary import Spread, figure, is_best, shown_metrics, spreads
from zslbench.runs.plan import Row

SHOWN = ("acc_uu", "acc_ut", "acc_st", "h", "ausuc", "h_cal", "mse_unseen", "perceptual_unseen")
"""Columns of the comparison table; `show` has all metrics."""


@dataclass(frozen=True)
class Line:
    """One line of a table: cells, which of them are best, and whether it only comments on the line above."""

    about: list[str]
    cells: list[str]
    best: frozenset[int] = frozenset()
    comment: bool = False


def print_comparison(rows: list[Row], console: Console, *, plain: bool) -> None:
    """Prints one table per data set, percent with one decimal. What all rows share goes into its heading."""
    for dataset, group in groupby(rows, key=lambda row: row.dataset_title):
        members = list(group)
        columns = shown_metrics(members, SHOWN)
        head = ["method", "uses", "input"]
        lines = _lines(members, columns, with_oracle=any(row.oracle is not None for row in members))
        shared = [i for i in (1, 2) if len({line.about[i] for line in lines if not line.comment}) == 1]
        facts = [lines[0].about[i] for i in shared]
        kept = [i for i in range(3) if i not in shared]
        heading = f"{dataset}: {', '.join([*facts, *_protocol(members)])}"
        tuned_by = next((TITLES[row.search.metric] for row in members if row.search and row.oracle is not None), "")
        peek = [f"test-peek gap, {tuned_by}"] if tuned_by else []
        head = [head[i] for i in kept] + [metric.title for metric in columns] + ["train s"] + peek
        lines = [replace(line, about=[line.about[i] for i in kept]) for line in lines]
        if plain:
            console.print(heading, highlight=False, soft_wrap=True, markup=False)
            text = tabulate([[*line.about, *line.cells] for line in lines], head, disable_numparse=True)
            console.print(text, highlight=False, soft_wrap=True, markup=False)
        else:
            console.print(_rich(heading, head, lines, len(kept)))
    for note in notes(rows):
        console.print(note, highlight=False, soft_wrap=plain, style="dim")


def _protocol(rows: list[Row]) -> list[str]:
    validation = any(job.spec.on == "validation" for row in rows for job in row.jobs)
    on = "validation classes" if validation else "test images"
    seeds = max((len(row.records) for row in rows), default=0)
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    return [f"per-class top-1 in percent on {on}", spread]


def _lines(rows: list[Row], columns: list[Metric], *, with_oracle: bool) -> list[Line]:
    table = [spreads(row) for row in rows]
    lines = []
    for row, spread in zip(rows, table, strict=True):
        cells = [figure(spread.get(metric.name), metric, row) for metric in columns]
        best = frozenset(i for i, metric in enumerate(columns) if is_best(metric, spread, table))
        cells += [_seconds(row), *([peek_gap(row)] if with_oracle else [])]
        lines.append(Line(_about(row), cells, best))
        published = published_of(row)
        if published:
            rest = [""] * (len(cells) - len(columns))
            lines += [replace(line, cells=line.cells + rest) for line in _published_lines(published, spread, columns)]
    return lines


def published_of(row: Row) -> Published | None:
    """Returns published numbers where they compare: the method as published, on the published data."""
    if not row.jobs or row.has_given_parameters or not row.jobs[0].is_published_protocol:
        return None
    return published_for(row.published_as or row.title, row.dataset_title, row.jobs[0].spec.features)


def _about(row: Row) -> list[str]:
    """Returns the method with whatever is not at its default, what it may use, and its input."""
    spec = row.jobs[0].spec if row.jobs else None
    scale = f", {spec.scale}" if spec and spec.scale != "none" else ""
    semantics = f", {spec.semantics}" if spec and spec.semantics != "att" else ""
    return [
        " ".join(filter(None, [row.title, row.settings, "(tuned)" if row.search else ""])),
        row.uses,
        f"{_input(row, spec)}{scale}{semantics}" if spec else "none" if row.refusal else "unknown",
    ]


def _input(row: Row, spec: RunSpec) -> str:
    """Returns what a row's method was given of an image: features, or crops beside the features of a backbone."""
    if spec.input == "features" or not row.records:
        return spec.features
    params = row.records[0].params
    return f"{params['image_size']}x{params['image_size']} images, {params['backbone']}"


def _seconds(row: Row) -> str:
    times = [record.training.seconds for record in row.records if record.training]
    return f"{sum(times) / len(times):.1f}" if times else ""


def peek_gap(row: Row) -> str:
    """Returns what picking on the test images would have gained, for the first seed."""
    if row.oracle is None or row.search is None or not row.records:
        return ""
    return f"{100 * (row.oracle - row.records[0].metrics[row.search.metric]):+.1f}"


def _published_lines(published: Published, spread: dict[str, Spread], columns: list[Metric]) -> list[Line]:
    printed, difference = [], []
    for metric in columns:
        value, own = published.values.get(metric.name), spread.get(metric.name)
        printed.append("" if value is None else f"{value * 100:.1f}")
        difference.append("" if value is None or own is None else f"{(own.mean - value) * 100:+.1f}")
    return [
        Line([f"  published, {published.source}", "", ""], printed, comment=True),
        Line(["  difference", "", ""], difference, comment=True),
    ]


def _rich(heading: str, head: list[str], lines: list[Line], about: int) -> Table:
    table = Table(title=heading, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i < about else "right", no_wrap=i >= about, overflow="fold")
    for line in lines:
        style = "dim" if line.comment else ""
        best = {about + i for i in line.best}
        cells = [*line.about, *line.cells]
        table.add_row(*(Text(cell, style="bold green" if i in best else style) for i, cell in enumerate(cells)))
    return table


def notes(rows: list[Row], shown: Container[str] = SHOWN) -> list[str]:
    """Returns what a reader of these rows must know: what does not apply, and what was not treated alike.

    `shown` are the metrics in the table.
    """
    result = []
    reasons = {(row.label, r) for row in rows for record in row.records for r in record.not_applicable.values()}
    reasons |= {(row.label, row.refusal) for row in rows if row.refusal}
    result += [f"n/a for {label}: {reason}" for label, reason in sorted(reasons)]
    trained = [row for row in rows if row.jobs]
    treatments = {row.treatment: [r.label for r in trained if r.treatment == row.treatment] for row in trained}
    if len(treatments) > 1:
        shown = "; ".join(f"{', '.join(dict.fromkeys(labels))}: {how}" for how, labels in treatments.items())
        result.append(f"warning: hyper-parameters were not come by alike ({shown}); --tuned tunes every row alike.")
    if any(row.oracle is not None for row in rows):
        result.append("test-peek gap: what picking among the same trials on the test images would have gained.")
    records = [record for row in rows for record in row.records]
    if "h_cal" in shown and any("h_cal" in record.metrics for record in records):
        result.append("H cal: gamma chosen on validation classes cut from trainval.")
    if any(record.external for record in records):
        result.append("Scores made elsewhere have no validation part, so no gamma can be chosen for them.")
    return result
