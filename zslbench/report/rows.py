"""Shared parts of tables of rows: means over seeds, tests, columns computed from a row, published numbers, notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Metric
from zslbench.evaluation.measuring import evaluators, influence, metric_name, metrics, owner_of, remarks
from zslbench.evaluation.significance import Comparison, Estimate, compare_rows
from zslbench.records.record import RunRecord
from zslbench.report.published import Published, published_for
from zslbench.report.table import Cell, Column, Line
from zslbench.runs.row import Row


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over n seeds (0 for one)."""

    mean: float
    std: float
    n: int


def spreads(row: Row) -> dict[str, Spread]:
    """Returns the spread of each metric over a row's records."""
    values: dict[str, list[float]] = {}
    for record in row.records:
        for name, value in record.metrics.items():
            values.setdefault(name, []).append(value)
    return {
        name: Spread(float(np.mean(own)), float(np.std(own, ddof=1)) if len(own) > 1 else 0.0, len(own))
        for name, own in values.items()
    }


def named_metrics(texts: str | Sequence[str] | None) -> list[Metric] | None:
    """Returns the metrics of `--metrics`: names or titles in any case, divided by commas; None where none is given.

    Raises:
        UsageError: no evaluator has one; near misses are suggested.
    """
    if not texts:
        return None
    words = [word.strip() for text in ([texts] if isinstance(texts, str) else texts) for word in text.split(",")]
    return [metrics()[name] for name in dict.fromkeys(metric_name(word, "--metrics: ") for word in words)]


def shown_metrics(records: Sequence[RunRecord]) -> list[Metric]:
    """Returns the metrics that are shown by default and whose evaluator measured one of these records, or tried to.

    Without any record they are those that every run has.
    """
    known = {name for record in records for name in record.metrics}
    refused = {name for record in records for name in record.not_applicable}
    result = []
    for name, evaluator in evaluators().items():
        measured = name in refused or any(metric.name in known for metric in evaluator.metrics)
        if measured if records else not evaluator.needs_images:
            result += [metric for metric in evaluator.metrics if metric.shown]
    return result


def summary(rows: list[Row]) -> list[dict[str, Any]]:
    """Returns the `summary` of `--json`."""
    return [
        {
            "method": row.label,
            "dataset": row.dataset,
            "metrics": {name: vars(spread) for name, spread in spreads(row).items()},
            **({"refused": row.refusal} if row.refusal else {}),
            **({"tuned": {"params": row.search.tuned, "origin": row.search.origin}} if row.search else {}),
            **({"oracle": {row.search.metric: row.oracle}} if row.search and row.oracle is not None else {}),
        }
        for row in rows
    ]


class Kept(Protocol):
    """What has the decisions of runs: a store, or results in memory."""

    def arrays(self, record: RunRecord) -> Mapping[str, NDArray[Any]]:
        """Returns the decisions of a run."""


def tested_metric(metrics: Iterable[Metric], rows: list[Row], store: Kept) -> Metric | None:
    """Returns the metric in which a table tests its rows: the first that ranks, else the first that can be tested."""
    metrics = list(metrics)
    records = [record for row in rows for record in row.records[:1]]
    return next((metric for metric in metrics if metric.ranks), None) or next(
        (m for m in metrics if any(_estimate(record, m, store) is not None for record in records)), None
    )


def compare(rows: list[Row], store: Kept, metric: Metric) -> Comparison | None:
    """Tests every pair of rows of one data set in a metric; None where fewer than two have an influence on it."""
    estimates: dict[str, list[Estimate]] = {}
    for row in rows:
        own = [_estimate(record, metric, store) for record in row.records]
        known = [estimate for estimate in own if estimate is not None]
        if known and len(known) == len(own):
            estimates[row.label] = known
            arrays = store.arrays(row.records[0])
    if len(estimates) < 2:
        return None
    return compare_rows(estimates, np.asarray(arrays["y"]), higher_is_better=metric.higher_is_better)


