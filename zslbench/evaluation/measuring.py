"""Measures scores with evaluators: metrics with intervals, per-class accuracies, and arrays to store with a record."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zslbench.api.evaluator import Decisions, Evaluator, Metric, Scorer, among_unseen
from zslbench.api.views import ClassSet, TestView
from zslbench.discovery.plugins import registry
from zslbench.errors import NeedsScores, NotApplicable, PluginError, UsageError, ZSLBenchError, near_misses
from zslbench.evaluation.accuracy import accuracy_by_class, draw_weights
from zslbench.evaluation.scorers import StoredScorer

Array = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

REPLICATES, REPLICATES_AT_ONCE = 500, 50
"""Bootstrap replicates behind each interval."""
WEIGHTS_AT_ONCE = 2**24
"""Bootstrap weights held in memory at a time: 128 MB. From 335,544 images on there are fewer replicates at once."""


@cache
def evaluators() -> dict[str, type[Evaluator]]:
    """Returns the installed evaluators by name; a plugin's that cannot be loaded is warned about and left out."""
    usable: dict[str, type[Evaluator]] = {}
    owners: dict[str, str] = {}
    for entry in registry().entries("evaluator"):
        try:
            evaluator = registry().resolve("evaluator", entry.name, Evaluator)
        except PluginError as error:
            warnings.warn(str(error), stacklevel=2)
            continue
        names = [metric.name for metric in evaluator.metrics]
        if taken := [name for name in names if name in owners]:
            problem = f"its metric {taken[0]!r} belongs to {owners[taken[0]]!r}"
            warnings.warn(f"evaluator {entry.name!r} is left out: {problem}", stacklevel=2)
            continue
        owners.update(dict.fromkeys(names, entry.name))
        usable[entry.name] = evaluator
    return usable


def metrics() -> dict[str, Metric]:
    """Returns the metrics of all evaluators by name, in the order of tables."""
    return {metric.name: metric for evaluator in evaluators().values() for metric in evaluator.metrics}


def metric_name(text: str, option: str = "") -> str:
    """Returns the name of the metric that has this name or title, in any case; `option` is named where there is none.

    Raises:
        UsageError: there is none, near misses are suggested; or several have this title.
    """
    titles = {name: metric.title for name, metric in metrics().items()}
    if text in titles:
        return text
    found = [name for name, title in titles.items() if text.casefold() in (name.casefold(), title.casefold())]
    if not found:
        near = near_misses(text, titles, {title: name for name, title in titles.items()})
        raise UsageError(f"{option}unknown metric {text!r}{near}")
    if len(found) > 1:
        raise UsageError(f"{option}metric {text!r} is {' or '.join(map(repr, found))}; give one of these names")
    return found[0]


