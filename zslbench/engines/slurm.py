"""Runs as jobs of Slurm, through submitit; the store must be in a folder that all machines share.

STORE/jobs/NAME/     while a command runs: orders, messages and logs of its jobs; it stays where a worker was lost
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from zslbench import interruption
from zslbench.api.engine import Engine, Listener
from zslbench.api.params import Params, param
from zslbench.engines.messages import Message, answer, spaced
from zslbench.engines.sending import Place, elsewhere, fulfil_at
from zslbench.errors import UsageError
from zslbench.files import NODE
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup

MOMENT, BETWEEN = 0.5, 5.0
"""Seconds between two looks for messages, and between two questions to Slurm."""
LAG = 10.0
"""Seconds that a shared folder may take to show what a job on another machine wrote."""
WARNED = 90
"""Seconds before its time limit in which a job writes its checkpoint and is queued again, if it has so many."""
LARGEST = 1000
"""Jobs of an array, of which Slurm allows 1001 unless told otherwise."""
ENDED = "ended"


class SlurmOptions(Params):
    """What a job asks Slurm for."""

    cluster: Literal["slurm", "local"] = param("slurm", "`local` starts the jobs here, to try things without Slurm")
    minutes: float = param(60, "time limit; a job that needs more is queued again, and goes on", gt=0)
    runs_per_job: int = param(1, "runs that a job executes, one after another", ge=1)
    cpus_per_run: int = param(1, "CPUs, and threads", ge=1)
    gpus_per_run: int = param(0, "GPUs", ge=0, le=1)
    memory_gb: float = param(0, "memory; 0 for what the partition gives", ge=0)
    partition: str = param("", "partition; empty for the default one")
    account: str = param("", "account; empty for the default one")


class Slurm(Engine):
    """Submits job arrays; at most `workers` jobs of an array at a time, or as many as Slurm lets run."""

    options: SlurmOptions = SlurmOptions()

    def __init__(self, workers: int = 0) -> None:
        super().__init__(workers)

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs; one whose job is lost is submitted again."""
        try:
            import submitit
        except ImportError as error:
            raise UsageError("--engine slurm: submitit is not installed; pip install 'zslbench[slurm]'") from error
        local = self.options.cluster == "local"
        if not local and not (shutil.which("sbatch") and shutil.which("srun")):
            raise UsageError(
                "--engine slurm: there is no sbatch here; run the command on a machine of the cluster, or try it on "
                "this one with --engine slurm:cluster=local"
            )
        logging.getLogger("submitit").setLevel(logging.ERROR)
        setup = elsewhere(setup)
        folder = setup.store / "jobs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{NODE}-{os.getpid()}"
        executor = self._executor(submitit, folder)
        place = (_Local if local else _Queue)(executor, folder, setup, self.options, self.workers)
        try:
            fulfil_at(place, runs, listener)
        finally:
            if not place.lost:
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # other commands have jobs, or there were none
                folder.parent.rmdir()

    def _executor(self, submitit: Any, folder: Path) -> Any:
        chosen = self.options
        warned = int(min(WARNED, chosen.minutes * 60 / 2))
        if chosen.cluster == "local":
            executor = submitit.LocalExecutor(folder)
            executor.update_parameters(
                timeout_min=chosen.minutes, signal_delay_s=warned, gpus_per_node=chosen.gpus_per_run
            )
            return executor
        executor = submitit.SlurmExecutor(folder)
        wanted = {
            "partition": chosen.partition or None,
            "account": chosen.account or None,
            "gpus_per_node": chosen.gpus_per_run or None,
            "mem": f"{math.ceil(chosen.memory_gb * 1024)}MB" if chosen.memory_gb else None,
        }
        executor.update_parameters(
            job_name="zslbench",
            time=math.ceil(chosen.minutes),
            signal_delay_s=warned,
            cpus_per_task=chosen.cpus_per_run,
            array_parallelism=self.workers or LARGEST,
            setup=[f"export OMP_NUM_THREADS=${{OMP_NUM_THREADS:-{chosen.cpus_per_run}}}"],
            **{name: value for name, value in wanted.items() if value is not None},
        )
        return executor


