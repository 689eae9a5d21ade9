"""A process without threads, which forks for mutations and crashes: a fork of one with threads may wait for ever."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any

from faults import trial
from faults.mutate import warm_up
from faults.trial import Outcome, outcome_of


class Zygote:
    """Starts the process, which imports what runs import once; `outcome` has it fork."""

    def __init__(self) -> None:
        paths = os.pathsep.join(filter(None, sys.path))
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        environment["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # its own reserves a gigabyte, which would count
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.zygote"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def __enter__(self) -> Zygote:
        trial.elsewhere = self.outcome
        return self

    def __exit__(self, *exception: object) -> None:
        trial.elsewhere = None
        self._process.communicate()

    def outcome(self, *order: Any) -> Outcome:
        """Returns what `outcome_of` returns for these arguments there."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(pickle.dumps(order))
        self._process.stdin.flush()
        found = pickle.load(self._process.stdout)  # noqa: S301 (from this process's own child)
        assert isinstance(found, Outcome), found
        return found


def main() -> None:
    """Obeys orders on standard input until there are no more."""
    orders, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    warm_up()
    while True:
        try:
            order = pickle.load(orders)  # noqa: S301 (from the process that started this one)
        except EOFError:
            return
        answers.write(pickle.dumps(outcome_of(*order)))
        answers.flush()


if __name__ == "__main__":
    main()
