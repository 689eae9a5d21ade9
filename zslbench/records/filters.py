"""Filters of lists: `method=spaen dataset=cub,sun tuned h>30`."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from zslbench.api.metric import Metric
from zslbench.errors import UsageError
from zslbench.records.listing import Listed, Listing

KEYS = (
    "id",
    "date",
    "method",
    "dataset",
    "features",
    "scale",
    "settings",
    "seed",
    "shots",
    "on",
    "fold",
    "size",
    "note",
)
"""Keys beside metrics, and `param_NAME`, a hyper-parameter that differs from its default."""
PARAM = "param_"
WORDS: dict[str, Callable[[Listed], bool]] = {
    "tuned": lambda run: run.settings == "tuned",
    "default": lambda run: run.settings == "default",
    "preset": lambda run: run.settings.startswith("preset"),
    "given": lambda run: run.settings == "given",
    "external": lambda run: run.settings == "external",
    "trial": lambda run: run.on == "validation",
    "model": lambda run: run.model,
    "noted": lambda run: bool(run.note),
}
"""Words that a run fits or not."""
_PAIR = re.compile(r"([^<>=!]+)(<=|>=|!=|=|<|>)(.*)", re.DOTALL)
_MB = 1e6


@dataclass(frozen=True)
class Condition:
    """One word of a filter; `text` is as it was typed."""

    text: str
    key: str
    operator: str
    value: str


def chosen(found: Listing, texts: Sequence[str]) -> list[Listed]:
    """Returns the runs that fit every word of these filters.

    Raises:
        UsageError: a word or key is unknown, or a value is no number where one is needed.
    """
    conditions = [_condition(word, found) for text in texts for word in _words(text)]
    return [run for run in found.runs if all(_fits(run, one, found.metrics) for one in conditions)]


def named(texts: Sequence[str]) -> list[str]:
    """Returns the keys that these filters name."""
    pairs = [_PAIR.fullmatch(word) for text in texts for word in _words(text)]
    return [pair.group(1) for pair in pairs if pair]


def in_order(found: Listing, runs: Sequence[Listed], sort: str) -> list[Listed]:
    """Returns runs by a key: metrics with the best first, all else rising; `-KEY` turns that round, gaps come last.

    Raises:
        UsageError: the key is unknown.
    """
    key = sort.removeprefix("-")
    check_key(key, found, f"--sort {sort}")
    metric = found.metrics.get(key)
    falling = (metric is not None and metric.higher_is_better) != sort.startswith("-")
    having = [run for run in runs if value_of(run, key) not in (None, "")]
    numeric = all(isinstance(value_of(run, key), int | float) for run in having)
    having.sort(key=lambda run: value_of(run, key) if numeric else str(value_of(run, key)), reverse=falling)
    return having + [run for run in runs if value_of(run, key) in (None, "")]


def check_key(key: str, found: Listing, option: str) -> None:
    """Raises a UsageError that names the known keys where this is none of them."""
    params = {f"{PARAM}{name}" for run in found.runs for name in run.params}
    if key in KEYS or key in found.metrics or key in params:
        return
    known = ", ".join([*KEYS, *found.metrics])
    raise UsageError(f"{option}: unknown key {key!r}; known: {known}, {PARAM}NAME")


def value_of(run: Listed, key: str) -> Any:
    """Returns what a run has under a key; None where it has nothing."""
    if key in KEYS:
        return getattr(run, key)
    return run.params.get(key.removeprefix(PARAM)) if key.startswith(PARAM) else run.metrics.get(key)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--filter {text}: {error}; a value with blanks stands in quotation marks") from error


def _condition(word: str, found: Listing) -> Condition:
    pair = _PAIR.fullmatch(word)
    if pair is None:
        if word not in WORDS:
            raise UsageError(f"--filter {word}: unknown word; known: {', '.join(WORDS)}, or KEY=VALUE, KEY>VALUE")
        return Condition(word, word, "", "")
    key, operator, value = pair.groups()
    check_key(key, found, f"--filter {word}")
    if operator not in ("=", "!=") and key != "date" and _number(value) is None:
        raise UsageError(f"--filter {word}: {value!r} is no number")
    return Condition(word, key, operator, value)


def _fits(run: Listed, condition: Condition, metrics: Mapping[str, Metric]) -> bool:
    if not condition.operator:
        return WORDS[condition.key](run)
    value, operator = value_of(run, condition.key), condition.operator
    metric = metrics.get(condition.key)
    if operator in ("=", "!="):
        same = value is not None and any(_same(value, one, metric) for one in condition.value.split(","))
        return same == (operator == "=")
    if condition.key == "date":
        return _compared(str(value), operator, condition.value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    shown = value * 100 if metric and metric.percent else value / _MB if condition.key == "size" else value
    return _compared(float(shown), operator, float(condition.value))


def _same(value: Any, text: str, metric: Metric | None) -> bool:
    """Whether a value is what was typed: figures as tables show them, texts in any case and with `*`."""
    if metric is not None:
        return metric.text(value) == text or (_number(text) is not None and value == _number(text))
    if isinstance(value, int | float) and not isinstance(value, bool) and _number(text) is not None:
        return value == _number(text)
    return fnmatchcase(str(value).casefold(), text.casefold())


def _compared(a: Any, operator: str, b: Any) -> bool:
    return bool({"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[operator])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
