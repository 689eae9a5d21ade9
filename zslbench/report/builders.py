"""Builders of tables: one table of rows for each data set, with or without tests, and tables of a search's trials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from itertools import groupby
from typing import Any

from zslbench.api.evaluator import Metric
from zslbench.evaluation.measuring import evaluators, metrics
from zslbench.evaluation.significance import Comparison, Difference
from zslbench.records.search import Search
from zslbench.report.rows import (
    ABOUT,
    COST,
    GAP,
    Kept,
    RowColumn,
    by_pretraining,
    compare,
    lines_of,
    metric_column,
    name_of,
    notes,
    peek_columns,
    shown_metrics,
    spreads,
    tested_metric,
    text_column,
)
from zslbench.report.table import Table, table_of
from zslbench.runs.row import Row

BEFORE = [
    "dataset",
    "features",
    "pretraining",
    "semantics",
    "scale",
    "semantics_scale",
    "label",
    "method",
    "settings",
    "uses",
    "hyper_parameters",
]
"""What is said of a row before its metrics, in CSV and JSON."""


def comparison_tables(rows: list[Row], chosen: list[Metric] | None = None) -> list[Table]:
    """Returns a table for each data set, the notes on all of them below the last.

    What all rows of a table share is in its title. `chosen` are the metrics, where not those shown by default.
    """
    tables, every = [], dict[Metric, None]()
    for title, group in groupby(rows, key=lambda row: row.dataset_title):
        alike = by_pretraining(group)
        members = [row for some in alike for row in some]
        shown = chosen or shown_metrics([r for row in members for r in row.records])
        every |= dict.fromkeys(shown)
        name = text_column("method", lambda row: name_of(row) + " (tuned)" * bool(row.search), words=True)
        columns, facts = [name], [title]
        for heading, text in {"uses": lambda row: row.uses, "input": input_of}.items():
            texts = {text(row) for row in members}
            facts += texts if len(texts) == 1 else []
            columns += [] if len(texts) == 1 else [text_column(heading, text, words=True, rank=ABOUT)]
        columns += [metric_column(metric, members) for metric in shown]
        columns += [text_column("train s", _fit_seconds, rank=COST), *peek_columns(members)]
        lines = [line for row in members for line in lines_of(row, columns, _above(row) if len(alike) > 1 else "")]
        tables.append(Table(_title(members, facts), [column.head for column in columns], lines))
    if tables:
        tables[-1].notes.extend(notes(rows, every))
    return tables


def field_tables(rows: list[Row], store: Kept, chosen: list[Metric] | None = None) -> list[Table]:
    """Returns a table for each data set, with rows in groups by what they use, and tests of which really differ.

    `store` has the decisions of the runs; `chosen` are the metrics, where not those shown by default.
    """
    return [_field_table(group, store, chosen) for group in in_groups(rows)]


def in_groups(rows: list[Row]) -> list[list[Row]]:
    """Returns the rows of each data set: those of one pretraining one after the other, of these those of one use."""
    groups = []
    for _, group in groupby(rows, key=lambda row: row.source):
        members = [row for alike in by_pretraining(group) for row in _by_use(alike)]
        groups.append(members)
    return groups


def _by_use(rows: list[Row]) -> list[Row]:
    uses = list(dict.fromkeys(row.uses for row in rows))
    return sorted(rows, key=lambda row: uses.index(row.uses))


def _field_table(rows: list[Row], store: Kept, chosen: list[Metric] | None) -> Table:
    shown = chosen or shown_metrics([r for row in rows for r in row.records])
    tested, alike = tested_metric(shown, rows, store), by_pretraining(rows)
    made = [compare(some, store, tested) for some in alike] if tested else []
    comparisons = [comparison for comparison in made if comparison]
    letters = {label: letter for comparison in comparisons for label, letter in comparison.letters.items()}
    columns = [text_column("method", name_of, words=True)]
    for metric in shown:
        columns += [metric_column(metric, rows), *(_test_columns(metric, letters) if metric is tested else [])]
    columns += [text_column("total s", lambda row: _whole(_seconds(row)), rank=COST)]
    columns += [text_column("MB", lambda row: _whole(_megabytes(row)), rank=COST), *peek_columns(rows)]
    after = [*([f"{tested.name}_group"] if tested else []), "seconds", "peak_memory_mb", "oracle", "refused"]
    return Table(
        title=_title(rows, [rows[0].dataset_title, *sorted({row.features for row in rows if row.spec})]),
        columns=[column.head for column in columns],
        lines=[
            line
            for row in rows
            for line in lines_of(row, columns, f"{row.uses}, {_above(row)}" if len(alike) > 1 else row.uses)
        ],
        notes=_field_notes(rows, tested, comparisons) + notes(rows, shown),
        fields=[
            *BEFORE,
            *(["shots"] * any(_shots(row) for row in rows)),
            "seeds",
            *(part for name in _exported(rows) for part in (name, f"{name}_std")),
            *after,
        ],
        data=[_data(row, {after[0]: letters.get(row.label, "")} if tested else {}) for row in rows],
        pairs=[_pair(pair) for comparison in comparisons for pair in comparison.differences],
    )


def _exported(rows: list[Row]) -> list[str]:
    """Returns the metrics that files of a table have columns for; those measured on request, where a row has them."""
    known = {name for row in rows for record in row.records for name in record.metrics}
    return [m.name for e in evaluators().values() for m in e.metrics if m.name in known or not e.on_request]


def _above(row: Row) -> str:
    return f"pretraining: {row.pretraining}"


def _title(rows: list[Row], facts: list[str]) -> str:
    """Returns a title from the data set's and what all rows share."""
    on = "validation classes" if any(row.spec and row.spec.on == "validation" for row in rows) else "test images"
    seeds = max((len(row.records) for row in rows), default=0)
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    return f"{facts[0]}: {', '.join([*facts[1:], f'per-class top-1 in percent on {on}', spread])}"


