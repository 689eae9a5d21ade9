"""Executes runs in its own process: orders as JSON lines on standard input, events as JSON lines on standard output.

python -m zslbench.engines.worker < orders.jsonl

A worker ends when its orders end. If they end in the middle of a run, the process that gave them is gone. Then the
worker is interrupted as if it were told to end. Heavy imports happen only after it obeys signals.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from zslbench import interruption

GRACE = 6.0
"""Seconds to end in; less than the process that started it waits before it kills."""


def main() -> None:
    """Executes orders, one after another, until there are no more."""
    orders, out = os.fdopen(os.dup(0)), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)  # a method may read standard input, which must not be the orders
    os.close(null)
    os.dup2(2, 1)  # what a method, or C code in it, prints is no event
    busy, queue = threading.Event(), SimpleQueue[str]()

    def read() -> None:
        for line in orders:
            busy.set()
            queue.put(line)
        queue.put("")
        if busy.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def send(event: str, **content: Any) -> None:
        rest = memoryview((json.dumps({"event": event, **content}) + "\n").encode())
        if event == "done":
            busy.clear()
        with suppress(BrokenPipeError):  # nobody listens, so the orders end, too
            while rest:
                rest = rest[os.write(out, rest) :]

    threading.Thread(target=read, daemon=True).start()
    while line := queue.get():
        _obey(line, send)


def _obey(line: str, send: Any) -> None:
    import traceback
    import warnings
    from dataclasses import asdict

    from zslbench.api.engine import Listener
    from zslbench.errors import Hint, located, thread_failed
    from zslbench.files import NotWritten
    from zslbench.runs.execute import Setup
    from zslbench.runs.stacking import fulfil_sent_together

    warnings.showwarning = lambda message, category, *_, **__: send(
        "warning", text=str(message), hint=issubclass(category, Hint)
    )
    threading.excepthook = thread_failed
    listener = Listener(
        started=lambda run: send("started", run=run.id),
        epoch=lambda run, progress: send("epoch", run=run.id, progress=asdict(progress)),
    )
    runs, setup = json.loads(line)
    for run, found in fulfil_sent_together(runs, Setup.model_validate(setup), listener):
        if isinstance(found, Exception):
            trace = "".join(traceback.format_exception(found))
            send("failed", run=run, text=located(found), unwritten=isinstance(found, NotWritten), traceback=trace)
        else:
            send("finished", run=run, record=found.model_dump(mode="json") if found else None)
    send("done")


if __name__ == "__main__":
    try:
        interruption.install(GRACE, worker=True)
        main()
    except interruption.Interrupted:
        sys.stderr.flush()
        os._exit(interruption.status())
