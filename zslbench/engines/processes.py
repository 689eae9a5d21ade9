"""Several runs at a time on this machine, each in its own process, so that a crash costs one run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock

from zslbench import interruption
from zslbench.api.engine import Engine, Listener
from zslbench.engines.messages import Message, tell, tell_warning
from zslbench.errors import RunError
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup
from zslbench.runs.memory import Sharers
from zslbench.runs.stacking import bundles

Worker = subprocess.Popen[str]


class Processes(Engine):
    """Keeps up to `workers` processes, each one run at a time, or several that are trained as one.

    Each sees one GPU, chosen before it imports torch. Each has a session of its own: a Ctrl-C in the terminal reaches
    this process alone, which then ends them.
    """

    stacks = True

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers)
        self._started: dict[int, Worker] = {}
        self._stopping = False
        interruption.at_end(self._kill)

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs; a worker that dies is one failed run."""
        slots: SimpleQueue[int] = SimpleQueue()
        for slot in range(self.workers):
            slots.put(slot)
        lock = Lock()
        self._stopping = False
        sharers = Sharers(self.workers, -(-self.workers // max(1, len(_gpus(setup.device)))))
        setup = setup.model_copy(update={"sharers": sharers})

        def work(some: list[Run]) -> None:
            slot = slots.get()
            try:
                if not self._stopping:
                    self._execute(self._worker(slot, setup.device), some, setup, listener, lock)
            finally:
                slots.put(slot)

        pool = ThreadPoolExecutor(self.workers)
        try:
            for done in [pool.submit(work, some) for some in bundles(runs, setup.stack, self.workers)]:
                done.result()
        except BaseException:  # an interrupted grid starts no further run
            self._stopping = True
            pool.shutdown(wait=False, cancel_futures=True)
            self._stop()
            raise
        finally:
            pool.shutdown()

    def _execute(self, worker: Worker, runs: list[Run], setup: Setup, listener: Listener, lock: Lock) -> None:
        assert worker.stdin is not None and worker.stdout is not None
        left = {run.id: run for run in runs}
        order = [{run.id: run.sent() for run in runs}, setup.model_dump(mode="json")]
        with suppress(BrokenPipeError):  # broken if it died before it read its order
            print(json.dumps(order), file=worker.stdin, flush=True)
        for line in worker.stdout:
            if not line.endswith("\n"):  # it died in the middle of a message
                break
            with lock:
                if _tell(json.loads(line), left, listener):
                    return
        status = worker.wait()
        cause = f"signal {-status}" if status < 0 else f"status {status}"
        with lock:
            for run in left.values() if not self._stopping else ():
                listener.failed(run, RunError(f"its process died with {cause}; issue the command again to go on"))

    def _worker(self, slot: int, device: str) -> Worker:
        """Returns the process of a slot, a new one where there is none or it died."""
        worker = self._started.get(slot)
        if worker is None or worker.poll() is not None:
            command = [sys.executable, "-m", "zslbench.engines.worker"]
            environment = _environment(slot, device)
            pipe = subprocess.PIPE
            worker = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, text=True, env=environment, start_new_session=True
            )
            self._started[slot] = worker
            if self._stopping:  # it began while the others were ended
                worker.kill()
        return worker

    def close(self) -> None:
        """Lets the workers end; one that does not is killed."""
        for worker in self._started.values():
            assert worker.stdin is not None and worker.stdout is not None
            with suppress(BrokenPipeError):
                worker.stdin.close()
        self._wait()
        for worker in self._started.values():
            assert worker.stdout is not None
            worker.stdout.close()
        self._started.clear()

    def _stop(self) -> None:
        """Has the workers write their checkpoints and end; one that does not is killed."""
        for worker in list(self._started.values()):
            worker.terminate()
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + interruption.PATIENCE
        try:
            for worker in list(self._started.values()):
                worker.wait(max(0.0, end - time.monotonic()))
        except BaseException as error:
            self._kill()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise

    def _kill(self) -> None:
        """Kills the workers that are left, and what they started."""
        for worker in list(self._started.values()):
            if worker.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(worker.pid, signal.SIGKILL)
                worker.wait()


def _tell(message: Message, left: dict[str, Run], listener: Listener) -> bool:
    """Passes a message on, and notes which runs have ended; returns whether it was the last."""
    if message["event"] == "done":
        return True
    if message["event"] == "warning":
        tell_warning(message)
    elif tell(message, left[message["run"]], listener):
        del left[message["run"]]
    return False


def _environment(slot: int, device: str) -> dict[str, str]:
    gpus = _gpus(device)
    return {**os.environ, **({"CUDA_VISIBLE_DEVICES": gpus[slot % len(gpus)]} if gpus else {})}


def _gpus(device: str) -> list[str]:
    """Returns the GPUs that workers are divided over, as `CUDA_VISIBLE_DEVICES` names them."""
    if device not in ("auto", "cuda"):
        return []
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")[:count]
