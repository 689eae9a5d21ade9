"""Published numbers, shown beside measured ones where features and split are the published ones."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from zslbench.errors import PluginError
from zslbench.plugins import registry

COLUMNS = ["method", "dataset", "split", "setting", "metric", "value", "source"]
METRICS = {"U->U": "acc_uu", "U->T": "acc_ut", "S->T": "acc_st", "H": "h"}
FEATURES = "res101"
"""The features of the GBU protocol; numbers from others are not comparable."""


@dataclass(frozen=True)
class Published:
    """What one source printed for a method on a data set; fractions in [0, 1] by metric name."""

    source: str
    values: dict[str, float]


def published_table() -> pd.DataFrame:
    """Returns all registered published numbers; values in percent as printed.

    Raises:
        PluginError: a file lacks a column or has a value that is no number.
    """
    tables = []
    for path in registry().published_files:
        table = pd.read_csv(path, dtype=str)
        if missing := [column for column in COLUMNS if column not in table]:
            raise PluginError(f"{path}: the column {missing[0]!r} is missing")
        values = pd.to_numeric(table["value"], errors="coerce")
        if values.isna().any():
            raise PluginError(f"{path}: line {int(values.isna().argmax()) + 2}: the value is not a number")
        tables.append(table.assign(value=values))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)


def published_for(title: str, dataset: str, features: str) -> Published | None:
    """Returns the first source's numbers for a method's title on the proposed split; None where none compares."""
    if features != FEATURES:
        return None
    table = published_table()
    own = table[(table.method == title) & (table.dataset == dataset) & (table.split == "PS")]
    own = own[own.metric.isin(list(METRICS))]
    if own.empty:
        return None
    source = own.source.iloc[0]
    first = own[own.source == source].drop_duplicates("metric")
    return Published(source, {METRICS[m]: v / 100 for m, v in zip(first.metric, first.value, strict=True)})
