"""Tables of stored runs: one line for each as wide as the terminal, and what differs between two."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from zslbench.api.metric import Metric
from zslbench.errors import printable
from zslbench.records.difference import Both, Differences
from zslbench.records.filters import value_of
from zslbench.records.listing import Listed, Listing
from zslbench.report.table import Table, table_of

GAP = 2
"""Blanks between columns."""
WORDS, FEWEST = 40, 10
"""Letters of a note or of hyper-parameters that a line shows, at most and at least."""
WHOLE = 2
"""Columns that are always there, and whole: the run and the method."""
LARGEST = 10
"""Classes that a difference shows for each task; `--json` has all."""


@dataclass(frozen=True)
class _Column:
    """A column that a list may have: its heading, what it shows of a run, and whether that may be cut."""

    title: str
    text: Callable[[Listed], str]
    words: bool = False
    cut: bool = False


def runs_text(found: Listing, runs: Sequence[Listed], width: int, wanted: Sequence[str] = ()) -> str:
    """Returns headings, and one line for each run, no wider than `width`; a last line names columns without room.

    `wanted` are metrics to show before others. It is no `Table`: renderers take seconds for ten thousand lines.
    """
    metrics = _by_importance(found, runs, wanted)
    columns = [
        _Column("run", lambda run: run.id, words=True),
        _Column("method", lambda run: run.method, words=True),
        _Column("data set", lambda run: run.dataset + (f" fold {run.fold}" if run.on == "validation" else ""), True),
        _Column("seed", lambda run: str(run.seed)),
        _Column("settings", lambda run: run.settings, words=True),
        *map(_metric_column, metrics[:2]),
        _Column("note", lambda run: run.note, words=True, cut=True),
        _Column("date", lambda run: run.date[:10], words=True),
        *map(_metric_column, metrics[2:]),
        _Column("model", lambda run: "kept" if run.model else "", words=True),
        _Column("MB", lambda run: f"{run.size / 1e6:.1f}"),
        _Column("parameters", lambda run: _pairs(run.params), words=True, cut=True),
    ]
    shown: list[list[str]] = []
    left, room = [], width + GAP
    for column in columns:
        if not any(column.text(run) for run in runs):
            continue
        if len(shown) >= WHOLE and len(column.title) + GAP > room:
            left.append(column.title)
            continue
        texts = [printable(column.text(run)) if column.words else column.text(run) for run in runs]
        needed = max(map(len, [column.title, *texts]))
        if column.cut:
            needed = min(needed, WORDS, max(FEWEST, room - GAP))
        if len(shown) >= WHOLE and needed + GAP > room:
            left.append(column.title)
            continue
        room -= needed + GAP
        shown.append([text.ljust(needed) if column.words else text.rjust(needed) for text in (column.title, *texts)])
        if column.cut:
            shown[-1] = [_cut(text.rstrip(), needed).ljust(needed) for text in shown[-1]]
    lines = [(" " * GAP).join(texts).rstrip() for texts in zip(*shown, strict=True)]
    note = f"no room for {', '.join(left)}; --csv has all" if left else ""
    return "\n".join([*lines, *textwrap.wrap(note, width)])


def data_table(found: Listing, runs: Sequence[Listed]) -> Table:
    """Returns all that is known of each run, for CSV; metrics and hyper-parameters have columns of their own."""
    rows = []
    for run in runs:
        values = asdict(run)
        metrics, params = values.pop("metrics"), values.pop("params")
        rows.append({**values, **metrics, **{f"param_{name}": _plain(value) for name, value in params.items()}})
    first = [name for name in Listed.__dataclass_fields__ if name not in ("metrics", "params")]
    names = dict.fromkeys([*first, *found.metrics, *(name for row in rows for name in row)])
    return Table("", [], [], fields=list(names), data=rows)


def difference_tables(found: Differences, metrics: dict[str, Metric], names: Both, width: int) -> list[Table]:
    """Returns tables of what differs between two runs, as wide as `width`; what does not differ is not there."""
    tables = [
        _values_table(title, values, names, width)
        for title, values in (("settings", found.settings), ("environment", found.environment))
        if values
    ]
    lines = []
    for name, (a, b) in found.metrics.items():
        metric = metrics.get(name, Metric(name, name, percent=False))
        change = metric.text(b - a, "+") if a is not None and b is not None else ""
        lines.append([metric.title, *("" if value is None else metric.text(value) for value in (a, b)), change])
    tables.append(table_of(["metric", *names, "change"], lines))
    for task, classes in found.per_class.items():
        body = [
            [_cut(name, width - 40), f"{100 * a:.1f}", f"{100 * b:.1f}", f"{100 * (b - a):+.1f}"]
            for name, (a, b) in list(classes.items())[:LARGEST]
        ]
        table = table_of([f"class, {task.upper()}", *names, "change"], body)
        hidden = len(classes) - len(body)
        tables.append(replace(table, notes=[f"{hidden} more classes differ; --json has all"] if hidden else []))
    return tables


def _values_table(title: str, values: dict[str, Both], names: Both, width: int) -> Table:
    """Returns what two runs say of each thing; long values are cut."""
    first = min(max(len(title) + 2, *map(len, values)), width // 3)
    room = (width - first - 2 * GAP) // 2
    body = [[_cut(name, first), *(_cut(_plain(value), room) for value in both)] for name, both in values.items()]
    cut = any(len(_plain(value)) > room for both in values.values() for value in both)
    table = table_of([title, *names], body, left=3)
    return replace(table, notes=["long values are cut; --json has them whole"] if cut else [])


def _by_importance(found: Listing, runs: Sequence[Listed], wanted: Sequence[str]) -> list[Metric]:
    """Returns the metrics that one of the runs has: those wanted, those that rank, those shown by default."""
    having = [metric for name, metric in found.metrics.items() if any(name in run.metrics for run in runs)]
    chosen = [found.metrics[name] for name in wanted if name in found.metrics]
    shown = sorted((metric for metric in having if metric.shown), key=lambda metric: not metric.ranks)
    return list(dict.fromkeys([*chosen, *shown]))


def _metric_column(metric: Metric) -> _Column:
    def text(run: Listed) -> str:
        value = value_of(run, metric.name)
        return "" if value is None else metric.text(value)

    return _Column(metric.title, text)


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}…"
