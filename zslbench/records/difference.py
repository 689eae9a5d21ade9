"""What differs between two records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zslbench.records.record import RunRecord

Both = tuple[Any, Any]
_TIMES = ("started", "finished")


@dataclass(frozen=True)
class Differences:
    """What two records say differently, by name; None stands for what one of them lacks.

    Attributes:
        settings: what decides what is trained, and where hyper-parameters come from.
        environment: code, packages and machine.
        metrics: every metric of either, equal ones too.
        per_class: accuracies, by task and class, largest differences first; equal ones are left out.
    """

    settings: dict[str, Both]
    environment: dict[str, Both]
    metrics: dict[str, Both]
    per_class: dict[str, dict[str, tuple[float, float]]]


def differences(a: RunRecord, b: RunRecord) -> Differences:
    """Returns what differs between two records."""
    per_class = {}
    for task in a.per_class.keys() & b.per_class.keys():
        both = _both(a.per_class[task], b.per_class[task])
        own = {name: (x, y) for name, (x, y) in both.items() if None not in (x, y) and x != y}
        if own:
            per_class[task] = dict(sorted(own.items(), key=lambda item: -abs(item[1][1] - item[1][0])))
    return Differences(
        settings=_unlike(_settings(a), _settings(b)),
        environment=_unlike(_environment(a), _environment(b)),
        metrics=_both(a.metrics, b.metrics),
        per_class=dict(sorted(per_class.items())),
    )


def _settings(record: RunRecord) -> dict[str, Any]:
    spec = record.spec.model_dump(mode="json", exclude={"params"})
    epochs = {} if record.training is None else {"epochs trained": record.training.epochs}
    return {**spec, **record.params, "chosen by": record.params_from, **epochs}


def _environment(record: RunRecord) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in record.provenance.items():
        if isinstance(value, Mapping):
            found |= {f"{name}: {part}": own for part, own in value.items()}
        elif name not in _TIMES:
            found[name] = value
    if record.training is not None:
        found |= {"seconds": record.training.seconds, "seconds_validation": record.training.seconds_validation}
    return found


def _both(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Both]:
    return {name: (a.get(name), b.get(name)) for name in dict.fromkeys([*a, *b])}


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Both]:
    return {name: both for name, both in _both(a, b).items() if both[0] != both[1]}
