"""Kills workers in the middle of small runs, and counts what is stored in the end.

python benchmarks/faults.py --engine ray|slurm:cluster=local|processes [--runs 500] [--share 0.05] [--jobs 2]

A share of the runs, drawn at random, kills the process that executes it by SIGKILL, once each, after its first epoch of
training. The command is issued until it ends without an error, five times at most; with an engine that sends lost runs
again once is enough. Prints JSON: how many workers were killed, how many runs are stored, lost, or there twice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

OBSERVER = """
import os, signal
from pathlib import Path


def zslbench_epoch_finished(spec, progress):
    mark = Path({folder!r}) / str(spec.seed)
    if spec.seed in {seeds!r} and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""
"""A plugin that is told of every epoch."""


def prepare(folder: Path, runs: int, share: float) -> int:
    """Writes the observer; returns how many workers are to be killed."""
    seeds = np.random.default_rng(0).choice(runs, round(share * runs), replace=False).tolist()
    (folder / "killed").mkdir()
    source = OBSERVER.format(folder=str(folder / "killed"), seeds=set(seeds))
    (folder / "path" / "reaper-1.0.dist-info").mkdir(parents=True)
    (folder / "path" / "reaper.py").write_text(source)
    info = folder / "path" / "reaper-1.0.dist-info"
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reaper\nVersion: 1.0\nRequires-Dist: zslbench\n")
    (info / "entry_points.txt").write_text("[zslbench]\nreaper = reaper\n")
    return len(seeds)


def issue(folder: Path, arguments: argparse.Namespace) -> tuple[int, dict[str, Any], str]:
    """Issues the command once; returns its status, what it printed, and its messages."""
    words = ["run", "devise:epochs=3", "--uncalibrated", "--dataset", "digits", "--device", "cpu", "--json"]
    words += ["--seeds", str(arguments.runs), "--engine", arguments.engine, "--jobs", str(arguments.jobs)]
    words += ["--store", str(folder / "store")]
    paths = [str(folder / "path"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", "zslbench", *words], capture_output=True, text=True, env=environment)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def counted(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the counts."""
    with tempfile.TemporaryDirectory() as name:
        folder, began, commands, again = Path(name), time.monotonic(), 0, 0
        planned = prepare(folder, arguments.runs, arguments.share)
        status = 1
        while status and commands < 5:
            status, printed, told = issue(folder, arguments)
            commands, again = commands + 1, again + told.count("it is sent again")
        seeds = Counter(run["spec"]["seed"] for run in printed.get("runs", []))
        stored = len(list((folder / "store" / "runs").glob("*/record.json")))
        return {
            "engine": arguments.engine,
            "runs": arguments.runs,
            "workers_to_kill": planned,
            "workers_killed": len(list((folder / "killed").iterdir())),
            "sent_again": again,
            "commands": commands,
            "status": status,
            "stored": stored,
            "lost": len(set(range(arguments.runs)) - set(seeds)),
            "twice": sum(count > 1 for count in seeds.values()),
            "seconds": round(time.monotonic() - began, 1),
            "messages": told.splitlines()[-3:] if status else [],
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--engine", default="ray")
    parser.add_argument("--share", type=float, default=0.05, help="of the runs whose worker is killed")
    parser.add_argument("--jobs", type=int, default=2)
    print(json.dumps(counted(parser.parse_args()), indent=1))
