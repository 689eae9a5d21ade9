"""Measures stored runs with evaluators that were installed later; finds the runs from their records alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zslbench.data.semantics import OWN
from zslbench.discovery.plugins import registry
from zslbench.errors import DataError, PluginError, UsageError, ZSLBenchError, near_misses
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.runs.entrant import Run
from zslbench.runs.measure import measured_again
from zslbench.runs.request import Request, split_source
from zslbench.runs.resolve import resolve
from zslbench.runs.weights import BACKBONE


@dataclass(frozen=True)
class Remeasured:
    """What came of measuring a stored run.

    Attributes:
        record: as it is now.
        added: the metrics that it had not, or had of another version of their evaluator.
        problem: why nothing could be measured; empty where nothing was missing.
    """

    record: RunRecord
    added: dict[str, float]
    problem: str = ""


def measure(
    store: Store, root: Path, records: Iterable[RunRecord], evaluator: str | None = None, dataset: str | None = None
) -> Iterator[Remeasured]:
    """Measures runs by every evaluator that they lack; nothing is trained.

    Args:
        store: where the runs are.
        root: folder of the data sets.
        records: of the runs.
        evaluator: this one alone.
        dataset: the data set of the runs, where their records do not say under which name it is found.

    Raises:
        UsageError: there is no such evaluator.
    """
    known = registry().names("evaluator")
    if evaluator is not None and evaluator not in known:
        raise UsageError(f"--evaluator {evaluator}: there is none{near_misses(evaluator, known)}")
    only = None if evaluator is None else {evaluator}
    for record in records:
        try:
            run = run_of(record, root, dataset)
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", UserWarning)
                found = measured_again(run, record, store, only=only)
        except ZSLBenchError as error:
            yield Remeasured(record, {}, str(error))
            continue
        changed = {n: v for n, v in found.metrics.items() if record.metrics.get(n) != v}
        why = [str(one.message) for one in said if "cannot measure stored runs" in str(one.message)]
        yield Remeasured(found, changed, "; ".join(why))


def run_of(record: RunRecord, root: Path, dataset: str | None = None) -> Run:
    """Returns the run of a record, with its data.

    Raises:
        UsageError, DataError, PluginError: its method or data set cannot be found, or are others now.
    """
    spec, kept = record.spec, record.provenance
    if record.external:
        raise UsageError("its scores were made elsewhere; `evaluate` measures them by every evaluator")
    source = dataset or kept.get("dataset")
    if not source:
        raise UsageError("its record does not say under which name its data set is found; name it by --dataset")
    if spec.method not in registry().names("method"):
        raise PluginError(f"its method {spec.method!r} is not installed")
    files = {part: Path(path) for part, path in kept.get("weights", {}).items()}
    request = Request.of(
        {
            "root": root,
            "features": kept.get("features", spec.features) if spec.input == "features" else None,
            "splits": kept.get("splits", "att_splits"),
            "semantics": kept.get("semantics", OWN),
            "pretrained": spec.pretrained,
            "weights": files,
            "precision": spec.precision,
            "shots": (spec.shots,),
            "params": {"backbone": record.params[BACKBONE]} if BACKBONE in record.params else {},
        }
    )
    [entrant] = resolve([spec.method], [split_source(source)[0]], request)
    chosen = {**spec.scaling._asdict(), **spec.params}
    run = entrant.run(spec.seed, spec.on, spec.fold, params=chosen, origin=record.params_from)
    run = run.stopping(spec.stop_on, spec.stop_after, spec.stop_below)
    if run.id != record.id:
        raise DataError(f"its data set {spec.dataset} or its method {spec.method} is another now")
    return run
