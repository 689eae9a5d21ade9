"""Times whole commands: CPU and wall-clock seconds of the process and all that it starts.

python benchmarks/commands.py startup [--repeats 3]           # --help, list, describe, and one run on digits
python benchmarks/commands.py engines [--engines ray]         # 40 runs of DeViSE on digits: inline, two processes, ...
python benchmarks/commands.py table [-d digits awa1@bow512]   # a tuned table of fourteen methods, three seeds

`--checkouts FOLDER ...` times several versions of the sources in turns. Each command has a new store. For `startup` the
least of the repeats counts. Commands use one thread of PyTorch, as `OMP_NUM_THREADS` says where it is set.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
PARTS = ("methods", "datasets")
"""Folders of a checkout, beside itself, that hold packages."""


def timed(command: list[str], checkout: Path) -> dict[str, float]:
    """Runs `zslbench` of a checkout in a new store; returns its CPU and wall-clock seconds."""
    with tempfile.TemporaryDirectory() as store:
        path = os.pathsep.join(map(str, [checkout, *(checkout / part for part in PARTS)]))
        environment = {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": path, "ZSLBENCH_STORE": store}
        before, start = _cpu(), time.monotonic()
        whole = [sys.executable, "-m", "zslbench", *command]
        done = subprocess.run(whole, cwd=store, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"zslbench {' '.join(command)} of {checkout}: {done.stderr.strip().splitlines()[-1]}")
        return {"cpu_s": round(_cpu() - before, 2), "wall_s": round(time.monotonic() - start, 2)}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def commands_of(given: argparse.Namespace) -> dict[str, list[str]]:
    """Returns the commands to time, by name."""
    if given.what == "startup":
        return {
            "--help": ["--help"],
            "list methods": ["list", "methods"],
            "describe spaen": ["describe", "spaen"],
            "run eszsl -d digits": ["run", "eszsl", "-d", "digits", "--plain"],
            "run devise -d digits": ["run", "devise", "-d", "digits", "--plain"],
        }
    if given.what == "engines":
        runs = ["run", "devise", "-d", "digits", "--seeds", str(given.runs), "--uncalibrated", "--plain"]
        engines = ["inline", "processes", *given.engines]
        return {name: [*runs, "--engine", name, *(["-j", "2"] * (name != "inline"))] for name in engines}
    data = [part for name in given.dataset for part in ("-d", name)]
    methods = ["-m", " ".join(given.methods)] if given.methods else []
    command = ["table", "gbu", *data, *methods, "--tuned", "--trials", str(given.trials), "--plain"]
    return {f"table of {', '.join(given.dataset)}": command}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["startup", "engines", "table"])
    parser.add_argument("--checkouts", nargs="+", type=Path, default=[HERE])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--engines", nargs="*", default=[], help="more engines, such as ray or slurm:cluster=local")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("-d", "--dataset", nargs="+", default=["digits", "awa1@bow512"])
    parser.add_argument("-m", "--methods", nargs="*", default=[])
    parser.add_argument("--trials", type=int, default=16)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name, command in commands_of(given).items():
        found: dict[Path, list[dict[str, float]]] = {checkout: [] for checkout in given.checkouts}
        for _ in range(given.repeats):
            for checkout, times in found.items():
                times.append(timed(command, checkout.absolute()))
        for checkout, times in found.items():
            best = {key: min(one[key] for one in times) for key in times[0]}
            rows.append({"command": name, "checkout": str(checkout), **best})
            print(f"{name}: {best['cpu_s']} s of CPU, {best['wall_s']} s ({checkout})", file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