def input_of(row: Row) -> str:
    """Returns what the method is given, its scaling, and class embeddings that are not the data set's own as such."""
    spec = row.spec
    if spec is None:
        return "none" if row.refusal else "unknown"
    given = spec.features
    if spec.input == "images" and row.records:
        params = row.records[0].params
        given = f"{params['image_size']}x{params['image_size']} images, {params['backbone']}"
    scale = "" if spec.scale == "none" else spec.scale
    semantics = [spec.semantics, "" if spec.semantics_scale == "none" else spec.semantics_scale]
    embeddings = "" if semantics == ["att", ""] else " ".join(filter(None, semantics))
    return ", ".join(filter(None, [given, scale, embeddings]))


def _fit_seconds(row: Row) -> str:
    times = [record.training.seconds for record in row.records if record.training]
    return f"{sum(times) / len(times):.1f}" if times else ""


def _test_columns(metric: Metric, letters: Mapping[str, str]) -> list[RowColumn]:
    def interval(row: Row) -> str:
        ends = [record.intervals[metric.name] for record in row.records if metric.name in record.intervals]
        return " to ".join(metric.text(sum(end[side] for end in ends) / len(ends)) for side in (0, 1)) if ends else ""

    return [
        text_column("95 %", interval, rank=ABOUT),
        text_column("group", lambda row: letters.get(row.label, ""), rank=GAP),
    ]


def _seconds(row: Row) -> float | None:
    """Returns what a row cost: all fits of all seeds, and its search; None where nothing was trained here."""
    fits = [record.training for record in row.records if record.training]
    search = sum(trial.seconds for trial in row.search.trials) if row.search else 0.0
    return sum(fit.seconds + fit.seconds_validation for fit in fits) + search if fits else None


def _megabytes(row: Row) -> float | None:
    """Returns the largest memory of a row's runs; None where none was measured."""
    known = [record.provenance for record in row.records if "peak_memory_mb" in record.provenance]
    return max((float(provenance["peak_memory_mb"]) for provenance in known), default=None)


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _field_notes(rows: list[Row], tested: Metric | None, comparisons: list[Comparison]) -> list[str]:
    result = []
    if tested and comparisons:
        counts = [len(comparison.differences) for comparison in comparisons]
        correction = f", Holm's correction for all {' and '.join(map(str, counts))} pairs" if max(counts) > 1 else ""
        result.append(
            f"group: rows that share a letter are not told apart in {tested.title} (paired test over test images and "
            f"seeds{correction}, {comparisons[0].alpha:.0%})."
        )
    if tested:
        result.append(f"95 %: bootstrap interval of {tested.title} over test images.")
    result.append("total s: time of all fits and of the search. MB: peak memory.")
    if extents := sorted({row.search.extent for row in rows if row.search}):
        chosen = "hyper-parameters and the number of epochs were chosen on validation classes"
        result.append(f"{chosen}: {'; '.join(extents)}.")
    return result


def _data(row: Row, group: dict[str, str]) -> dict[str, Any]:
    time, memory, spec = _seconds(row), _megabytes(row), row.spec
    of_spec = (spec.semantics, spec.scale, spec.semantics_scale) if spec else ("", "", "")
    before = [
        row.dataset_title,
        row.features,
        row.pretraining,
        *of_spec,
        row.label,
        row.title,
        row.settings,
        row.uses,
        row.origin,
    ]
    data: dict[str, Any] = {**dict(zip(BEFORE, before, strict=True)), "seeds": len(row.records), **group}
    data["seconds"] = None if time is None else round(time, 1)
    data["peak_memory_mb"] = None if memory is None else round(memory)
    data |= {"oracle": row.oracle, "refused": row.refusal, **_shots(row)}
    for name, spread in spreads(row).items():
        data[name], data[f"{name}_std"] = spread.mean, spread.std
    return data


def _shots(row: Row) -> dict[str, Any]:
    return {} if row.spec is None or row.spec.shots is None else {"shots": row.spec.shots}


def _pair(pair: Difference) -> dict[str, Any]:
    """Returns a pair of rows, by their labels; JSON has no infinity, which equal rows have as degrees of freedom."""
    return {name: None if value == math.inf else value for name, value in asdict(pair).items()}


SHOWN = 8
"""Trials in the table; the log in the store has all."""


def search_table(search: Search, method: str) -> Table:
    """Returns the best trials of a search, and how to use the result of tuning `method`, as it was asked for."""
    metric = metrics()[search.metric]
    names = [name for name in search.space if any(name in trial.params for trial in search.complete)]
    lines = []
    for trial in sorted(search.complete, key=lambda trial: -search.worth(trial.value))[:SHOWN]:
        values = [_text(trial.params.get(name, "")) for name in names]
        lines.append([*values, metric.text(trial.value), " ".join(map(metric.text, trial.values))])
    shots = "" if search.shots is None else f" with --shots {search.shots}"
    title = f"{search.method} on {search.dataset}{shots}: {search.origin}; best first"
    table = table_of([*names, metric.title, "folds"], lines, len(names), title)
    counts = [f"{sum(trial.state == state for trial in search.trials)} {state}" for state in ("pruned", "failed")]
    seconds = sum(trial.seconds for trial in search.trials)
    spent = f"{len(search.complete)} complete, {', '.join(counts)}; {seconds:.0f} s"
    reasons = dict.fromkeys(trial.reason for trial in search.trials if trial.reason)
    table.notes.append(f"{spent}; `run {method} --tuned{shots.removeprefix(' with')}` uses the first row")
    table.notes.extend(f"failed: {reason}" for reason in reasons)
    return table


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
