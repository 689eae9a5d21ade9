"""Means and spreads over seeds, and which metrics a table shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zslbench.api.evaluator import Metric
from zslbench.errors import UsageError, near_misses
from zslbench.evaluation.measuring import evaluators, metrics
from zslbench.records.record import RunRecord
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
    known = {name.casefold(): metric for metric in metrics().values() for name in (metric.title, metric.name)}
    words = [word.strip() for text in ([texts] if isinstance(texts, str) else texts) for word in text.split(",")]
    for word in words:
        if word.casefold() not in known:
            raise UsageError(f"--metrics: unknown metric {word!r}{near_misses(word.casefold(), known)}")
    return list(dict.fromkeys(known[word.casefold()] for word in words))


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
