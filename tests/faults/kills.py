"""Kills commands at random moments, again and again, and looks whether anything was lost, repeated or torn.

    python -m tests.faults.kills --count 200 --seed 0

A command is killed by SIGKILL at a random moment after its first line of progress and issued again, until it finishes;
then the next one begins, in a store of its own. Exit status 1 if a finished run is lost or written again, a record is
damaged, or the end is not that of an undisturbed command.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zslbench.records.store import Store

METHODS = ["devise:epochs=60", "eszsl", "ale:epochs=60", "sae"]
COMPARE = [sys.executable, "-m", "zslbench", "compare", *METHODS, "-d", "digits", "--seeds", "2", "--json", "--plain"]
RUNS = 6
LONGEST = 4.0
"""Seconds after the first line of progress within which a command is killed."""


@dataclass
class Tally:
    """What was seen over all commands."""

    kills: int = 0
    finished: int = 0
    runs: int = 0
    wrong: list[str] = field(default_factory=list)


def stored(store: Path, tally: Tally) -> dict[str, bytes]:
    """Returns the records of a store, each of which must be whole."""
    opened, found = Store(store, create=False), {}
    for path in store.glob("runs/*/record.json"):
        record = opened.find(path.parent.name)
        if record is None or not opened.arrays(record):
            tally.wrong.append(f"{path} is damaged")
        else:
            found[path.parent.name] = path.read_bytes()
    return found


def answered(out: str) -> dict[str, Any]:
    return {run["id"]: (run["metrics"], run["arrays"]) for run in json.loads(out)["runs"]}


def issue(folder: Path, jobs: int) -> subprocess.Popen[str]:
    """Issues the command, with a store in the folder."""
    environment = {**os.environ, "ZSLBENCH_STORE": str(folder / "store"), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    command = [*COMPARE, *(["--jobs", str(jobs)] if jobs > 1 else [])]
    return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def until_finished(folder: Path, moments: random.Random, tally: Tally, most: int, expected: dict[str, Any]) -> None:
    """Kills a command until it has been killed `most` times or finishes; in the end it must have its results."""
    jobs, kept, kills = moments.choice([1, 2]), dict[str, bytes](), 0
    while True:
        process = issue(folder, jobs)
        with process:
            assert process.stderr is not None
            process.stderr.readline()
            if kills < most:
                try:
                    process.wait(moments.uniform(0, LONGEST))
                except subprocess.TimeoutExpired:
                    process.kill()
            out, _ = process.communicate()
        now = stored(folder / "store", tally)
        tally.wrong += [f"{run} is lost or was written again" for run in kept if now.get(run) != kept[run]]
        if process.returncode == 0:
            break
        kept, kills, tally.kills = now, kills + 1, tally.kills + 1
    if answered(out) != expected or len(now) != RUNS:
        tally.wrong.append(f"{folder}: it ends otherwise than undisturbed")
    left = (
        [str(path) for path in (folder / "store" / "partial").iterdir()]
        if (folder / "store" / "partial").is_dir()
        else []
    )
    tally.wrong += [f"{path} is left" for path in left]
    tally.finished, tally.runs = tally.finished + 1, tally.runs + RUNS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tally, moments, began = Tally(), random.Random(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="zslbench-kills-") as name:
        process = issue(Path(name) / "undisturbed", 1)
        out, err = process.communicate()
        assert process.returncode == 0, err
        expected, number = answered(out), 0
        while tally.kills < options.count:
            number += 1
            until_finished(Path(name) / str(number), moments, tally, options.count - tally.kills, expected)
    print(f"{tally.kills} kills over {tally.finished} commands of {RUNS} runs in {time.monotonic() - began:.0f} s")
    print(*(tally.wrong or ["nothing lost, repeated or torn"]), sep="\n")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
