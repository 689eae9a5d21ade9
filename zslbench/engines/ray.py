"""Runs on a Ray cluster; store and data must be on a file system that all its machines share."""

from __future__ import annotations

import logging
import math
import os
import socket
import warnings
from collections.abc import Sequence
from typing import Any

from zslbench import interruption
from zslbench.api.engine import Engine, Listener
from zslbench.errors import Hint, RunError, UsageError, ZSLBenchError, located
from zslbench.records.record import RunRecord
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, fulfil_sent

PATIENCE = 8.0
"""Seconds that interrupted runs have to write their checkpoints."""
REACHED = 10.0
"""Seconds in which the address of a cluster must answer."""


class Ray(Engine):
    """Joins the cluster that `RAY_ADDRESS` names, or starts one here.

    At most `workers` runs at a time; without a number, as many as its CPUs and GPUs have room for.
    """

    def __init__(self, workers: int = 0) -> None:
        super().__init__(workers)

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs; a worker that dies is one failed run."""
        try:
            import ray
        except ImportError as error:
            raise UsageError("--engine ray: Ray is not installed; pip install 'zslbench[ray]'") from error
        device = setup.device.partition(":")[0]  # a worker sees one GPU, whatever its number here
        setup = setup.model_copy(update={"store": setup.store.absolute(), "device": device})
        interruption.take()  # importing Ray takes SIGTERM
        started_here = not ray.is_initialized()
        if started_here:
            _check_address(os.environ.get("RAY_ADDRESS", ""))
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
            interruption.take()
        warnings.warn("--engine ray tells when runs begin and end, and nothing of their epochs", Hint, stacklevel=2)
        try:
            self._execute(ray, runs, setup, listener)
        finally:
            if started_here:
                ray.shutdown()

    def _execute(self, ray: Any, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        resources = ray.cluster_resources()
        gpus = 0 if setup.device == "cpu" else min(1, resources.get("GPU", 0))
        room = int(min(resources.get("CPU", 1), resources["GPU"] if gpus else math.inf))
        remote = ray.remote(_fulfil).options(num_cpus=1, num_gpus=gpus, max_retries=0)
        waiting = list(runs)
        running: dict[Any, Run] = {}
        try:
            while waiting or running:
                while waiting and len(running) < (self.workers or max(1, room)):
                    run = waiting.pop(0)
                    listener.started(run)
                    running[remote.remote(run.sent(), setup.model_dump_json())] = run
                [done], _ = ray.wait(list(running))
                _tell(ray, done, running.pop(done), listener)
        except (interruption.Interrupted, KeyboardInterrupt):
            for reference in running:  # raises KeyboardInterrupt there, where training writes its checkpoint
                ray.cancel(reference)
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=PATIENCE)
            raise


def _tell(ray: Any, done: Any, run: Run, listener: Listener) -> None:
    try:
        record = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        listener.failed(run, cause if isinstance(cause, ZSLBenchError) else RunError(located(cause)))
    except ray.exceptions.RayError as error:
        listener.failed(run, RunError(f"its worker died ({str(error).splitlines()[0]}); issue the command again"))
    else:
        if record is not None:
            listener.finished(run, RunRecord.model_validate_json(record))


def _check_address(address: str) -> None:
    """Raises a UsageError where nothing answers at the address of a cluster; Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not colon or not port.isdigit():  # `auto`, `local`, or none
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"RAY_ADDRESS={address}: nothing answers there ({error}); start the cluster, or unset it to start one here"
        ) from None


def _fulfil(run: str, setup: str) -> str | None:
    record = fulfil_sent(run, Setup.model_validate_json(setup), Listener())
    return record.model_dump_json() if record else None
