"""Several runs at a time on this machine, each in a process of its own, so that a crash costs one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock

from zslbench.engines.base import Engine, Listener
from zslbench.engines.worker import Order
from zslbench.errors import RunError
from zslbench.record import Progress, RunRecord
from zslbench.runner import Job, Setup


class Processes(Engine):
    """Starts up to `workers` processes; each sees one GPU, chosen before it imports torch."""

    def execute(self, jobs: list[Job], setup: Setup, listener: Listener) -> None:
        """Executes the runs; a worker that dies is one failed run."""
        slots: SimpleQueue[dict[str, str]] = SimpleQueue()
        for slot in range(self.workers):
            slots.put(_environment(slot, setup.device))
        lock = Lock()

        def work(job: Job) -> None:
            environment = slots.get()
            try:
                _run(job, setup, listener, lock, environment)
            finally:
                slots.put(environment)

        pool = ThreadPoolExecutor(self.workers)
        try:
            for done in [pool.submit(work, job) for job in jobs]:
                done.result()
        finally:  # an interrupted grid starts no further run
            pool.shutdown(cancel_futures=True)


def _run(job: Job, setup: Setup, listener: Listener, lock: Lock, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "zslbench.engines.worker"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as worker:
        assert worker.stdin is not None and worker.stdout is not None
        with suppress(BrokenPipeError), worker.stdin:  # broken if it died before it read its order
            worker.stdin.write(Order(job=job, setup=setup).model_dump_json())
        ended = False
        for line in worker.stdout:
            if not line.endswith("\n"):  # it died in the middle of a message
                break
            with lock:
                ended = _tell(json.loads(line), job, listener) or ended
    if not ended:
        status = worker.returncode
        cause = f"signal {-status}" if status < 0 else f"status {status}"
        with lock:
            listener.failed(job, RunError(f"its process died with {cause}; issue the command again to go on"))


def _tell(message: dict[str, object], job: Job, listener: Listener) -> bool:
    """Passes one event on; returns whether it was the last."""
    event = message["event"]
    if event == "started":
        listener.started(job)
    elif event == "epoch":
        listener.epoch(job, Progress(**message["progress"]))  # type: ignore[arg-type]
    elif event == "warning":
        warnings.warn(str(message["text"]), stacklevel=2)
    elif event == "failed":
        error = RunError(str(message["text"]))
        error.add_note(str(message["traceback"]))
        listener.failed(job, error)
    elif message["record"] is not None:
        listener.finished(job, RunRecord.model_validate(message["record"]))
    return event in ("failed", "finished")


def _environment(slot: int, device: str) -> dict[str, str]:
    environment = {**os.environ}
    if device in ("auto", "cuda"):
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
        if count:
            environment["CUDA_VISIBLE_DEVICES"] = visible[slot % count]
    return environment
