"""A search over hyper-parameters, as a table of its best trials."""

from __future__ import annotations

from zslbench.evaluation.measuring import metrics
from zslbench.records.search import Search
from zslbench.report.table import Table, table_of

SHOWN = 8
"""Trials in the table; the log in the store has all."""


def search_table(search: Search, method: str) -> Table:
    """Returns the best trials of a search, and how to use the result of tuning `method`, as it was asked for."""
    metric = metrics()[search.metric]
    names = [name for name in search.space if any(name in trial.params for trial in search.complete)]
    lines = []
    for trial in sorted(search.complete, key=lambda trial: -trial.value)[:SHOWN]:
        values = [_text(trial.params.get(name, "")) for name in names]
        lines.append([*values, metric.text(trial.value), " ".join(map(metric.text, trial.values))])
    title = f"{search.method} on {search.dataset}: {search.origin}; best first"
    table = table_of([*names, metric.title, "folds"], lines, len(names), title)
    counts = [f"{sum(trial.state == state for trial in search.trials)} {state}" for state in ("pruned", "failed")]
    seconds = sum(trial.seconds for trial in search.trials)
    spent = f"{len(search.complete)} complete, {', '.join(counts)}; {seconds:.0f} s"
    reasons = dict.fromkeys(trial.reason for trial in search.trials if trial.reason)
    table.notes.append(f"{spent}; `run {method} --tuned` uses the first row")
    table.notes.extend(f"failed: {reason}" for reason in reasons)
    return table


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
