"""Executes one run: load data, seed, build, train, evaluate, record, store.

A run fits at most two models. The first, on the training part of trainval, is scored on validation classes: it
chooses what must be chosen (gamma, the number of epochs). The second, on all of trainval, is the one that is tested.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from zslbench.api.embedder import GradientParams, ImageParams
from zslbench.api.progress import Progress
from zslbench.data.cache import file_digest
from zslbench.data.catalogue import load_data
from zslbench.data.semantics import OWN
from zslbench.discovery.plugins import plugins, registry
from zslbench.discovery.single_file import method_name
from zslbench.errors import DataError, NotApplicable, RunError
from zslbench.evaluation.measuring import (
    REPLICATES,
    arrays,
    broken,
    decision_arrays,
    evaluate,
    evaluators,
    per_class,
)
from zslbench.preparation.pixels import with_images
from zslbench.records.record import RunRecord, Training
from zslbench.records.spec import RunSpec
from zslbench.records.store import Store
from zslbench.runs.fit import Trial, method_class
from zslbench.runs.provenance import method_code, peak_memory, provenance, reset_peak_memory
from zslbench.training import together
from zslbench.training.device import choose_device

BACKBONE = "backbone"
"""The part that is not trained, and that every method on images has."""

Existing = Literal["reuse", "rerun", "only-cached"]


class Job(BaseModel):
    """A run to be done, and where its data is; can be sent to another process."""

    model_config = ConfigDict(frozen=True)

    spec: RunSpec
    source: str
    """The data set's name, with its options, or its folder."""
    root: Path
    splits: str
    semantics: str = OWN
    params_from: str = "default"
    method_file: Path | None = None
    """Where the method is, if it is a single file."""
    weights: dict[str, Path] = Field(default_factory=dict)
    """Files of weights by part of the method, or `backbone`."""
    reduced: bool = False
    """Whether its preset is a smaller version of the published method."""

    @property
    def is_published_protocol(self) -> bool:
        """Whether the published method is scored on the proposed split's test images, with its class embeddings."""
        return (
            not self.reduced
            and self.spec.on == "test"
            and self.splits.startswith("att_splits")
            and self.semantics == OWN
        )


class Setup(BaseModel):
    """How runs are executed; nothing here is part of their identity."""

    model_config = ConfigDict(frozen=True)

    store: Path
    existing: Existing = "reuse"
    device: str = "auto"


@dataclass(frozen=True)
class Watcher:
    """Callbacks about one run, for progress displays; images that are prepared count as epochs of a step 0."""

    started: Callable[[Job], None] = lambda job: None
    epoch: Callable[[Job, Progress], None] = lambda job, progress: None


def fulfil(job: Job, setup: Setup, watcher: Watcher, *, wait: bool) -> RunRecord | None:
    """Returns the record of a run, executing it unless it is stored already; None where only stored runs are wanted.

    Of several processes that train together the first one alone looks into the store and writes to it.

    Raises:
        Busy: another process is executing it, and `wait` is false.
        ZSLBenchError: the run cannot be done.
    """
    store, run = Store(setup.store), job.spec.id
    if together.rank() > 0:
        try:
            if together.agreed(None):
                execute(job, setup.device, store.partial(run), lambda progress: None)
        finally:  # a run that fails must not put the processes out of step
            together.agreed(None)
        return store.find(run)
    announced = Once(together.agreed)
    try:
        return _fulfil(job, setup, watcher, store, announced, wait=wait or together.processes() > 1)
    finally:
        announced(False)  # where nothing was to be done
        together.agreed(None)  # the record is written


def _fulfil(
    job: Job, setup: Setup, watcher: Watcher, store: Store, announce: Callable[[bool], None], *, wait: bool
) -> RunRecord | None:
    run, wanted = job.spec.id, setup.existing != "rerun"
    if wanted and (record := store.find(run)):
        return record
    if setup.existing == "only-cached":
        return None
    with store.claim(run, wait=wait):
        if wanted and (record := store.find(run)):  # somebody finished it between the look and the claim
            return record
        if not wanted:  # a rerun must not go on from a checkpoint of the run it repeats
            store.discard_partial(run)
        announce(True)
        watcher.started(job)
        plugins().notify("zslbench_run_started", spec=job.spec)
        try:
            record, kept = execute(
                job,
                setup.device,
                store.partial(run),
                partial(_announce, job, watcher),
                partial(_preparing, job, watcher, time.monotonic()),
            )
            record = store.save(record, kept)
        except Exception as error:
            plugins().notify("zslbench_run_failed", spec=job.spec, error=error)
            raise
    plugins().notify("zslbench_run_finished", record=record)
    return record