class _Jobs(Place):
    """Jobs that submitit starts. Each tells in a file of its own what becomes of its runs."""

    lag = LAG

    def __init__(self, executor: Any, folder: Path, setup: Setup, options: SlurmOptions, workers: int) -> None:
        self.executor, self.folder, self.setup, self.options, self.workers = executor, folder, setup, options, workers
        self.job_size = options.runs_per_job
        self.sent: dict[str, tuple[Any, Path]] = {}
        self.read: dict[str, int] = {}
        self.kept: list[tuple[str, str, Message]] = []
        self.over: set[str] = set()
        self.missed: dict[str, float] = {}
        self.lost = False

    def send(self, jobs: Sequence[Sequence[Run]]) -> list[str]:
        self.folder.mkdir(parents=True, exist_ok=True)
        handles: list[str] = []
        for start in range(0, len(jobs), LARGEST):
            part = jobs[start : start + LARGEST]
            files = [self.folder / f"{len(self.sent) + number}.jsonl" for number in range(len(part))]
            orders = [[(run.id, run.sent()) for run in job] for job in part]
            settings = [self.setup.model_dump_json()] * len(part)
            limits = [self.options.minutes] * len(part)
            try:
                submitted = self.executor.map_array(_Job(), orders, settings, map(str, files), limits)
            except RuntimeError as error:  # what sbatch says
                raise UsageError(f"--engine slurm: {str(error).strip().splitlines()[-1]}") from error
            for job, file in zip(submitted, files, strict=True):
                self.sent[job.job_id] = job, file
                handles.append(job.job_id)
        return handles

    def ended(self, jobs: Sequence[str]) -> Mapping[str, str]:
        time.sleep(MOMENT)
        alive = self.alive(jobs)  # before messages are read, of which none must be missed
        for job in jobs:
            self._read(job)
        ended = {job: "" for job in jobs if job in self.over}
        for job in set(jobs) - alive - self.over:
            if time.monotonic() - self.missed.setdefault(job, time.monotonic()) >= self.lag:
                ended[job] = self._cause(job)
                self.lost = True
        return ended

    def alive(self, jobs: Sequence[str]) -> set[str]:
        """Returns which jobs wait or run, as far as is known."""
        raise NotImplementedError

    def state(self, job: str) -> str:
        """Returns how a job ended that is no longer alive, in the words of the cluster."""
        raise NotImplementedError

    def messages(self, jobs: Sequence[str]) -> Iterator[tuple[str, str, Message]]:
        kept, self.kept = self.kept, []
        yield from kept

    def _read(self, job: str) -> None:
        with suppress(OSError), self.sent[job][1].open("rb") as file:
            file.seek(self.read.get(job, 0))
            content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self.read[job] = self.read.get(job, 0) + len(whole)
            for line in whole.splitlines():
                with suppress(ValueError):  # a worker was killed while it wrote it
                    id, message = json.loads(line)
                    if message["event"] == ENDED:
                        self.over.add(job)
                    else:
                        self.kept.append((job, id, message))

    def _cause(self, job: str) -> str:
        log = Path(self.sent[job][0].paths.stderr)
        lines: list[str] = []
        with suppress(OSError):
            lines = log.read_text(errors="replace").strip().splitlines()
        last = f", last said {lines[-1]!r}" if lines else ""
        return f"job {job} ended as {self.state(job)}{last} (log: {log})"


