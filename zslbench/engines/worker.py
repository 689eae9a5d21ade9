"""Runs in a process of their own: orders as JSON lines on standard input, events as JSON lines on standard output.

python -m zslbench.engines.worker < orders.jsonl
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from zslbench.api.engine import Listener
from zslbench.errors import one_line
from zslbench.files import NotWritten
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, fulfil


def main() -> None:
    """Executes orders, one after another, until there are no more."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a method, or C code in it, prints is no event

    def send(event: str, **content: Any) -> None:
        print(json.dumps({"event": event, **content}), file=out, flush=True)

    warnings.showwarning = lambda message, *_, **__: send("warning", text=str(message))
    listener = Listener(
        started=lambda run: send("started"), epoch=lambda run, progress: send("epoch", progress=asdict(progress))
    )
    for line in sys.stdin:
        run, setup = json.loads(line)
        try:
            record = fulfil(Run.received(run), Setup.model_validate(setup), listener, wait=True)
        except Exception as error:
            send(
                "failed",
                text=one_line(error),
                unwritten=isinstance(error, NotWritten),
                traceback=traceback.format_exc(),
            )
        else:
            send("finished", record=record.model_dump(mode="json") if record else None)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # the process that gave the orders says that it was interrupted
        main()
