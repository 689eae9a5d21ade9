"""One run in a process of its own: a job on standard input, events as JSON lines on standard output.

python -m zslbench.engines.worker < job.json
"""

from __future__ import annotations

import json
import os
import sys
import traceback
import warnings
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from zslbench.errors import one_line
from zslbench.runner import Job, Setup, Watcher, fulfil


class Order(BaseModel):
    """What a worker is to do."""

    job: Job
    setup: Setup


def main() -> None:
    """Executes one order."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a method, or C code in it, prints is no event

    def send(event: str, **content: Any) -> None:
        print(json.dumps({"event": event, **content}), file=out, flush=True)

    warnings.showwarning = lambda message, *_, **__: send("warning", text=str(message))
    order = Order.model_validate_json(sys.stdin.read())
    watcher = Watcher(
        started=lambda job: send("started"), epoch=lambda job, progress: send("epoch", progress=asdict(progress))
    )
    try:
        record = fulfil(order.job, order.setup, watcher, wait=True)
    except Exception as error:
        send("failed", text=one_line(error), traceback=traceback.format_exc())
    else:
        send("finished", record=record.model_dump(mode="json") if record else None)


if __name__ == "__main__":
    main()
