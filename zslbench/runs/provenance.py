"""Where a number comes from: code, packages, hardware, time. Kept in the record, outside the run's identity."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import zslbench
from zslbench.data.featurefile import is_features_file
from zslbench.data.semantics import OWN, origin_of
from zslbench.records.record import RunRecord
from zslbench.runs.code import method_code, plugin_of
from zslbench.runs.entrant import Run
from zslbench.runs.member import members_of
from zslbench.runs.request import split_source
from zslbench.runs.resolve import method_class
from zslbench.training.device import describe_device


def provenance(run: Run, device: torch.device, started: datetime) -> dict[str, Any]:
    """Returns what a reader needs to repeat a run that began at `started` (UTC) and ends now."""
    return {
        **environment(),
        "method_plugin": plugin_of(run.entrant.entry),
        "device": str(device),
        "device_name": describe_device(device),
        "started": started.isoformat(timespec="milliseconds"),
        "finished": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "method_code": method_code(run.entrant.method),
        **({"member_code": code} if (code := _member_code(run)) else {}),
        "dataset": run.entrant.source,
        "splits": run.entrant.request.splits,
        **({"features": features} if (features := _features_file(run)) else {}),
        "pretraining": run.entrant.pretraining,
        **({"semantics": semantics} if (semantics := run.entrant.semantics) != OWN else {}),
        **origin_of(run.entrant.semantics),
        **({"weights": weights} if (weights := _paths(run)) else {}),
    }


def _features_file(run: Run) -> str:
    """Returns the file of features that was named in place of features of the data set, if one was."""
    named = split_source(run.entrant.source)[1] or run.entrant.request.features or ""
    return named if run.spec.input == "features" and is_features_file(named) else ""


def _member_code(run: Run) -> dict[str, str]:
    return {member.entry.name: method_code(member.method) for member in members_of(run.params).values()}


def _paths(run: Run) -> dict[str, str]:
    return {part: str(path) for part, path in run.entrant.request.weights.items()}


@cache
def environment() -> dict[str, Any]:
    """Returns versions of code and packages, and the machine's kind."""
    return {
        "zslbench": zslbench.__version__,
        "revision": revision(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in ("torch", "numpy", "scipy", "scikit-learn")},
        "cpus": os.cpu_count(),
    }


@cache
def revision() -> str | None:
    """Returns the git revision of zslbench's source, with `+changes` if it was edited; None outside a checkout."""
    home = Path(zslbench.__file__).parent.parent
    if not (home / ".git").exists():
        return None
    try:
        commit = _git(home, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(home, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(home: Path, *arguments: str) -> str:
    command = ["git", "-C", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def outdated(records: Iterable[RunRecord]) -> list[str]:
    """Returns lines about runs that were made by another state of a method that did not raise its version."""
    counts = Counter(
        pair
        for record in records
        for pair in {
            record.spec.method: record.provenance.get("method_code", ""),
            **record.provenance.get("member_code", {}),
        }.items()
    )
    present = {name: method_code(method_class(name)) for name, _ in counts}
    lines = []
    for name, code in present.items():
        if count := sum(n for (own, other), n in counts.items() if own == name and other not in ("", code)):
            runs = "1 stored run is" if count == 1 else f"{count} stored runs are"
            lines.append(
                f"warning: {runs} from before the code of {name} changed; "
                "--existing rerun trains again, and a raised `version` keeps both"
            )
    return lines


def memory_used(device: torch.device) -> dict[str, float]:
    """Returns the peak memory, and how much the GPU has, where the run was on one, in MB."""
    used = {"peak_memory_mb": peak_memory(device)}
    if device.type == "cuda":
        used["device_memory_mb"] = torch.cuda.get_device_properties(device).total_memory / 2**20
    return used


def reset_peak_memory(device: torch.device) -> None:
    """Begins a new measurement, where the system allows it: a process may execute many runs."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> float:
    """Returns the largest memory of this process since the reset in MB, on the GPU where the run was on one."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**10
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes but on macOS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
