"""Which rows really differ: tests of stored runs, through the influences that their evaluators know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Metric
from zslbench.evaluation.measuring import influence
from zslbench.evaluation.significance import Comparison, Estimate, compare_rows
from zslbench.records.record import RunRecord
from zslbench.runs.row import Row


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