class _Local(_Jobs):
    """Jobs on this machine, which submitit starts as it would on a cluster."""

    lag = 0.0

    def room(self, waiting: Sequence[Run], jobs: Sequence[str]) -> int:
        at_a_time = self.workers or len(os.sched_getaffinity(0))
        return max(0, at_a_time - len(jobs)) * self.job_size

    def send(self, jobs: Sequence[Sequence[Run]]) -> list[str]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit it; `cancel` ends them
        try:
            return super().send(jobs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def alive(self, jobs: Sequence[str]) -> set[str]:
        return {job for job in jobs if not self.sent[job][0].done()}

    def state(self, job: str) -> str:
        return str(self.sent[job][0].state)

    def cancel(self, jobs: Sequence[str]) -> None:
        for job in self.alive(jobs):
            os.kill(int(job), signal.SIGTERM)  # submitit's own `cancel` leaves a second, and prints a traceback
        end = time.monotonic() + interruption.PATIENCE
        while self.alive(jobs) and time.monotonic() < end:
            time.sleep(MOMENT / 5)
        for job in self.alive(jobs):
            self.sent[job][0].cancel(check=False)


class _Queue(_Jobs):
    """Jobs in Slurm's queue."""

    asked, known = -math.inf, frozenset[str]()

    def room(self, waiting: Sequence[Run], jobs: Sequence[str]) -> int:
        return len(waiting)  # Slurm keeps the queue

    def send(self, jobs: Sequence[Sequence[Run]]) -> list[str]:
        self.asked = -math.inf
        return super().send(jobs)

    def alive(self, jobs: Sequence[str]) -> set[str]:
        if time.monotonic() - self.asked >= BETWEEN:
            arrays = {job.partition("_")[0] for job in jobs}
            command = ["squeue", "--noheader", "--array", "--format=%i", f"--jobs={','.join(sorted(arrays))}"]
            asked = subprocess.run(command, capture_output=True, text=True)
            if asked.returncode and "Invalid job id" not in asked.stderr:  # Slurm's controller may be away for a while
                return set(jobs)
            self.asked, self.known = time.monotonic(), frozenset(asked.stdout.split())
        return set(jobs) & self.known

    def state(self, job: str) -> str:
        shown = subprocess.run(["scontrol", "--oneliner", "show", "job", job], capture_output=True, text=True).stdout
        facts = dict(word.split("=", 1) for word in shown.split() if "=" in word)
        names = ("JobState", "Reason", "NodeList")
        return " ".join(facts[name] for name in names if facts.get(name) not in (None, "None")) or "unknown"

    def cancel(self, jobs: Sequence[str]) -> None:
        subprocess.run(["scancel", *jobs], capture_output=True)
        end = time.monotonic() + interruption.PATIENCE
        while self.alive(jobs) and time.monotonic() < end:
            time.sleep(MOMENT)


class _Job:
    """What submitit executes: runs, one after another.

    Told to stop before its time is over, it has a checkpoint written, and is queued again.
    """

    def __call__(self, orders: list[tuple[str, str]], settings: str, file: str, minutes: float) -> None:
        import submitit

        number = submitit.JobEnvironment._usr_sig()
        queue_again, told = signal.getsignal(number), list[int]()
        interruption.install(WARNED, worker=True)

        def stop(number: int, frame: object) -> None:
            told.append(number)
            os.kill(os.getpid(), signal.SIGTERM)

        signal.signal(number, stop)
        send, left = partial(_write, Path(file)), [id for id, _ in orders]
        try:
            for id, run in orders:
                send(id, answer(run, Setup.model_validate_json(settings), spaced(partial(send, id), 1.0)))
                left.remove(id)
            send("", {"event": ENDED})
        except interruption.Interrupted:
            if not told or not callable(queue_again):
                sys.stderr.flush()
                os._exit(interruption.status())  # taking torch down takes seconds, which may be all there are
            try:
                queue_again(number, None)  # ends the process
            except submitit.core.utils.UncompletedJobError as error:
                text = f"its job is not queued again ({error}); give more than --engine slurm:minutes={minutes:g}"
                for id in left:
                    send(id, {"event": "failed", "text": text, "unwritten": False, "traceback": ""})
                send("", {"event": ENDED})

    def checkpoint(self, *arguments: Any) -> Any:
        """Returns what is queued again; its runs go on from their own checkpoints."""
        import submitit

        return submitit.helpers.DelayedSubmission(self, *arguments)


def _write(file: Path, id: str, message: Message) -> None:
    with file.open("ab") as out:
        out.write(b"\n" + json.dumps([id, message]).encode() + b"\n")  # a line may have been cut short before
