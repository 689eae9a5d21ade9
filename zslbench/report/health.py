"""The checks behind `zslbench doctor`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

from zslbench.api.dataset import Dataset
from zslbench.data.folders import data_root
from zslbench.discovery.plugins import plugins, registry
from zslbench.discovery.registry import Entry
from zslbench.errors import one_line
from zslbench.records.store import Store
from zslbench.report.published import published_table
from zslbench.runs.provenance import environment

Check = tuple[str, bool | None, str]
"""What was checked, whether it is good (None: for information only), and the detail."""


def checks(root: Path | None, store: Path) -> Iterator[Check]:
    """Makes all checks; none raises."""
    about, folder = environment(), data_root(root)
    yield "zslbench", None, f"{about['zslbench']} on Python {about['python']}, {about['platform']}"
    yield _tried("torch and torchvision", _torch_pair)
    yield _tried("timm", lambda: import_module("timm").__version__)
    yield "devices", None, _devices()
    for plugin in plugins().loaded:
        yield f"plugin {plugin.distribution}:{plugin.name}", not plugin.problem, plugin.problem or "loaded"
    for kind in ("method", "evaluator", "engine"):
        for entry in registry().entries(kind):
            yield _tried(f"{kind} {entry.name}", partial(_imports, entry))
    yield _tried("published numbers", _published)
    yield "data root", None, f"{folder}" + ("" if folder.is_dir() else " (does not exist yet)")
    for entry in registry().entries("dataset"):
        yield _tried(f"data set {entry.name}", partial(_present, entry, folder), None)
    yield _tried("store", partial(_store, store))


def _tried(name: str, check: Callable[[], str], good: bool | None = True) -> Check:
    try:
        return name, good, check()
    except Exception as error:
        return name, False, one_line(error).partition("\n")[0]


def _torch_pair() -> str:
    torch, torchvision = import_module("torch"), import_module("torchvision")
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    torchvision.ops.nms(boxes, torch.ones(1), 0.5)  # fails where the two were built for different releases
    return f"{torch.__version__} and {torchvision.__version__} work together"


def _devices() -> str:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
    return f"{torch.get_num_threads()} CPU threads, " + (gpus or "no CUDA device")


def _imports(entry: Entry) -> str:
    registry().resolve(entry.kind, entry.name, object)
    return "imports"


def _present(entry: Entry, root: Path) -> str:
    dataset: Dataset = registry().resolve("dataset", entry.name, Dataset)
    return dataset.missing(root) or "present"


def _published() -> str:
    numbers = published_table()
    return f"{len(numbers)} from {len({number.source for number in numbers})} sources"


def _store(folder: Path) -> str:
    if not folder.exists():
        return f"{folder} (will be created by the first run)"
    opened = Store(folder)
    opened.prepare()
    free = shutil.disk_usage(folder).free / 2**30
    return f"{folder}: {len(list(opened.records()))} runs, {free:.0f} GiB free"
