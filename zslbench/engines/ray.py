"""Runs on a Ray cluster; store and data must lie on a file system that all its machines share."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from zslbench.api.engine import Engine, Listener
from zslbench.errors import RunError, UsageError, ZSLBenchError, one_line
from zslbench.records.record import RunRecord
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, fulfil


class Ray(Engine):
    """Joins the cluster that `RAY_ADDRESS` names, or starts one here; at most `workers` runs at a time."""

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs; a worker that dies is one failed run."""
        try:
            import ray
        except ImportError as error:
            raise UsageError("--engine ray: Ray is not installed; pip install 'zslbench[ray]'") from error
        device = setup.device.partition(":")[0]  # a worker sees one GPU, whatever its number here
        setup = setup.model_copy(update={"store": setup.store.absolute(), "device": device})
        started_here = not ray.is_initialized()
        if started_here:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
        try:
            self._execute(ray, runs, setup, listener)
        finally:
            if started_here:
                ray.shutdown()

    def _execute(self, ray: Any, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        gpus = 0 if setup.device == "cpu" else min(1, ray.cluster_resources().get("GPU", 0))
        remote = ray.remote(_fulfil).options(num_cpus=1, num_gpus=gpus, max_retries=0)
        waiting = list(runs)
        running: dict[Any, Run] = {}
        while waiting or running:
            while waiting and len(running) < self.workers:
                run = waiting.pop(0)
                listener.started(run)
                running[remote.remote(run.sent(), setup.model_dump_json())] = run
            [done], _ = ray.wait(list(running))
            run = running.pop(done)
            try:
                record = ray.get(done)
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                known = isinstance(cause, ZSLBenchError)
                listener.failed(run, cause if known else RunError(one_line(cause)))
            except ray.exceptions.RayError as error:
                listener.failed(
                    run, RunError(f"its worker died ({str(error).splitlines()[0]}); issue the command again")
                )
            else:
                if record is not None:
                    listener.finished(run, RunRecord.model_validate_json(record))


def _fulfil(run: str, setup: str) -> str | None:
    record = fulfil(Run.received(run), Setup.model_validate_json(setup), Listener(), wait=True)
    return record.model_dump_json() if record else None
