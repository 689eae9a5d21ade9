"""A search over hyper-parameters, for the terminal."""

from __future__ import annotations

from rich.console import Console

from zslbench.evaluation.measuring import metrics
from zslbench.records.search import Search
from zslbench.report.render import show
from zslbench.report.table import table_of

SHOWN = 8
"""Trials in the table; the log in the store has all."""


def print_search(search: Search, method: str, *, plain: bool) -> None:
    """Prints the best trials of a search, and how to use the result of tuning `method`, as it was asked for."""
    console = Console(no_color=plain, highlight=False, soft_wrap=True)
    names = [name for name in search.space if any(name in trial.params for trial in search.complete)]
    ranked = sorted(search.complete, key=lambda trial: -trial.value)
    rows = [
        [*(_text(trial.params.get(name, "")) for name in names), _mean(trial.values), _folds(trial.values)]
        for trial in ranked[:SHOWN]
    ]
    console.print(f"{search.method} on {search.dataset}: {search.origin}; best first", markup=False, style="bold")
    head = [*names, metrics()[search.metric].title, "folds"]
    show([table_of(head, rows)], console, plain=True)
    counts = {state: sum(trial.state == state for trial in search.trials) for state in ("pruned", "failed")}
    seconds = sum(trial.seconds for trial in search.trials)
    console.print(
        f"{len(search.complete)} complete, {counts['pruned']} pruned, {counts['failed']} failed; {seconds:.0f} s; "
        f"`run {method} --tuned` uses the first row",
        markup=False,
        style="dim",
    )
    for reason in dict.fromkeys(trial.reason for trial in search.trials if trial.reason):
        console.print(f"failed: {reason}", markup=False, style="dim")


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _mean(values: list[float]) -> str:
    return f"{100 * sum(values) / len(values):.2f}"


def _folds(values: list[float]) -> str:
    return " ".join(f"{100 * value:.1f}" for value in values)
