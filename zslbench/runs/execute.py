"""Executes one run: train, measure, record, store.

A run fits at most two models. The first is trained on the training part of trainval and scored on validation classes,
to choose gamma and the number of epochs. The second is trained on all of trainval; this one is tested.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from zslbench import interruption
from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import ImageParams
from zslbench.api.engine import Listener
from zslbench.api.progress import Progress
from zslbench.discovery.plugins import plugins
from zslbench.errors import NotApplicable, RunError
from zslbench.evaluation.measuring import REPLICATES, VALIDATION, Measurement, metrics, stored_decisions
from zslbench.preparation.pixels import with_images
from zslbench.records.record import RunRecord, Training
from zslbench.records.store import Store
from zslbench.runs.entrant import Run
from zslbench.runs.fit import Model, Watch, train
from zslbench.runs.isolation import contained, known_state
from zslbench.runs.kept import LIMIT, KeepModel, Kept
from zslbench.runs.measure import Arrays, asked, measured_again, record_of, watched
from zslbench.runs.memory import ALONE, Sharers, Where
from zslbench.runs.problem import Problem
from zslbench.runs.provenance import memory_used, provenance, reset_peak_memory
from zslbench.runs.request import Existing
from zslbench.runs.resolve import received
from zslbench.runs.weights import BACKBONE
from zslbench.training import together
from zslbench.training.trainer import Fit, Fitted

Validated = tuple[int | None, dict[str, float], Arrays, float]
NOT_VALIDATED: Validated = None, {}, {}, 0.0
PATIENT = "ausuc"
"""The metric on validation classes by which a method's `patience` ends its training."""


class Setup(BaseModel):
    """How runs are executed; nothing here is part of their identity.

    Attributes:
        store: folder of the store; absolute, because a method may change the working folder.
        keep_model: whether final models are kept: those up to 64 MB, all, or none.
        memory: bytes that training features may take before they are read from disk; None for half of what there is.
        sharers: how many processes share it.
        evaluators: those that measure on request alone and are wanted, by name.
        folder: the working folder, which relative names are of.
        stack: how many fits may be trained as one; `auto` where that is faster.
    """

    model_config = ConfigDict(frozen=True)

    store: Path
    existing: Existing = "reuse"
    device: str = "auto"
    keep_model: KeepModel = "auto"
    memory: int | None = None
    sharers: Sharers = ALONE
    evaluators: tuple[str, ...] = ()
    folder: Path = Field(default_factory=Path.cwd)
    stack: int | Literal["auto"] = 1

    @property
    def where(self) -> Where:
        """The device, and the bytes that training features may take."""
        return Where.of(self.device, self.memory, self.sharers)

    @cached_property
    def opened(self) -> Store:
        """The store, opened once for all runs."""
        return Store(self.store)


def find(run: Run, setup: Setup, *, claimed: bool = False) -> RunRecord | None:
    """Returns the stored record of a run, measured by every evaluator as it is now.

    Nothing where it lacks what only training can give, unless only stored runs are wanted.
    """
    store = setup.opened
    record = None if setup.existing == "rerun" else store.find(run.id)
    if record is None:
        return None
    enough = setup.existing == "only-cached" or run.validated_by(record)
    return measured_again(run, record, store, claimed=claimed, also=setup.evaluators) if enough else None


def fulfil(run: Run, setup: Setup, listener: Listener, *, wait: bool) -> RunRecord | None:
    """Returns the record of a run, executing it unless it is stored already; None where only stored runs are wanted.

    Where another process is executing it, this waits, or raises Busy.
    """
    store = setup.opened
    if record := find(run, setup):
        return record
    if setup.existing == "only-cached":
        return None
    with store.claim(run.id, wait=wait or together.launched_together()):
        if record := find(run, setup, claimed=True):  # somebody finished it between the look and the claim
            return record
        kept = None if setup.existing == "rerun" else store.find(run.id)  # it lacks the fit on validation classes alone
        if setup.existing == "rerun":  # it must not go on from a checkpoint of the run it repeats
            store.discard_partial(run.id)
        listener.started(run)
        plugins().notify("zslbench_run_started", spec=run.spec)
        if together.launched_together():
            together.order((run.sent(), setup.model_dump_json(), str(store.partial(run.id)), kept is not None))
        try:
            with known_state(run.spec.seed), contained():
                record = _execute(run, setup, store, listener, kept)
        except Exception as error:
            plugins().notify("zslbench_run_failed", spec=run.spec, error=error)
            raise
    plugins().notify("zslbench_run_finished", record=record)
    return record


