"""Several runs at a time on this machine, in processes of their own, so that a crash costs one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock

from zslbench.api.engine import Engine, Listener
from zslbench.api.progress import Progress
from zslbench.errors import RunError
from zslbench.files import NotWritten
from zslbench.records.record import RunRecord
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup

Worker = subprocess.Popen[str]


class Processes(Engine):
    """Keeps up to `workers` processes, each one run at a time; each sees one GPU, chosen before it imports torch."""

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers)
        self._started: dict[int, Worker] = {}

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs; a worker that dies is one failed run."""
        slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(self.workers):
            slots.put(slot)
        lock = Lock()

        def work(run: Run) -> None:
            slot = slots.get()
            try:
                _execute(self._worker(slot, setup.device), run, setup, listener, lock)
            finally:
                slots.put(slot)

        pool = ThreadPoolExecutor(self.workers)
        try:
            for done in [pool.submit(work, run) for run in runs]:
                done.result()
        finally:  # an interrupted grid starts no further run
            pool.shutdown(cancel_futures=True)

    def _worker(self, slot: int, device: str) -> Worker:
        """Returns the process of a slot, a new one where there is none or it died."""
        worker = self._started.get(slot)
        if worker is None or worker.poll() is not None:
            command = [sys.executable, "-m", "zslbench.engines.worker"]
            environment = _environment(slot, device)
            pipe = subprocess.PIPE
            worker = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
            self._started[slot] = worker
        return worker

    def close(self) -> None:
        """Lets the workers end."""
        for worker in self._started.values():
            with suppress(BrokenPipeError), worker:  # leaving closes its pipes and waits
                pass
        self._started.clear()


def _execute(worker: Worker, run: Run, setup: Setup, listener: Listener, lock: Lock) -> None:
    assert worker.stdin is not None and worker.stdout is not None
    with suppress(BrokenPipeError):  # broken if it died before it read its order
        print(json.dumps([run.sent(), setup.model_dump(mode="json")]), file=worker.stdin, flush=True)
    for line in worker.stdout:
        if not line.endswith("\n"):  # it died in the middle of a message
            break
        with lock:
            if _tell(json.loads(line), run, listener):
                return
    status = worker.wait()
    cause = f"signal {-status}" if status < 0 else f"status {status}"
    with lock:
        listener.failed(run, RunError(f"its process died with {cause}; issue the command again to go on"))


def _tell(message: dict[str, object], run: Run, listener: Listener) -> bool:
    """Passes one event on; returns whether it was the last."""
    event = message["event"]
    if event == "started":
        listener.started(run)
    elif event == "epoch":
        listener.epoch(run, Progress(**message["progress"]))  # type: ignore[arg-type]
    elif event == "warning":
        warnings.warn(str(message["text"]), stacklevel=2)
    elif event == "failed":
        error = (NotWritten if message.get("unwritten") else RunError)(str(message["text"]))
        error.add_note(str(message["traceback"]))
        listener.failed(run, error)
    elif message["record"] is not None:
        listener.finished(run, RunRecord.model_validate(message["record"]))
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
