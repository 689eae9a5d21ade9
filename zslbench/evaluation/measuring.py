"""Measures a scorer by evaluators: metrics with intervals, per-class accuracies, and what is stored beside a record."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Evaluator, Metric, Scorer
from zslbench.discovery.plugins import registry
from zslbench.errors import NotApplicable, PluginError, ZSLBenchError
from zslbench.evaluation.accuracy import accuracy_by_class, draw_weights
from zslbench.evaluation.scorers import StoredScorer

REPLICATES = 500
"""Bootstrap replicates behind each interval."""
REPLICATES_AT_ONCE = 50


@cache
def evaluators() -> dict[str, type[Evaluator]]:
    """Returns the evaluators of every run by name; a plugin's that cannot be loaded is warned about and left out."""
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


def evaluate(
    evaluators: dict[str, Evaluator], scorer: Scorer, replicates: int = 0
) -> tuple[dict[str, float], dict[str, tuple[float, float]], dict[str, str]]:
    """Returns metrics, 95 % bootstrap intervals where `replicates` are asked for, and what does not apply."""
    found: dict[str, float] = {}
    intervals: dict[str, tuple[float, float]] = {}
    not_applicable: dict[str, str] = {}
    y = scorer.view.y
    draws = [draw_weights(y, REPLICATES_AT_ONCE, seed) for seed in range(replicates // REPLICATES_AT_ONCE)]
    for name, evaluator in evaluators.items():
        try:
            values = evaluator.evaluate(scorer)
            resampled = [evaluator.resample(scorer, weights) for weights in draws]
            _check_metrics(evaluator, values)
        except NotApplicable as reason:
            not_applicable[name] = str(reason)
            continue
        except ZSLBenchError:
            raise
        except Exception as error:
            not_applicable[name] = broken(name, error)
            continue
        found.update(values)
        for metric in resampled[0] if resampled else ():
            low, high = np.percentile(np.concatenate([part[metric] for part in resampled]), [2.5, 97.5])
            intervals[metric] = (float(low), float(high))
    return found, intervals, not_applicable


def arrays(evaluators: dict[str, Evaluator], not_applicable: dict[str, str], scorer: Scorer) -> dict[str, NDArray[Any]]:
    """Returns what evaluators want stored beside the record, each name after its evaluator's."""
    found: dict[str, NDArray[Any]] = {}
    for name, evaluator in evaluators.items():
        if name not in not_applicable:
            try:
                found |= {f"{name}/{key}": value for key, value in evaluator.arrays(scorer).items()}
            except Exception as error:
                broken(name, error)
    return found


def influence(
    metric: str, values: Mapping[str, float], class_names: Sequence[str], stored: Mapping[str, NDArray[Any]]
) -> NDArray[np.float64] | None:
    """Returns the influence of each test image on a metric, `(N,)`; None where it has none.

    `values`, `class_names` and `stored` are the metrics, classes and arrays of the run as they are kept.
    """
    name = next((n for n, e in evaluators().items() if any(own.name == metric for own in e.metrics)), "")
    own = {key.removeprefix(f"{name}/"): array for key, array in stored.items() if key.startswith(f"{name}/")}
    scorer = StoredScorer.of(stored, class_names)
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


def per_class(scorer: Scorer, not_applicable: dict[str, str]) -> dict[str, dict[str, float]]:
    """Returns per-class top-1 by task and class name."""
    d, names = scorer.generalized, scorer.view.classes.names
    tasks = {"s->t": (d.credit()[d.seen], d.y[d.seen]), "u->t": (d.credit()[~d.seen], d.y[~d.seen])}
    if "zsl" not in not_applicable:
        with suppress(NotApplicable):  # nobody asked, where the run is not evaluated by zsl
            tasks["u->u"] = (scorer.conventional.credit(), scorer.conventional.y)
    return {
        task: {names[c]: accuracy for c, accuracy in accuracy_by_class(credit, y).items()}
        for task, (credit, y) in tasks.items()
    }


def decision_arrays(scorer: Scorer) -> dict[str, NDArray[Any]]:
    """Returns what is stored beside a record: row of each test image, and its decisions among all classes."""
    return {"images": scorer.view.images, **scorer.generalized.arrays()}