def _execute(run: Run, setup: Setup, store: Store, listener: Listener, kept: RunRecord | None) -> RunRecord:
    """Executes a claimed run and stores it; where it is interrupted, the checkpoints of its fits are written."""
    execution = Execution(run, setup, store.partial(run.id), listener)
    try:
        found = execution.complete(kept, store.arrays(kept)) if kept else execution.whole()
        model = execution.to_keep(setup.keep_model)
        with interruption.deferred():
            record = store.save(*found, model)
            execution.fitted.clear()
    except (interruption.Interrupted, KeyboardInterrupt):
        for fitted in execution.fitted:
            fitted.keep()
        raise
    return measured_again(run, record, store, claimed=True, also=setup.evaluators)


def fulfil_sent(run: str, setup: Setup, listener: Listener, data: ZSLData | None = None) -> RunRecord | None:
    """Returns the record of a run that another process sent, as `fulfil` does; it waits where one is executing it.

    `data` are those of its data set, where they were sent, too.
    """
    with suppress(OSError):  # another machine need not have that folder
        os.chdir(setup.folder)
    return fulfil(received(run, data), setup, listener, wait=True)


def follow() -> None:
    """Trains what the first of several processes trains, until it ends; that one alone reads and writes the store."""

    def obey(order: tuple[str, str, str, bool]) -> None:
        text, setup, checkpoints, only_validation = order
        execution = Execution(received(text), Setup.model_validate_json(setup), Path(checkpoints), Listener())
        with known_state(execution.run.spec.seed), contained():
            if only_validation:
                execution.validate()
            else:
                execution.whole()

    together.follow(obey)