def _estimate(record: RunRecord, metric: Metric, store: Kept) -> Estimate | None:
    if metric.name not in record.metrics:
        return None
    found = influence(metric.name, record.metrics, record.class_names, store.arrays(record), record.no_conventional)
    return None if found is None else Estimate(record.metrics[metric.name], found)


GAP, ABOUT, COST = 1, 2, 3
"""Ranks of columns that a narrow terminal leaves out before any metric."""


@dataclass(frozen=True)
class RowColumn:
    """A column of a table of rows: its heading, and what it shows of a row.

    `metric` is None for columns below which no published number can stand; `place` is which row it shows, where a line
    is of a method on several data sets.
    """

    head: Column
    cell: Callable[[Row], Cell]
    metric: Metric | None = None
    place: int = 0


def text_column(title: str, text: Callable[[Row], str], *, words: bool = False, rank: int = 0) -> RowColumn:
    """Returns a column of texts, of which none is the best; `words` are aligned on the left."""
    return RowColumn(Column(title, "left" if words else "right", rank=rank), lambda row: Cell(text(row)))


def metric_column(metric: Metric, rows: Sequence[Row], place: int = 0, group: str = "") -> RowColumn:
    """Returns a metric's column: mean and deviation over seeds, the best of several rows, to six digits, is marked."""
    means = [round(own[metric.name].mean, 6) for own in map(spreads, rows) if metric.name in own]
    best = (max if metric.higher_is_better else min)(means) if means and len(rows) > 1 else None

    def cell(row: Row) -> Cell:
        spread = spreads(row).get(metric.name)
        if spread is None:
            return Cell("n/a" if row.records or row.refusal else "none")
        deviation = f"±{metric.text(spread.std)}" if spread.n > 1 else ""
        return Cell(metric.text(spread.mean) + deviation, round(spread.mean, 6) == best)

    return RowColumn(Column(metric.title, group=group), cell, metric, place)


def peek_columns(rows: Sequence[Row]) -> list[RowColumn]:
    """Returns the column of the test-peek gap of the first seed, where a row has one; they share the metric."""
    tuned_by = {row.search.metric: None for row in rows if row.search and row.oracle is not None}

    def gap(metric: Metric, row: Row) -> str:
        if row.oracle is None or not row.records:
            return ""
        return metric.text(row.oracle - row.records[0].metrics[metric.name], "+")

    tuned = [metrics()[name] for name in tuned_by]
    return [text_column(f"test-peek gap, {metric.title}", partial(gap, metric), rank=GAP) for metric in tuned]


def line_of(rows: Sequence[Row], columns: Sequence[RowColumn], group: str = "") -> Line:
    """Returns the line of a method, from its row on each data set."""
    return Line(tuple(column.cell(rows[column.place]) for column in columns), group)


def comment(title: str, columns: Sequence[RowColumn], text: Callable[[Metric, int], str], group: str = "") -> Line:
    """Returns a line below that of a method, with a text for each metric and place."""
    rest = [Cell(text(column.metric, column.place) if column.metric else "") for column in columns[1:]]
    return Line((Cell(title), *rest), group, comment=True)


def lines_of(row: Row, columns: Sequence[RowColumn], group: str = "") -> list[Line]:
    """Returns the line of a row; below it published numbers, where some compare, and the difference from them."""
    published, own = published_of(row), spreads(row)
    if published is None:
        return [line_of([row], columns, group)]

    def difference(metric: Metric, place: int) -> str:
        if metric.name not in published.values or metric.name not in own:
            return ""
        return metric.text(own[metric.name].mean - published.values[metric.name], "+")

    return [
        line_of([row], columns, group),
        comment(f"published on {published.made_on}, {published.source}", columns, partial(printed, [published]), group),
        comment(f"difference from {published.made_on}", columns, difference, group),
    ]


