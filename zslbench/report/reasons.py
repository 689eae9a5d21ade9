"""What the tests say about a method's reason: sentences that compare each ablation and control with the method."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from zslbench.api.evaluator import Metric
from zslbench.evaluation.significance import Comparison, Difference
from zslbench.report.rows import treatment
from zslbench.runs.row import Row

Name = Callable[[Row], str]


class Tested(NamedTuple):
    """Rows of one data set, compared in a metric; None where fewer than two of them can be."""

    rows: list[Row]
    metric: Metric
    comparison: Comparison | None


def reasons(tested: list[Tested], name: Name) -> list[str]:
    """Returns each variant's question, and the answer of each data set in each metric.

    The rows are those of an exhibit of variants: one is the method itself, all others are variants on its card.
    """
    lines = []
    for place, row in enumerate(tested[0].rows):
        assert row.entrant is not None  # scores made elsewhere are no variant
        variant = row.entrant.card.variants(row.entrant.entry.name).get(row.label)
        if variant is not None:
            answers = [_answer(one, _itself(one.rows), one.rows[place], name) for one in tested]
            lines.append(" ".join([variant.question, *answers]))
    return lines


def _itself(rows: list[Row]) -> Row:
    return next(row for row in rows if row.entrant is not None and row.label == row.entrant.entry.name)


def _answer(tested: Tested, itself: Row, variant: Row, name: Name) -> str:
    _, metric, comparison = tested
    names = {row.label: name(row) for row in (itself, variant)}
    start = f"{itself.dataset_title}, {metric.title}:"
    pairs = comparison.differences if comparison else ()
    pair = next((pair for pair in pairs if {pair.better, pair.worse} == set(names)), None)
    if comparison is None or pair is None:
        return f"{start} no test of {names[variant.label]} ({_obstacle([itself, variant], metric, name)})."
    better, worse, by = names[pair.better], names[pair.worse], metric.text(pair.difference) + " points" * metric.percent
    figures = f"95% interval {' to '.join(map(metric.text, pair.interval()))}, corrected {p_text(pair)}"
    if min(len(itself.records), len(variant.records)) == 1:
        figures += "; one seed, so what other seeds would give is not in it"
    if pair.corrected < comparison.alpha:
        return f"{start} {better} is better than {worse} by {by} ({figures})."
    both = " and ".join(names.values())
    return f"{start} {both} are not told apart ({better} is ahead by {by}, {figures})."


def _obstacle(rows: list[Row], metric: Metric, name: Name) -> str:
    for row in rows:
        if not row.records:
            return f"{name(row)}: {row.refusal or 'none of its runs is there'}"
    return f"{metric.title} of these runs cannot be tested"


def p_text(pair: Difference) -> str:
    """Returns how surprising a difference is, corrected for all pairs of its table: `p = 0.041`."""
    return "p < 0.001" if pair.corrected < 0.001 else f"p = {pair.corrected:.3f}"


def budgets(groups: list[list[Row]], name: Name) -> list[str]:
    """Returns over how many settings rows were tuned, if any was; a warning where it is not the same number for all."""
    rows = [row for group in groups for row in group if row.runs]
    tuned = next((row for row in rows if row.search), None)
    if tuned is None:
        return []
    on = {id(row): f" on {row.dataset_title}" if len(groups) > 1 else "" for row in rows}
    counts: dict[int, list[str]] = {}
    for row in rows:
        counts.setdefault(len(row.search.trials) if row.search else 0, []).append(name(row) + on[id(row)])
    budget = {n: f"{n} trial{'s' * (n > 1)}" if n else "nothing left to search" for n in counts}
    if len(counts) == 1:
        return [f"Every row is {treatment(tuned)}, {budget[next(iter(counts))]} each."]
    each = "; ".join(f"{', '.join(names)}: {budget[count]}" for count, names in counts.items())
    return [f"warning: these rows were not tuned over the same number of settings ({each})."]
