"""The checks behind `zslbench doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from zslbench.api.dataset import Dataset
from zslbench.data.folders import data_root
from zslbench.discovery.plugins import plugins, registry
from zslbench.errors import ZSLBenchError
from zslbench.records.store import Store
from zslbench.report.published import published_table
from zslbench.runs.provenance import environment

Check = tuple[str, bool | None, str]
"""What was checked, whether it is good (None: for information only), and the detail."""


def checks(root: Path | None, store: Path) -> list[Check]:
    """Runs all checks; none raises."""
    about = environment()
    results: list[Check] = [("zslbench", None, f"{about['zslbench']} on Python {about['python']}, {about['platform']}")]
    results += [_tried("torch and torchvision", _torch_pair), _tried("timm", lambda: _imports("timm"))]
    results.append(("devices", None, _devices()))
    for plugin in plugins().loaded:
        name = f"plugin {plugin.distribution}:{plugin.name}"
        results.append((name, not plugin.problem, plugin.problem or "loaded"))
    for kind in ("method", "evaluator", "engine"):
        for entry in registry().entries(kind):
            results.append(_tried(f"{kind} {entry.name}", partial(_resolves, kind, entry.name)))
    results.append(_tried("published numbers", _published))
    results += _data(data_root(root))
    results.append(_tried("store", lambda: _store(store)))
    return results


def _tried(name: str, check: Callable[[], str]) -> Check:
    try:
        return name, True, check()
    except Exception as error:
        reason = str(error) if isinstance(error, ZSLBenchError) else f"{type(error).__name__}: {error}"
        return name, False, reason.splitlines()[0] if reason else type(error).__name__


def _torch_pair() -> str:
    torch, torchvision = import_module("torch"), import_module("torchvision")
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    torchvision.ops.nms(boxes, torch.ones(1), 0.5)  # fails where the two were built for different releases
    return f"{torch.__version__} and {torchvision.__version__} work together"


def _imports(package: str) -> str:
    import_module(package)
    return version(package)


def _devices() -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
    return f"{torch.get_num_threads()} CPU threads, " + (gpus or "no CUDA device")


def _resolves(kind: str, name: str) -> str:
    registry().resolve(kind, name, object)
    return "imports"


def _published() -> str:
    numbers = published_table()
    return f"{len(numbers)} from {len({number.source for number in numbers})} sources"


def _data(root: Path) -> list[Check]:
    results: list[Check] = [("data root", None, f"{root}" + ("" if root.is_dir() else " (does not exist yet)"))]
    for entry in registry().entries("dataset"):
        try:
            problem = registry().resolve("dataset", entry.name, Dataset).missing(root)
        except ZSLBenchError as error:
            results.append((f"data set {entry.name}", False, str(error)))
        else:
            results.append((f"data set {entry.name}", None, problem or "present"))
    return results


def _store(folder: Path) -> str:
    if not folder.exists():
        return f"{folder} (will be created by the first run)"
    opened = Store(folder)
    free = shutil.disk_usage(folder).free / 2**30
    return f"{folder}: {len(list(opened.records()))} runs, {free:.0f} GiB free"