def published_of(row: Row, names: Mapping[str, str] | None = None, source: str = "") -> Published | None:
    """Returns published numbers where they compare: the method as published, on the published data.

    A row that a paper has by `names`, with parameters of its own, compares unless the command added others.
    """
    names = names or {}
    by_hand = row.added if row.label in names else row.given
    if by_hand or not row.comparable:
        return None
    return published_for(names.get(row.label, row.published_as or row.title), row.dataset_title, row.features, source)


def printed(published: Sequence[Published | None], metric: Metric, place: int) -> str:
    """Returns the published number at a place as tables show it; empty where there is none."""
    found = published[place]
    value = found.values.get(metric.name) if found else None
    return "" if value is None else metric.text(value)


def name_of(row: Row) -> str:
    """Returns the method's title with whatever is not at its default."""
    return f"{row.title} {row.settings}".rstrip()


def treatment(row: Row) -> str:
    """Returns where a row's hyper-parameters come from; a comparison is fair where all rows say the same."""
    if row.search is not None:
        return f"tuned by {metrics()[row.search.metric].title} on {row.search.cuts}"
    if row.tuned_by_search:
        return "tuned by a search that is not at hand"
    return "given by hand" if row.given else "preset" if row.preset else "default"


def _ignores_seed(records: Sequence[RunRecord]) -> bool:
    """Whether several runs of a trained method came to the same decisions; their file is named by its content."""
    trained = all(record.training and record.training.losses for record in records)
    return trained and len(records) > 1 and len({record.arrays for record in records}) == 1


def notes(rows: Sequence[Row], shown: Collection[Metric]) -> list[str]:
    """Returns what a reader of these rows must know: what does not apply, what differs between rows, what was chosen.

    `shown` are the metrics in the table; what an evaluator says of its other ones is left out.
    """
    records = [record for row in rows for record in row.records]
    asked = {owner_of(metric.name) for metric in shown}
    refused = [(row.label, record.not_applicable) for row in rows for record in row.records]
    reasons = {(label, why) for label, own in refused for name, why in own.items() if name in asked}
    reasons |= {(row.label, row.refusal) for row in rows if row.refusal}
    result = [f"n/a for {label}: {reason}" for label, reason in sorted(reasons)]
    treatments: dict[str, list[str]] = {}
    for row in rows:
        if row.spec:
            treatments.setdefault(treatment(row), []).append(row.label)
    if len(treatments) > 1:
        ways = "; ".join(f"{', '.join(dict.fromkeys(labels))}: {how}" for how, labels in treatments.items())
        result.append(
            f"warning: these rows did not get their hyper-parameters in the same way ({ways}); "
            "--tuned tunes every row alike."
        )
    if once := dict.fromkeys(row.label for row in rows if row.stands_for_seeds):
        result.append(f"{', '.join(once)}: no randomness, so one fit stands for every seed.")
    if any(row.oracle is not None for row in rows):
        result.append("test-peek gap: how much higher the best of the same trials is if it is picked on test images.")
    result += [
        f"warning: {label}: {count} seeds gave identical results, though it is trained; does it ignore its seed?"
        for label, count in dict.fromkeys((row.label, len(row.records)) for row in rows if _ignores_seed(row.records))
    ]
    result += [
        f"warning: {row.label}: its runs were made by different states of its code; --existing rerun makes all again."
        for row in rows
        if len({code for record in row.records if (code := record.provenance.get("method_code"))}) > 1
    ]
    for row in rows:
        said = [one for record in row.records for name, one in remarks(record.metrics) if name in asked]
        for remark, count in Counter(said).items():
            some = "" if count == len(row.records) else f" ({count} of {len(row.records)} seeds)"
            result.append(f"warning: {row.label}: {remark}{some}.")
    explained: dict[str, list[str]] = {}
    for metric in shown:
        if metric.note and any(metric.name in record.metrics for record in records):
            explained.setdefault(metric.note, []).append(metric.title)
    result += [f"{', '.join(titles)}: {note}." for note, titles in explained.items()]
    if any(record.external and not record.validated for record in records):
        result.append(
            "Scores made elsewhere without --validation have no calibrated H: no gamma can be chosen for them."
        )
    return result