class Execution:
    """A run under way: its data, its device, and what measures it."""

    def __init__(self, run: Run, setup: Setup, checkpoints: Path | None, listener: Listener) -> None:
        self.run, self.checkpoints, self.listener = run, checkpoints, listener
        self.device, self.memory = setup.where
        self.started = datetime.now(UTC)
        self.fitted: list[Fitted] = []
        self.final: Model | None = None
        self.fold = (run.spec.fold,) if run.spec.on == "validation" else ()
        reset_peak_memory(self.device)
        run.entrant.check_files()
        self.data = self._prepared()
        self.validated = run.calibrated or run.stops_early
        self.measurement = Measurement(asked(run.spec.input, validated=self.validated, also=setup.evaluators))
        self.watch = partial(watched, only=run.spec.stop_on, also=setup.evaluators)

    def whole(self) -> tuple[RunRecord, Arrays]:
        """Trains, and returns the record and each test image's decisions."""
        run, spec = self.run, self.run.spec
        epochs, validation, arrays, seconds = self.validate() if self.validated else NOT_VALIDATED
        watch = self.watch if spec.on == "validation" else None
        how = Fit(self.device, "final", epochs=epochs, stop_on=spec.stop_on, stop_after=spec.stop_after)
        how.stop_below = spec.stop_below
        how.higher_is_better = not spec.stop_on or metrics()[spec.stop_on].higher_is_better
        model = self._fit(self.fold, how, watch)
        self.final = model
        scorer = model.scorer()
        found = self.measurement.measure(scorer, REPLICATES * spec.bootstrapped)
        record, decisions = record_of(
            spec,
            scorer,
            found,
            params=run.params.model_dump(mode="json"),
            params_from=run.origin,
            validated=self.validated,
            validation=validation,
            training=Training(
                seconds=model.fitted.seconds,
                seconds_validation=seconds,
                epochs=model.fitted.epochs,
                losses=model.fitted.losses,
                watched=model.fitted.watched,
            ),
            provenance=provenance(run, self.device, self.started)
            | ({"features_from": dict(self.data.backbone)} if self.data.backbone else {})
            | ({"stacked": stacked} if (stacked := max(one.stacked for one in self.fitted)) > 1 else {})
            | memory_used(self.device),
        )
        return record, decisions | arrays

    def to_keep(self, wanted: KeepModel) -> bytes | None:
        """Returns the file of the final model, if there is one and it is to be kept; trials of searches keep none."""
        if self.final is None or wanted == "never" or self.run.spec.on == "validation":
            return None
        kept = Kept.of(self.final, self.data.attribute_names)
        return kept.packed() if wanted == "always" or kept.size <= LIMIT else None

    def complete(self, record: RunRecord, arrays: Arrays) -> tuple[RunRecord, Arrays]:
        """Adds the fit on validation classes to a run that was done without one."""
        _, validation, further, seconds = self.validate()
        training = record.training and record.training.model_copy(update={"seconds_validation": seconds})
        changes = {"validated": True, "validation": validation, "training": training}
        return record.model_copy(update=changes), arrays | further

    def validate(self) -> Validated:
        """Fits on the training part of trainval; returns epochs, metrics and decisions on validation classes, time.

        Where there are too few images to validate on, evaluators that need it are told so.

        Raises:
            RunError: validation classes decide when training ends, and there are too few images.
        """
        early = self.run.stops_early
        how = Fit(self.device, "validation", stop_on=PATIENT if early else "")
        fold = (*self.fold, self.run.spec.fold)
        try:
            self.data.split_for(fold)
        except NotApplicable as reason:
            if early:
                raise RunError(f"training ends by validation classes, and {reason}; give more --shots") from reason
            self.measurement.refuse(str(reason))
            return NOT_VALIDATED
        model = self._fit(fold, how, self.watch if early else None)
        if early and PATIENT not in model.fitted.watched[-1]:
            raise RunError(f"training ends by {PATIENT}, which this method has not; leave out patience")
        scorer = model.scorer()
        metrics = self.measurement.prepare(scorer)
        return model.fitted.epochs, metrics, stored_decisions(scorer, VALIDATION)[0], model.fitted.seconds

    def _fit(self, fold: tuple[int, ...], how: Fit, watch: Watch | None) -> Model:
        run, spec = self.run, self.run.spec
        assert spec.setting != "unknown"  # that is for scores made elsewhere
        how = replace(
            how,
            precision=spec.precision,
            on_epoch=self._epoch,
            checkpoint=self.checkpoints / f"{how.name}.safetensors" if self.checkpoints else None,
        )
        problem = Problem.of(self.data, spec.setting, spec.scaling, fold, self.memory)
        model = train(partial(run.entrant.make, run.params), problem, spec.seed, how, watch)
        self.fitted.append(model.fitted)
        return model

    def _prepared(self) -> ZSLData:
        """Returns the data; of images, with their crops and what the backbone makes of them."""
        data, params, began = self.run.entrant.data, self.run.params, time.monotonic()
        if not isinstance(params, ImageParams):
            return self.run.entrant.drawn(data, self.run.spec.seed)

        def prepared(done: int, images: int) -> None:
            progress = Progress("images", max(done, 1), images, {}, time.monotonic() - began, 0)
            self.listener.epoch(self.run, progress)

        request = self.run.entrant.request
        data = with_images(data, params, request.weights.get(BACKBONE), request.pretrained, self.device, prepared)
        return self.run.entrant.drawn(data, self.run.spec.seed)

    def _epoch(self, progress: Progress) -> None:
        self.listener.epoch(self.run, progress)
        plugins().notify("zslbench_epoch_finished", spec=self.run.spec, progress=progress)
