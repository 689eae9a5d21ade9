"""Messages between the process that planned a run and the one that executes it, as JSON values with an `event`.

`started`, `epoch` and `warning` come in between; `finished` or `failed` is the last of a run. Where runs are executed
together, each message but a warning has the id of its `run`, and `done` is the last of all.
"""

from __future__ import annotations

import os
import shutil
import socket
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

import torch

from zslbench.api.dataset import ZSLData
from zslbench.api.engine import Listener
from zslbench.api.progress import Progress
from zslbench.errors import Hint, RunError, ZSLBenchError, located
from zslbench.files import NotWritten
from zslbench.records.record import RunRecord
from zslbench.records.sealed import named_by
from zslbench.records.store import Store
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, fulfil_sent
from zslbench.runs.stacking import fulfil_sent_together

Message = dict[str, Any]
Send = Callable[[Message], None]


def answer(run: str, setup: Setup, send: Send, data: ZSLData | None = None) -> Message:
    """Executes a run that another process sent, and sends what happens meanwhile; returns the last message."""
    with _warnings_sent(send):
        try:
            return _ended(fulfil_sent(run, setup, _listener(send), data))
        except Exception as error:
            return failed(error)


def answer_together(runs: Mapping[str, str], setup: Setup, send: Send) -> None:
    """Executes runs that another process sent, as one where that is possible, and sends all that happens."""
    with _warnings_sent(send):
        for run, found in fulfil_sent_together(runs, setup, _listener(send)):
            send({**(failed(found) if isinstance(found, Exception) else _ended(found)), "run": run})
    send({"event": "done"})


@contextmanager
def _warnings_sent(send: Send) -> Iterator[None]:
    def warn(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        send({"event": "warning", "text": str(message), "hint": issubclass(category, Hint)})

    show, warnings.showwarning = warnings.showwarning, warn
    try:
        yield
    finally:
        warnings.showwarning = show


def _listener(send: Send) -> Listener:
    return Listener(
        started=lambda run: send({"event": "started", "run": run.id, "where": here()}),
        epoch=lambda run, progress: send({"event": "epoch", "run": run.id, "progress": asdict(progress)}),
    )


def _ended(record: RunRecord | None) -> Message:
    return {"event": "finished", "record": record.model_dump(mode="json") if record else None}


def answer_apart(run: str, setup: Setup, send: Send, data: ZSLData | None = None) -> Message:
    """Executes a run as `answer` does, in a store for it alone; what is to be kept is `files` of the last message.

    `data` are those of its data set, where these were sent. If a killed process leaves a checkpoint there, the next one
    that gets the run on this machine goes on from it.
    """
    store = setup.opened
    try:
        store.prepare()
        message = answer(run, setup, send, data)
        if message.get("record"):
            record = RunRecord.model_validate(message["record"])
            message["files"] = store.decisions(record), store.model(record) if record.model else None
    finally:
        shutil.rmtree(store.root, ignore_errors=True)
        with suppress(OSError):  # other runs are under way beside it
            store.root.parent.rmdir()
    return message


def keep(message: Message, store: Store) -> Message:
    """Stores what came from another store; returns the message without it, or the one that says why it failed."""
    decisions, model = message.pop("files")
    record = RunRecord.model_validate(message["record"])
    try:
        if named_by(decisions, "decisions") != record.arrays:
            raise RunError("its decisions were damaged on the way; issue the command again")
        with store.claim(record.id, wait=True):
            store.put(record, decisions, model)
    except ZSLBenchError as error:
        return failed(error)
    return message


def failed(error: Exception) -> Message:
    """Returns the message that a run failed."""
    trace = "".join(traceback.format_exception(error))
    return {
        "event": "failed",
        "text": located(error),
        "unwritten": isinstance(error, NotWritten),
        "short_of_memory": isinstance(error, torch.OutOfMemoryError),
        "traceback": trace,
    }


def tell(message: Message, run: Run, listener: Listener) -> bool:
    """Passes a message on; returns whether it was the last about this run."""
    event = message["event"]
    if event == "started":
        listener.started(run)
    elif event == "epoch":
        listener.epoch(run, Progress(**message["progress"]))
    elif event == "warning":
        tell_warning(message)
    elif event == "failed":
        error = (NotWritten if message["unwritten"] else RunError)(message["text"])
        error.add_note(message["traceback"])
        listener.failed(run, error)
    elif message["record"] is not None:
        listener.finished(run, RunRecord.model_validate(message["record"]))
    return event in ("failed", "finished")


def tell_warning(message: Message) -> None:
    """Warns of what another process warned of."""
    warnings.warn(message["text"], Hint if message["hint"] else UserWarning, stacklevel=2)


def here() -> str:
    """Returns what this process is called in messages."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def spaced(send: Send, seconds: float) -> Send:
    """Returns what sends the same, but leaves out epochs that end less than so many seconds after the last one sent."""
    last = -seconds

    def sparingly(message: Message) -> None:
        nonlocal last
        now = time.monotonic()
        if message["event"] != "epoch" or now - last >= seconds:
            last = now if message["event"] == "epoch" else last
            send(message)

    return sparingly