def _announce(job: Job, watcher: Watcher, progress: Progress) -> None:
    watcher.epoch(job, progress)
    plugins().notify("zslbench_epoch_finished", spec=job.spec, progress=progress)


def _preparing(job: Job, watcher: Watcher, started: float, done: int, images: int) -> None:
    watcher.epoch(job, Progress("images", max(done, 1), images, {}, time.monotonic() - started, 0))


class Once:
    """Calls a function the first time, and does nothing after that."""

    def __init__(self, function: Callable[[bool], object]) -> None:
        self._function: Callable[[bool], object] | None = function

    def __call__(self, value: bool) -> None:
        """Passes the value on, if none was."""
        function, self._function = self._function, None
        if function is not None:
            function(value)


def weights_digest(path: Path) -> str:
    """Returns the first 16 hexadecimal digits of the SHA-256 of a file of weights.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return file_digest(path)[:16]
    except OSError as error:
        raise DataError(f"{path}: it cannot be read ({error.strerror})") from error


def execute(
    job: Job,
    device_name: str,
    checkpoints: Path | None,
    on_epoch: Callable[[Progress], None],
    on_image: Callable[[int, int], None] | None = None,
) -> tuple[RunRecord, dict[str, NDArray[Any]]]:
    """Executes a run; returns its record and each test image's decisions."""
    started = datetime.now(UTC)
    spec, device = job.spec, choose_device(device_name)
    if job.method_file:  # a worker process has not met it yet
        entry = registry().entry("method", method_name(str(job.method_file)))
        if entry.code != spec.code:
            raise RunError(f"{job.method_file} changed between planning and running; issue the command again")
    reset_peak_memory(device)
    data = load_data(job.source, job.root, spec.features, job.splits, job.semantics, spec.input)
    if data.fingerprint != spec.fingerprint:
        raise RunError(f"data set {spec.dataset} changed between planning and running; issue the command again")
    known = evaluators()
    if absent := sorted(set(spec.evaluators) - set(known)):
        raise RunError(f"evaluator {absent[0]!r} is not installed here; the run was planned with it")
    chosen = {name: known[name]() for name in spec.evaluators}
    method = method_class(spec.method)
    params = method.params_type.parse(spec.params, f"method {spec.method!r}")
    if changed := [part for part, path in job.weights.items() if weights_digest(path) != spec.weights.get(part)]:
        raise RunError(f"--weights {changed[0]}={job.weights[changed[0]]}: it changed; issue the command again")
    if isinstance(params, ImageParams):
        data = with_images(data, params, job.weights.get(BACKBONE), spec.pretrained, device, on_image)
    trial = Trial(spec, params, data, device, checkpoints, job.weights, on_epoch)

    fold = (spec.fold,) if spec.on == "validation" else ()
    early = isinstance(params, GradientParams) and params.patience > 0
    epochs, validation, seconds_validation = None, {}, 0.0
    unprepared: dict[str, str] = {}
    if early or any(evaluator.needs_validation for evaluator in chosen.values()):
        scorer, fitted = trial.fit((*fold, spec.fold), "validation", stop_on="ausuc" if early else "")
        epochs, seconds_validation = fitted.epochs, fitted.seconds
        for name, evaluator in chosen.items():
            try:
                evaluator.prepare(scorer)
            except NotApplicable as reason:
                unprepared[name] = str(reason)
            except Exception as error:
                unprepared[name] = broken(name, error)
        validation = evaluate({n: e for n, e in chosen.items() if not e.needs_validation}, scorer)[0]
    scorer, fitted = trial.fit(fold, "final", epochs=epochs, watch=spec.on == "validation")

    prepared = {name: evaluator for name, evaluator in chosen.items() if name not in unprepared}
    metrics, intervals, not_applicable = evaluate(prepared, scorer, REPLICATES)
    not_applicable |= unprepared
    record = RunRecord(
        id=spec.id,
        spec=spec,
        params=params.model_dump(mode="json"),
        params_from=job.params_from,
        metrics=metrics,
        intervals=intervals,
        not_applicable=not_applicable,
        validation=validation,
        class_names=list(scorer.view.classes.names),
        per_class=per_class(scorer, not_applicable),
        training=Training(
            seconds=fitted.seconds,
            seconds_validation=seconds_validation,
            epochs=fitted.epochs,
            losses=fitted.losses,
            watched=fitted.watched,
        ),
        provenance={
            **provenance(spec, device, started),
            "method_code": method_code(method),
            "splits": job.splits,
            "peak_memory_mb": peak_memory(device),
        },
    )
    return record, {**decision_arrays(scorer), **arrays(prepared, not_applicable, scorer)}
