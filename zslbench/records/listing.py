"""Lists of runs: what is shown of each, from an index that is as good as reading every record.

The index is STORE/index.json, with a checksum. It knows a record by the signatures of its file and of its folder
(sizes, times, inodes); whatever has another one now is read again. A damaged index, or one that cannot be written,
costs time and nothing else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import zslbench
from zslbench.api.metric import Metric
from zslbench.data.digests import RACY_NS, Signature, signature
from zslbench.discovery.plugins import registry
from zslbench.files import NotWritten, seal, unseal, write_whole
from zslbench.records.record import RunRecord
from zslbench.records.store import RECORD, Store

INDEX = "index.json"
FORM = 1
"""Raised when an entry means something else."""


@dataclass(frozen=True)
class Listed:
    """What lists show of a run.

    Attributes:
        date: when it was finished, or measured where its scores were made elsewhere; ISO 8601, empty where unknown.
        params: the hyper-parameters that differ from the method's defaults.
        settings: where they come from: `default`, `tuned`, `preset NAME` or `given`.
        metrics: fractions, or what their unit is.
        size: bytes of all files in its folder.
        model: whether its model was kept.
    """

    id: str
    date: str
    method: str
    params: dict[str, Any]
    settings: str
    dataset: str
    features: str
    scale: str
    seed: int
    on: str
    fold: int
    metrics: dict[str, float]
    size: int
    model: bool
    note: str = ""
    shots: int | float | None = None

    @classmethod
    def of(cls, record: RunRecord, store: Store) -> Listed:
        """Returns what lists show of a stored run."""
        spec, path = record.spec, store.record_path(record.id)
        sizes = [one.stat().st_size for one in path.parent.iterdir() if one.is_file()]
        return cls(
            id=record.id,
            date=str(record.provenance.get("finished", "")),
            method=spec.method,
            params=spec.params,
            settings=settings_of(record),
            dataset=spec.dataset,
            features=spec.features,
            scale=spec.scale,
            seed=spec.seed,
            on=spec.on,
            fold=spec.fold,
            metrics=record.metrics,
            size=sum(sizes),
            model=store.model_path(record) is not None,
            note=store.note(record.id),
            shots=spec.shots,
        )


def settings_of(record: RunRecord) -> str:
    """Returns where the hyper-parameters of a run come from, in a word or two."""
    if record.external:
        return "external"
    first, _, rest = record.params_from.partition(" ")
    kind = first.rstrip(":")
    return f"preset {rest.partition(':')[0]}" if kind == "preset" else kind


@dataclass(frozen=True)
class Listing:
    """The runs of a store, oldest first.

    Attributes:
        metrics: every metric that one of them has, in the order of tables.
    """

    runs: list[Listed]
    metrics: dict[str, Metric]


@dataclass
class _Index:
    """The index: what is known of runs, by id, and of metrics, by name."""

    by: str
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, by: str) -> _Index:
        """Returns the index of a file; an empty one where that is missing, damaged or made `by` anything else."""
        with suppress(OSError, ValueError, TypeError):
            values = json.loads(unseal(path.read_bytes()))
            if values["by"] == by:
                return cls(**values)
        return cls(by)


def listing(store: Store) -> Listing:
    """Returns what lists show of all runs in a store."""
    path = store.root / INDEX
    known = _Index.read(path, _maker())
    now, found = _Index(known.by), list[Listed]()
    changed = False
    for run in store.ids():
        listed, entry = _listed(run, store, known.runs.get(run))
        if listed is not None:
            found.append(listed)
        if entry is not None:
            now.runs[run] = entry
        changed |= entry != known.runs.get(run)
    names = dict.fromkeys(name for one in found for name in one.metrics)
    now.metrics = known.metrics
    if names.keys() - known.metrics.keys():
        now.metrics, changed = _described(names), True
    if changed or now.runs.keys() != known.runs.keys():
        with suppress(NotWritten):  # without an index every record is read again
            write_whole(path, seal(vars(now)))
    metrics = {name: Metric(**values) for name, values in now.metrics.items() if name in names}
    return Listing(sorted(found, key=lambda one: (one.date, one.id)), metrics)


def _listed(run: str, store: Store, known: dict[str, Any] | None) -> tuple[Listed | None, dict[str, Any] | None]:
    """Returns what lists show of a run, and its entry in the index unless its file might change without a trace."""
    started = time.time_ns()
    try:
        before = _signatures(store, run)
    except OSError:
        return None, None
    if known is not None and known["signatures"] == before:
        return Listed(**known["listed"]), known
    record = store.find(run)
    if record is None:
        return None, None
    try:
        listed = Listed.of(record, store)
        settled = all(s[2] + RACY_NS[s[2] % 10**9 == 0] < started for s in before)
        lasting = settled and _signatures(store, run) == before
    except OSError:  # it has been removed
        return None, None
    return listed, {"listed": asdict(listed), "signatures": before} if lasting else None


def _signatures(store: Store, run: str) -> list[Signature]:
    """Returns what changes when a record does, and when a file beside it is made, replaced or removed.

    Paths are texts here, because `Path` would take half of the time of a long list.
    """
    folder = f"{store.root}/runs/{run}"
    try:
        return [signature(f"{folder}/{RECORD}"), signature(folder)]
    except FileNotFoundError:
        path = store.record_path(run)  # an older version may have it under another id
        return [signature(path), signature(path.parent)]


def _maker() -> str:
    """Returns what an index depends on: its form, the version, and the evaluators and their plugins."""
    entries = [f"{entry.name} of {entry.plugin}" for entry in registry().entries("evaluator")]
    return ", ".join([f"form {FORM}", f"zslbench {zslbench.__version__}", *Listed.__dataclass_fields__, *entries])


def _described(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns what evaluators say of metrics; one whose evaluator is not installed is known by its name."""
    from zslbench.evaluation.measuring import metrics  # it imports torch, which few lists need

    known, names = metrics(), list(names)
    every = [known[name] for name in known if name in names]
    every += [Metric(name, name, percent=False, shown=False) for name in names if name not in known]
    return {metric.name: asdict(metric) for metric in every}
