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
from collections.abc import Callable
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

    def send(message: dict[str, Any]) -> None:
        rest = memoryview((json.dumps(message) + "\n").encode())
        if message["event"] == "done":
            busy.clear()
        with suppress(BrokenPipeError):  # nobody listens, so the orders end, too
            while rest:
                rest = rest[os.write(out, rest) :]

    threading.Thread(target=read, daemon=True).start()
    while line := queue.get():
        _obey(line, send)


def _obey(line: str, send: Callable[[dict[str, Any]], None]) -> None:
    from zslbench.engines.messages import answer_together
    from zslbench.errors import thread_failed
    from zslbench.runs.execute import Setup

    threading.excepthook = thread_failed
    runs, setup = json.loads(line)
    answer_together(runs, Setup.model_validate(setup), send)


if __name__ == "__main__":
    try:
        interruption.install(GRACE, worker=True)
        main()
    except interruption.Interrupted:
        sys.stderr.flush()
        os._exit(interruption.status())
