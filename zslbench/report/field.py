"""The table of the field: every method on every data set, which rows are really different, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Decisions, Metric
from zslbench.evaluation.influence import Estimate, influence
from zslbench.evaluation.significance import Comparison, compare_rows
from zslbench.records.search import TITLES
from zslbench.records.store import Store
from zslbench.report.published import Published
from zslbench.report.summary import Spread, figure, is_best, shown_metrics, spreads
from zslbench.report.tables import SHOWN, notes, peek_gap, published_of
from zslbench.runs.plan import Row

TESTED = "ausuc"
"""The metric whose differences are tested: it needs no gamma to be chosen."""
ERRORS = {"mse_unseen": "reconstruction/mse", "perceptual_unseen": "reconstruction/perceptual"}
"""Means over test images of unseen classes that can be tested too, and the array of each image's error."""


@dataclass(frozen=True)
class Cell:
    """Text of a cell, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass
class Line:
    """A row of the table, or below one what a paper printed for it.

    Attributes:
        cells: its texts, the method's name first.
        row: what it shows.
        comment: whether it only comments on the line above.
    """

    cells: list[Cell]
    row: Row
    comment: bool = False


@dataclass
class FieldTable:
    """The table of one data set.

    Attributes:
        title: the data set, and what the figures are.
        head: names of the columns.
        groups: lines by what the methods use.
        notes: what a reader must know.
        comparison: every pair of rows in AUSUC; None where fewer than two rows have results.
    """

    title: str
    head: list[str]
    groups: dict[str, list[Line]]
    notes: list[str] = field(default_factory=list)
    comparison: Comparison | None = None

    @property
    def lines(self) -> list[Line]:
        """All lines, group by group."""
        return [line for group in self.groups.values() for line in group]


def field_tables(rows: list[Row], store: Store) -> list[FieldTable]:
    """Returns a table for each data set, in the order of the rows."""
    return [_table(list(group), store) for _, group in groupby(rows, key=lambda row: row.source)]


def decisions_of(row: Row, store: Store) -> list[Decisions]:
    """Returns the decisions of a row's runs, from the store."""
    return [Decisions.of(store.arrays(record)) for record in row.records]


def name_of(row: Row) -> str:
    """Returns the method's title with whatever is not at its default."""
    return " ".join(filter(None, [row.title, row.settings]))


def with_area(rows: list[Row]) -> list[Row]:
    """Returns the rows whose records have an AUSUC: those that can be tested and drawn."""
    return [row for row in rows if row.records and all(TESTED in record.metrics for record in row.records)]


def compare(rows: list[Row], store: Store, metric: str = TESTED) -> Comparison | None:
    """Tests every pair of rows of one data set in AUSUC, or in an error of reconstruction, of which less is better."""
    estimates: dict[str, list[Estimate]] = {}
    y = np.zeros(0, dtype=np.int64)
    for row in rows:
        if row.records and all(metric in record.metrics for record in row.records):
            estimates[row.label] = [_estimate(store.arrays(record), metric) for record in row.records]
            y = Decisions.of(store.arrays(row.records[0])).y
    return compare_rows(estimates, y) if len(estimates) > 1 else None


def _estimate(arrays: Mapping[str, NDArray[Any]], metric: str) -> Estimate:
    decisions = Decisions.of(arrays)
    if metric not in ERRORS:
        return influence(decisions, metric)
    errors = np.where(decisions.seen, 0.0, arrays[ERRORS[metric]]) / (~decisions.seen).sum()
    return Estimate(-float(errors.sum()), -errors)


def _table(rows: list[Row], store: Store) -> FieldTable:
    columns = shown_metrics(rows, SHOWN)
    comparison = compare(rows, store)
    head = ["method"]
    for metric in columns:
        head += [metric.title, "95 %", "group"] if metric.name == TESTED else [metric.title]
    head += ["total s", "MB"]
    tuned_by = {TITLES[row.search.metric] for row in rows if row.search and row.oracle is not None}
    head += [f"test-peek gap, {metric}" for metric in tuned_by]  # one metric: that of the command
    table = [spreads(row) for row in rows]
    groups: dict[str, list[Line]] = {}
    for row, spread in zip(rows, table, strict=True):
        cells = [Cell(name_of(row))]
        for metric in columns:
            cells.append(Cell(figure(spread.get(metric.name), metric, row), is_best(metric, spread, table)))
            if metric.name == TESTED:
                letters = comparison.letters.get(row.label, "") if comparison else ""
                cells += [Cell(_interval(row, metric)), Cell(letters)]
        lines = groups.setdefault(row.uses, [])
        cells += [Cell(_whole(seconds(row))), Cell(_whole(megabytes(row)))]
        lines.append(Line(cells + [Cell(peek_gap(row)) for _ in tuned_by], row))
        if published := published_of(row):
            lines += _published(published, row, spread, columns, len(head))
    seeds = max((len(row.records) for row in rows), default=0)
    inputs = sorted({f"{row.jobs[0].spec.features}" for row in rows if row.jobs})
    spread_text = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    facts = [*inputs, "per-class top-1 in percent on test images", spread_text]
    title = f"{rows[0].dataset_title}: {', '.join(facts)}"
    return FieldTable(title, head, groups, _notes(rows, comparison), comparison)


def _interval(row: Row, metric: Metric) -> str:
    ends = [record.intervals[metric.name] for record in row.records if metric.name in record.intervals]
    if not ends:
        return ""
    low, high = (100 * sum(end[side] for end in ends) / len(ends) for side in (0, 1))
    return f"{low:.1f} to {high:.1f}"


def seconds(row: Row) -> float | None:
    """Returns what a row cost: all fits of all seeds, and its search; None where nothing was trained here."""
    fits = [record.training for record in row.records if record.training]
    if not fits:
        return None
    search = sum(trial.seconds for trial in row.search.trials) if row.search else 0.0
    return sum(training.seconds + training.seconds_validation for training in fits) + search


def megabytes(row: Row) -> float | None:
    """Returns the largest memory of a row's runs; None where none was measured."""
    known = [record.provenance for record in row.records if "peak_memory_mb" in record.provenance]
    return max((float(provenance["peak_memory_mb"]) for provenance in known), default=None)


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _published(
    published: Published, row: Row, spread: dict[str, Spread], columns: list[Metric], width: int
) -> list[Line]:
    printed, difference = [Cell(f"published, {published.source}")], [Cell("difference")]
    for metric in columns:
        value, own = published.values.get(metric.name), spread.get(metric.name)
        gap = [Cell(""), Cell("")] if metric.name == TESTED else []
        printed += [Cell("" if value is None else f"{100 * value:.1f}"), *gap]
        difference += [Cell("" if value is None or own is None else f"{100 * (own.mean - value):+.1f}"), *gap]
    end = [Cell("")] * (width - len(printed))
    return [Line([*printed, *end], row, comment=True), Line([*difference, *end], row, comment=True)]


def _notes(rows: list[Row], comparison: Comparison | None) -> list[str]:
    result = []
    if comparison is not None:
        result.append(
            "group: rows that share a letter are not told apart in AUSUC (paired test over test images and seeds, "
            f"Holm's correction for all {len(comparison.differences)} pairs, {comparison.alpha:.0%})."
        )
    result.append("95 %: of AUSUC, bootstrap over test images. total s, MB: all fits, search included; peak memory.")
    origins = sorted({row.search.origin.split(" (")[0] for row in rows if row.search})
    if origins:
        result.append(f"hyper-parameters, and the number of epochs, {'; '.join(origins)}, on validation classes.")
    return result + notes(rows)
