"""Checks of a record against the decisions stored beside it: whatever follows from them is computed again."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from zslbench.api.evaluator import Evaluator
from zslbench.errors import NeedsScores, NotApplicable
from zslbench.evaluation.measuring import (
    CONVENTIONAL,
    VALIDATION,
    broken,
    evaluators,
    intervals_of,
    per_class,
    replicates_of,
    stored_scorer,
    view_of,
)
from zslbench.evaluation.scorers import StoredScorer
from zslbench.records.record import RunRecord
from zslbench.records.sealed import named_by

Arrays = Mapping[str, NDArray[Any]]
_Computed = tuple[Mapping[str, float], dict[str, tuple[float, float]], Mapping[str, float]]
PRECISION = 1e-6
"""How far two computations of one number may lie apart: reconstructions keep errors in single precision."""


def check_decisions(path: Path) -> Arrays:
    """Returns the arrays of a file of decisions, or raises a ValueError where its content does not match its name."""
    content = path.read_bytes()
    if path.name != named_by(content, "decisions"):
        raise ValueError(f"the content of {path.name} does not match its name")
    return safetensors.numpy.load(content)


def check_metrics(record: RunRecord, arrays: Arrays) -> list[str]:
    """Computes again all that follows from the decisions of a run; returns the metrics for which they do not suffice.

    These are metrics of evaluators that need the model or are not installed in that version.

    Raises:
        ValueError: metrics, intervals, per-class accuracies or metrics on validation classes are others; it names one.
    """
    _check_classes(arrays, len(record.class_names))
    scorer = stored_scorer(arrays, view_of(arrays, record.class_names), record.no_conventional)
    validation = _validation_scorer(arrays, record.no_conventional)
    _compare("per-class accuracy", _flat(record.per_class), _flat(per_class(scorer)))
    replicates = replicates_of(scorer.view.y) if record.spec.bootstrapped else []
    unchecked = set(record.metrics)
    for name, kind in evaluators().items():
        own = {metric.name for metric in kind.metrics}
        if name not in record.measured and (unowned := sorted(own & record.metrics.keys())):
            raise ValueError(f"it has the metric {unowned[0]!r}, and was not measured by evaluator {name!r}")
        if record.measured.get(name) != kind.version:
            continue
        kept = {key.removeprefix(f"{name}/"): array for key, array in arrays.items() if key.startswith(f"{name}/")}
        found: _Computed = {}, {}, {}
        try:
            if name not in record.not_applicable:  # a plugin may have failed that has been mended since
                found = _computed(kind(), scorer, validation, replicates, record.metrics, kept)
        except NeedsScores:
            continue
        except NotApplicable:
            pass
        except Exception as error:
            broken(name, error)
            continue
        values, intervals, on_validation = found
        _compare("metric", _of(record.metrics, own), values)
        _compare("interval of", _ends(_of(record.intervals, own)), _ends(intervals))
        both = on_validation.keys() & record.validation.keys()
        _compare("metric on validation classes", _of(record.validation, both), _of(on_validation, both))
        unchecked -= own
    return sorted(unchecked)


def _check_classes(arrays: Arrays, count: int) -> None:
    """Raises a ValueError where decisions name a class that is none of `count`: a table of them would fill memory."""
    for prefix, alone in product(("", VALIDATION), ("", CONVENTIONAL)):
        for name in ("y", "choice_seen", "choice_unseen"):
            array = arrays.get(f"{prefix}{alone}{name}", np.zeros(0))
            if array.size and not (array.min() >= -1 and array.max() < count):
                raise ValueError(f"its decisions ({prefix}{alone}{name}) name a class that it does not have")


def _computed(
    evaluator: Evaluator,
    scorer: StoredScorer,
    validation: StoredScorer | None,
    replicates: Iterable[NDArray[np.float64]],
    metrics: Mapping[str, float],
    kept: Arrays,
) -> _Computed:
    """Returns metrics, intervals and metrics on validation classes of one evaluator, whose stored arrays are `kept`."""
    on_validation: Mapping[str, float] = {}
    if validation is not None and evaluator.needs_validation:
        evaluator.prepare(validation)
    elif validation is not None and not kept:
        on_validation = evaluator.evaluate(validation)
    values = evaluator.recomputed(scorer, metrics, kept)
    return values, intervals_of([evaluator.resample(scorer, weights) for weights in replicates]), on_validation


def _validation_scorer(arrays: Arrays, no_conventional: str) -> StoredScorer | None:
    """Returns the scorer of the decisions on validation classes, whose names are not kept."""
    own = {key.removeprefix(VALIDATION): array for key, array in arrays.items() if key.startswith(VALIDATION)}
    if "images" not in own:
        return None
    count = 1 + max(int(own[name].max(initial=0)) for name in ("y", "choice_seen", "choice_unseen"))
    return stored_scorer(arrays, view_of(own, [str(number) for number in range(count)]), no_conventional, VALIDATION)


def _compare(what: str, stored: Mapping[str, float], computed: Mapping[str, float]) -> None:
    for name in sorted(stored.keys() | computed.keys()):
        a, b = stored.get(name, math.nan), computed.get(name, math.nan)
        if not np.isclose(a, b, rtol=PRECISION, atol=1e-9):
            raise ValueError(f"its {what} {name!r} is {a:.6g}, and its decisions give {b:.6g}")


def _of(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in names}


def _flat(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{outer} {inner}": value for outer, own in values.items() for inner, value in own.items()}


def _ends(values: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    return {f"{name} {end}": value for name, both in values.items() for end, value in zip("<>", both, strict=True)}
