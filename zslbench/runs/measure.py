"""Measuring runs: which evaluators measure a run, and new metrics on stored runs, without training."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Any

from numpy.typing import NDArray

import zslbench
from zslbench.api.cards import Input
from zslbench.api.embedder import ImageParams
from zslbench.api.evaluator import Evaluator, Metric, Scorer
from zslbench.errors import Hint, NeedsScores
from zslbench.evaluation.measuring import (
    REPLICATES,
    VALIDATION,
    Measured,
    Measurement,
    evaluators,
    owner_of,
    per_class,
    stored_decisions,
    stored_scorer,
)
from zslbench.evaluation.scorers import ModelScorer
from zslbench.files import NotWritten
from zslbench.preparation.pixels import with_images
from zslbench.records.record import RunRecord
from zslbench.records.spec import RunSpec
from zslbench.records.store import Store
from zslbench.runs.entrant import Run
from zslbench.runs.kept import Kept, restored
from zslbench.runs.weights import BACKBONE
from zslbench.training.device import choose_device

Arrays = dict[str, NDArray[Any]]


def asked(input: Input, *, validated: bool, also: Collection[str] = ()) -> dict[str, type[Evaluator]]:
    """Returns the installed evaluators that can be asked of a run on features or images, with validation or without.

    Of those that measure on request alone, `also` names the ones that are wanted.
    """
    return {
        name: evaluator
        for name, evaluator in evaluators().items()
        if (validated or not evaluator.needs_validation)
        and (input == "images" or not evaluator.needs_images)
        and (not evaluator.on_request or name in also)
    }


def requested(metrics: Iterable[Metric]) -> tuple[str, ...]:
    """Returns the evaluators that measure some of these metrics, by name, and measure on request alone."""
    owners = {owner_of(metric.name) for metric in metrics}
    return tuple(name for name, evaluator in evaluators().items() if name in owners and evaluator.on_request)


def watched(scorer: Scorer, only: str = "", also: Collection[str] = ()) -> dict[str, float]:
    """Returns what may be chosen by after an epoch: metrics that need neither validation nor images.

    Where one decides, it is measured with those of its evaluator alone.
    """
    able = asked("features", validated=False, also=also)
    chosen = {owner_of(only): able[owner_of(only)]} if only else able
    return Measurement(chosen).measure(scorer).metrics


def record_of(spec: RunSpec, scorer: Scorer, found: Measured, **further: Any) -> tuple[RunRecord, Arrays]:
    """Returns a record of what was found on test images, and the decisions to be stored beside it."""
    decisions, no_conventional = stored_decisions(scorer)
    record = RunRecord(
        id=spec.id,
        spec=spec,
        metrics=found.metrics,
        intervals=found.intervals,
        not_applicable=found.not_applicable,
        measured=found.measured,
        no_conventional=no_conventional,
        class_names=list(scorer.view.classes.names),
        per_class=per_class(scorer),
        **further,
    )
    return record, decisions | found.arrays


class KeptScorer:
    """Gives the scores of the kept model of a run on its test images, once it is asked.

    Attributes:
        asked: whether it was.
    """

    def __init__(self, run: Run, record: RunRecord, store: Store, fold: tuple[int, ...]) -> None:
        self._run, self._record, self._store, self._fold = run, record, store, fold
        self.asked = False

    def __call__(self) -> Scorer:
        """Reads the model, and prepares images where the run is on them.

        Raises:
            NeedsScores: the model is of another state of the method.
        """
        run, device = self._run, choose_device("cpu")
        kept = Kept.unpacked(self._store.model(self._record), self._record.id)
        try:
            embedder = restored(partial(run.entrant.make, run.params), kept)
        except ValueError as error:
            raise NeedsScores(f"it needs the model, and the method changed since ({error})") from error
        data = run.entrant.data
        if isinstance(run.params, ImageParams):
            request = run.entrant.request
            data = with_images(data, run.params, request.weights.get(BACKBONE), request.pretrained, device)
        view = run.entrant.drawn(data, run.spec.seed).test_view(self._fold)
        self.asked = True
        return ModelScorer(embedder, view, kept.scale, device, classes=kept.semantics(view.classes))


def now() -> str:
    """Returns the time and the version of zslbench, for what is measured later."""
    return f"{datetime.now(UTC).isoformat(timespec='seconds')}, zslbench {zslbench.__version__}"


def measured_again(
    run: Run,
    record: RunRecord,
    store: Store,
    *,
    claimed: bool = False,
    only: Collection[str] | None = None,
    also: Collection[str] = (),
) -> RunRecord:
    """Returns the record with the metrics of evaluators that it lacks, or has of another version, and stores it.

    They are computed from the stored decisions, or with the kept model; what needs more is left out, with a warning.
    `claimed` says that the caller holds the claim on the run, `only` which evaluators are meant, `also` which of those
    that measure on request alone are wanted beside those that it has.
    """
    wanted = asked(record.spec.input, validated=record.validated, also={*record.measured, *(only or ()), *also})
    missing = {name: e for name, e in wanted.items() if record.measured.get(name) != e.version}
    missing = {name: e for name, e in missing.items() if only is None or name in only}
    if not missing:
        return record
    arrays, data = store.arrays(record), run.entrant.drawn(run.entrant.data, run.spec.seed)
    fold = (record.spec.fold,) if record.spec.on == "validation" else ()
    unmeasured: dict[str, str] = {}
    if f"{VALIDATION}images" not in arrays:
        reason = "it needs decisions on validation classes, and these runs kept none"
        unmeasured = {name: reason for name, evaluator in missing.items() if evaluator.needs_validation}
    measurement = Measurement({name: e for name, e in missing.items() if name not in unmeasured})
    if record.validated and not unmeasured and f"{VALIDATION}images" in arrays:
        view = data.test_view((*fold, record.spec.fold))
        measurement.prepare(stored_scorer(arrays, view, record.no_conventional, VALIDATION))
    model, view = KeptScorer(run, record, store, fold), data.test_view(fold)
    kept = model if store.model_path(record) else None
    scorer = stored_scorer(arrays, view, record.no_conventional, model=kept)
    found = measurement.measure(scorer, REPLICATES * record.spec.bootstrapped)
    if model.asked and found.measured:
        warnings.warn(f"{record.spec.method}: stored runs are measured with their kept models", Hint, stacklevel=2)
    for name, reason in (unmeasured | found.unmeasured).items():
        warnings.warn(
            f"evaluator {name!r} cannot measure stored runs: {reason}; --existing rerun measures them", stacklevel=2
        )
    if not found.measured:
        return record
    gone = {metric.name for name in found.measured for metric in missing[name].metrics}
    measured = record.model_copy(
        update={
            "metrics": {n: v for n, v in record.metrics.items() if n not in gone} | found.metrics,
            "intervals": {n: v for n, v in record.intervals.items() if n not in gone} | found.intervals,
            "not_applicable": {n: why for n, why in record.not_applicable.items() if n not in found.measured}
            | found.not_applicable,
            "measured": record.measured | found.measured,
            "measured_later": record.measured_later | dict.fromkeys(found.measured, now()),
        }
    )
    try:
        with nullcontext() if claimed else store.claim(record.id, wait=True):
            return store.save(measured, arrays | found.arrays)
    except NotWritten as error:  # its figures are right all the same
        warnings.warn(f"new metrics of a stored run are shown and not kept: {error}", stacklevel=2)
        return measured
