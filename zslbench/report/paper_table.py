"""A table in the form of a paper: a line for each method, columns for each data set, the paper's numbers below."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise

from zslbench.api.cards import Exhibit
from zslbench.api.evaluator import Metric
from zslbench.errors import DataError, near_misses
from zslbench.evaluation.measuring import metrics
from zslbench.records.store import Store
from zslbench.report.reasons import Name, Tested, budgets, p_text, reasons
from zslbench.report.rows import (
    comment,
    compare,
    line_of,
    metric_column,
    notes,
    printed,
    published_of,
    tested_metric,
    text_column,
)
from zslbench.report.table import Table
from zslbench.runs.row import Row, words


def naming(exhibit: Exhibit, rows: list[Row]) -> Name:
    """Returns how the exhibit calls a row: by the paper's name, with what the command added to it and not to all."""
    shared = _shared_settings(rows)

    def name(row: Row) -> str:
        title = exhibit.names.get(row.label)
        settings = words(row.added_preset, row.added) if title else words(row.preset, row.given)
        return " ".join([title or row.title, *(word for word in settings if word not in shared)])

    return name


def _shared_settings(rows: list[Row]) -> list[str]:
    added = [words(row.added_preset, row.added) for row in rows if row.runs]
    return [word for word in added[0] if all(word in own for own in added)] if len(added) > 1 else []


def shared_note(rows: list[Row]) -> list[str]:
    """Returns a line that says what the rows share, where they share something."""
    shared = _shared_settings(rows)
    return [f"All rows: {' '.join(shared)}."] if shared else []


def paper_table(exhibit: Exhibit, groups: list[list[Row]], store: Store, label: str = "") -> Table:
    """Makes the table from the rows of each data set, which are of the same methods in the same order.

    Raises:
        DataError: no evaluator measures one of its metrics.
    """
    known, rows = metrics(), [row for group in groups for row in group]
    if absent := [metric for metric in exhibit.metrics if metric not in known]:
        raise DataError(f"no evaluator measures {absent[0]!r}{near_misses(absent[0], known)}")
    name, shown = naming(exhibit, rows), [known[metric] for metric in exhibit.metrics]
    headings = [_heading(group) for group in groups]
    columns = [text_column("method", name, words=True), text_column("input", _input, words=True)]
    for place, group in enumerate(groups):
        heading = headings[place] if len(groups) > 1 else ""
        columns += [metric_column(metric, group, place, heading) for metric in shown]
    lines = []
    for same in zip(*groups, strict=True):
        lines.append(line_of(same, columns))
        beside = [published_of(row, exhibit.names, exhibit.source) for row in same]
        if any(beside):
            networks = dict.fromkeys(published.made_on for published in beside if published)
            lines.append(comment(f"paper, on {'; '.join(networks)}", columns, partial(printed, beside)))
    below = [_protocol(rows, shown, headings), *shared_note(rows), *_tests(exhibit, groups, store, shown, name)]
    below += notes([_as_named(row, exhibit) for row in rows], shown)
    return Table(exhibit.caption, [column.head for column in columns], lines, below, label)


def _tests(exhibit: Exhibit, groups: list[list[Row]], store: Store, shown: list[Metric], name: Name) -> list[str]:
    """Returns what tests say of rows in the metrics that rank; of variants, in one that does not if none does."""
    chosen = [metric for metric in shown if metric.ranks]
    if exhibit.variants and not chosen:
        chosen = [tested_metric(shown, [row for group in groups for row in group], store) or shown[0]]
    tested = [Tested(group, metric, compare(group, store, metric)) for group in groups for metric in chosen]
    lines = [note for one in tested for note in _ranking(one, name)]
    return [*lines, *reasons(tested, name), *budgets(groups, name)] if exhibit.variants else lines


def _ranking(tested: Tested, name: Name) -> list[str]:
    """Returns what a test says of each pair of neighbours in a metric, best first."""
    group, metric, comparison = tested
    if comparison is None:
        return []
    names = {row.label: name(row) for row in group}
    pairs = {(pair.better, pair.worse): pair for pair in comparison.differences}
    steps = []
    for better, worse in pairwise(comparison.letters):
        pair = pairs[better, worse]
        sign = ">" if pair.corrected < comparison.alpha else "~"
        steps.append(f"{names[better]} {sign} {names[worse]} ({metric.text(pair.difference)}, {p_text(pair)})")
    return [
        f"{group[0].dataset_title}, {metric.title}, best first, > if told apart and ~ if not: {'; '.join(steps)}; "
        f"paired test over test images and seeds, Holm's correction for all {len(comparison.differences)} pairs."
    ]


def _as_named(row: Row, exhibit: Exhibit) -> Row:
    """Returns a row that the paper has by name as if its own parameters were none: nobody gave them by hand."""
    return replace(row, preset=row.added_preset, given=row.added) if row.label in exhibit.names else row


def _heading(group: list[Row]) -> str:
    features = ", ".join(sorted({row.features for row in group if row.runs}))
    return f"{group[0].dataset_title} ({features})" if features else group[0].dataset_title


def _input(row: Row) -> str:
    return "none" if not row.runs else "images" if row.features == "images" else "features"


def _protocol(rows: list[Row], shown: list[Metric], headings: list[str]) -> str:
    counts = [len(row.records) for row in rows if row.records and not row.stands_for_seeds] or [0]
    count = " to ".join(map(str, sorted({min(counts), max(counts)})))
    spread = f"mean ± standard deviation over {count} seeds" if max(counts) > 1 else "one seed"
    on = f"On test images of {', '.join(headings)}"
    unit = ", per-class top-1 in percent" if any(metric.percent for metric in shown) else ""
    return f"{on}{unit}, {spread}; the best of a column is bold."