@dataclass
class Measured:
    """What evaluators say of one run.

    Attributes:
        metrics: by name.
        intervals: 95 % bootstrap intervals, where they were asked for.
        not_applicable: evaluator -> why the method cannot answer it.
        measured: evaluator -> its version; each has metrics, or is not applicable.
        unmeasured: evaluator -> why it could not be asked at all.
        arrays: what evaluators want stored beside the record, each name after its evaluator's.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    not_applicable: dict[str, str] = field(default_factory=dict)
    measured: dict[str, int] = field(default_factory=dict)
    unmeasured: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


class Measurement:
    """Some evaluators at work on one run: what some choose on validation classes, then the metrics."""

    def __init__(self, chosen: Mapping[str, type[Evaluator]]) -> None:
        self._evaluators = {name: evaluator() for name, evaluator in chosen.items()}
        self._unprepared: dict[str, str] = {}

    def prepare(self, validation: Scorer) -> dict[str, float]:
        """Has evaluators choose on validation classes; returns the metrics there of those that choose nothing."""
        found = Measured()
        for name, evaluator in self._evaluators.items():
            if not evaluator.needs_validation:
                _ask(name, evaluator, validation, None, found)
                continue
            try:
                evaluator.prepare(validation)
            except NotApplicable as reason:
                self._unprepared[name] = str(reason)
            except Exception as error:
                self._unprepared[name] = broken(name, error)
        return found.metrics

    def refuse(self, reason: str) -> None:
        """Tells evaluators that choose on validation classes why there are none."""
        self._unprepared |= {name: reason for name, evaluator in self._evaluators.items() if evaluator.needs_validation}

    def measure(self, scorer: Scorer, replicates: int | None = None) -> Measured:
        """Asks each evaluator; for what is to be stored, with its arrays, and intervals from bootstrap replicates."""
        found = Measured()
        draws = None if replicates is None else replicates_of(scorer.view.y, replicates)
        for name, evaluator in self._evaluators.items():
            if name in self._unprepared:
                found.not_applicable[name] = self._unprepared[name]
            else:
                _ask(name, evaluator, scorer, draws, found)
            if name not in found.unmeasured:
                found.measured[name] = evaluator.version
        return found


def _ask(name: str, evaluator: Evaluator, scorer: Scorer, draws: Iterable[Array] | None, found: Measured) -> None:
    try:
        values = evaluator.evaluate(scorer)
        resampled = [evaluator.resample(scorer, weights) for weights in draws or ()]
        _check_metrics(evaluator, values)
        stored = {} if draws is None else evaluator.arrays(scorer)
    except NeedsScores as reason:
        found.unmeasured[name] = str(reason)
        return
    except NotApplicable as reason:
        found.not_applicable[name] = str(reason)
        return
    except ZSLBenchError:
        raise
    except Exception as error:
        found.not_applicable[name] = broken(name, error)
        return
    found.metrics.update(values)
    found.arrays |= {f"{name}/{key}": array for key, array in stored.items()}
    found.intervals |= intervals_of(resampled)


@dataclass(frozen=True)
class Replicates(Iterable[Array]):
    """Bootstrap weights of test images, `(R, N)` each, drawn whenever they are gone through; always the same."""

    y: NDArray[np.int64]
    count: int

    @property
    def at_once(self) -> int:
        """How many replicates are drawn together."""
        return max(1, min(REPLICATES_AT_ONCE, WEIGHTS_AT_ONCE // max(1, len(self.y))))

    def __iter__(self) -> Iterator[Array]:
        for seed, start in enumerate(range(0, self.count, self.at_once)):
            yield draw_weights(self.y, min(self.at_once, self.count - start), seed)


def replicates_of(y: NDArray[np.int64], count: int = REPLICATES) -> Iterable[Array]:
    """Returns bootstrap weights of test images of these classes, `(R, N)` each; held in memory if they are few."""
    drawn = Replicates(y, count)
    return list(drawn) if count * len(y) <= WEIGHTS_AT_ONCE else drawn


def intervals_of(resampled: Sequence[Mapping[str, Array]]) -> dict[str, tuple[float, float]]:
    """Returns the 95 % interval of each metric from its values under the replicates."""
    found = {}
    for metric in resampled[0] if resampled else ():
        low, high = np.percentile(np.concatenate([part[metric] for part in resampled]), [2.5, 97.5])
        found[metric] = (float(low), float(high))
    return found


def remarks(values: Mapping[str, float]) -> list[tuple[str, str]]:
    """Returns what evaluators warn of in a run that has these metrics: the name of each, and the remark."""
    found: list[tuple[str, str]] = []
    for name, evaluator in evaluators().items():
        if own := {metric.name: values[metric.name] for metric in evaluator.metrics if metric.name in values}:
            try:
                found += [(name, remark) for remark in evaluator().remarks(own)]
            except Exception as error:
                broken(name, error)
    return found


def owner_of(metric: str) -> str:
    """Returns the name of the evaluator that measures something; empty where none does."""
    return next((name for name, e in evaluators().items() if any(own.name == metric for own in e.metrics)), "")


def influence(
    metric: str, values: Mapping[str, float], class_names: Sequence[str], stored: Arrays, no_conventional: str = ""
) -> NDArray[np.float64] | None:
    """Returns the influence of each test image on a metric, `(N,)`; None where it has none.

    `values`, `class_names`, `stored` and `no_conventional` are the metrics, classes, arrays and reason of a record.
    """
    name = owner_of(metric)
    own = {key.removeprefix(f"{name}/"): array for key, array in stored.items() if key.startswith(f"{name}/")}
    scorer = stored_scorer(stored, view_of(stored, class_names), no_conventional)
    try:
        found = evaluators()[name]().influence(scorer, values, own).get(metric) if name else None
        if found is not None and (found.shape != scorer.view.y.shape or not np.isfinite(found).all()):
            raise ValueError(f"its influences on {metric!r} are not a finite number for each test image")
    except NotApplicable:
        return None
    except Exception as error:
        broken(name, error)
        return None
    return found


def _check_metrics(evaluator: Evaluator, values: Mapping[str, float]) -> None:
    names = {metric.name for metric in evaluator.metrics}
    if strange := sorted(set(values) - names):
        raise ValueError(f"it returned {strange[0]!r}, which is not among its metrics")
    if wrong := [name for name, value in values.items() if not np.isfinite(value)]:
        raise ValueError(f"its {wrong[0]!r} is not finite")


def broken(name: str, error: Exception) -> str:
    """Warns about an evaluator that fails, which costs its own metrics and nothing else; returns the reason."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    warnings.warn(
        f"evaluator {name!r} of plugin {registry().entry('evaluator', name).plugin!r} failed ({reason})", stacklevel=2
    )
    return f"it failed ({reason})"


