"""Means and spreads over seeds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd

from zslbench.api.evaluator import Metric
from zslbench.evaluation.measuring import evaluators
from zslbench.runs.plan import Row


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over n seeds (0 for one)."""

    mean: float
    std: float
    n: int


def spreads(row: Row) -> dict[str, Spread]:
    """Returns the spread of each metric over a row's records."""
    if not row.records:
        return {}
    table = pd.DataFrame([record.metrics for record in row.records])
    return {
        str(name): Spread(float(values.mean()), float(values.std()) if values.count() > 1 else 0.0, int(values.count()))
        for name, values in table.items()
        if values.count()
    }


def metrics() -> dict[str, Metric]:
    """Returns the metrics of all evaluators, in the order of tables."""
    return {metric.name: metric for evaluator in evaluators().values() for metric in evaluator.metrics}


def shown_metrics(rows: list[Row], names: Collection[str]) -> list[Metric]:
    """Returns the metrics of these names, in the order of tables; those of images only where a row has them."""
    of_images = {
        metric.name for evaluator in evaluators().values() if evaluator.needs_images for metric in evaluator.metrics
    }
    present = {name for row in rows for record in row.records for name in record.metrics}
    return [m for name, m in metrics().items() if name in names and (name not in of_images or name in present)]


def figure(spread: Spread | None, metric: Metric, row: Row) -> str:
    """Returns mean and spread as printed in tables: percent with one decimal, other figures with four."""
    if spread is None:
        return "n/a" if row.records or row.refusal else "none"
    unit, digits = (100, 1) if metric.percent else (1, 4)
    text = f"{spread.mean * unit:.{digits}f}"
    return f"{text}±{spread.std * unit:.{digits}f}" if spread.n > 1 else text


def is_best(metric: Metric, spread: dict[str, Spread], table: list[dict[str, Spread]]) -> bool:
    """Whether a row of a table of several is the best in a metric, to six digits."""
    means = [round(other[metric.name].mean, 6) for other in table if metric.name in other]
    if metric.name not in spread or len(table) < 2:
        return False
    return round(spread[metric.name].mean, 6) == (max(means) if metric.higher_is_better else min(means))


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