def per_class(scorer: Scorer) -> dict[str, dict[str, float]]:
    """Returns per-class top-1 by task and class name."""
    d, names = scorer.generalized, scorer.view.classes.names
    tasks = {"s->t": (d.credit()[d.seen], d.y[d.seen]), "u->t": (d.credit()[~d.seen], d.y[~d.seen])}
    with suppress(NotApplicable):
        tasks["u->u"] = (scorer.conventional.credit(), scorer.conventional.y)
    return {task: {names[c]: own for c, own in accuracy_by_class(*given).items()} for task, given in tasks.items()}


VALIDATION, CONVENTIONAL = "validation/", "conventional/"
"""How names of stored decisions begin: those on validation classes, and those among unseen classes alone."""


def stored_decisions(scorer: Scorer, prefix: str = "") -> tuple[dict[str, NDArray[Any]], str]:
    """Returns what is stored of a scorer's decisions, and why there are none among unseen classes alone, if so.

    Stored are the row of each image, its decisions among all classes, and those among unseen classes alone where they
    are not the same without the seen ones.
    """
    found = {"images": scorer.view.images, **scorer.generalized.arrays()}
    reason = ""
    try:
        alone, derived = scorer.conventional.arrays(), among_unseen(scorer.generalized).arrays()
        if any(not np.array_equal(alone[name], derived[name]) for name in alone):
            found |= {f"{CONVENTIONAL}{name}": array for name, array in alone.items()}
    except NotApplicable as error:
        reason = str(error)
    return {f"{prefix}{name}": array for name, array in found.items()}, reason


def view_of(arrays: Arrays, class_names: Sequence[str]) -> TestView:
    """Returns a view of the images of a run without their data set: class embeddings have no columns."""
    y, seen = arrays["y"], arrays["seen"]
    first_unseen = int(y[~seen].min(initial=len(class_names)))
    count = len(class_names)
    classes = ClassSet(torch.zeros(count, 0), tuple(class_names), torch.arange(count) < first_unseen)
    return TestView(arrays["images"], y, classes, None)


def stored_scorer(
    arrays: Arrays,
    view: TestView,
    no_conventional: str = "",
    prefix: str = "",
    model: Callable[[], Scorer] | None = None,
) -> StoredScorer:
    """Returns the scorer of what `stored_decisions` gave; the view says the classes, and has the images at least.

    `model` gives the scores of the kept model, if there is one.
    """
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    decisions = Decisions.of(own)
    alone = {name.removeprefix(CONVENTIONAL): array for name, array in own.items() if name.startswith(CONVENTIONAL)}
    view = replace(view, images=own["images"], y=decisions.y)
    return StoredScorer(view, decisions, no_conventional or (Decisions.of(alone) if alone else None), model)
