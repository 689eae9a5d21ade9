"""A plugin: logs every run to TensorBoard. Importing it imports no torch.

Each run has a folder of its own, FOLDER/ON/METHOD-DATASET-seedSEED-ID, where ON is `test` or `validation` (trials of a
search). It holds the results with their hyper-parameters, and below it one folder for each fit, `validation` and
`final`, with a point for each epoch.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from zslbench import Progress, RunRecord, RunSpec

FOLDER = "ZSLBENCH_TENSORBOARD"
"""Variable that names the folder of the logs; empty for no logs."""
DEFAULT_FOLDER = "zslbench-tensorboard"

_open: dict[tuple[str, str], SummaryWriter] = {}
"""Writers of runs under way, by run and fit."""


def run_folder(spec: RunSpec) -> Path | None:
    """Returns where a run is logged, or None where nothing is to be logged."""
    root = os.environ.get(FOLDER, DEFAULT_FOLDER)
    if not root:
        return None
    name = re.sub(r"[^A-Za-z0-9.@]+", "-", f"{spec.method}-{Path(spec.dataset).name}-seed{spec.seed}-{spec.id}")
    return Path(root).expanduser() / spec.on / name


def zslbench_run_started(spec: RunSpec) -> None:
    """Lets go of what an earlier attempt in this process left open."""
    _close(spec)


def zslbench_epoch_finished(spec: RunSpec, progress: Progress) -> None:
    """Logs losses, and the metrics watched on validation classes, under the number of epochs since the fit began."""
    if (folder := run_folder(spec)) is None:
        return
    if (spec.id, progress.fit) not in _open:
        # A fit that goes on after an interruption repeats the epochs since its last checkpoint: their old points go.
        _open[spec.id, progress.fit] = _writer(folder / progress.fit, first_step=progress.step)
    writer = _open[spec.id, progress.fit]
    for name, value in progress.losses.items():
        writer.add_scalar(f"loss/{name}", value, progress.step)
    for name, value in progress.watched.items():
        writer.add_scalar(f"validation/{name}", value, progress.step)
    writer.flush()  # so that a killed process leaves every epoch that it finished


def zslbench_run_finished(record: RunRecord) -> None:
    """Logs the results beside the hyper-parameters that gave them."""
    _close(record.spec)
    if (folder := run_folder(record.spec)) is None:
        return
    from torch.utils.tensorboard.summary import hparams

    spec = record.spec
    settings = {"method": spec.method, "dataset": spec.dataset, "features": spec.features, **spec.scaling._asdict()}
    values = settings | {"seed": spec.seed, "params_from": record.params_from} | record.params
    metrics = {f"result/{name}": value for name, value in record.metrics.items()}
    if record.training is not None:
        metrics["training seconds"] = record.training.seconds + record.training.seconds_validation
    with _writer(folder, first_step=0) as writer:
        for summary in hparams({name: _plain(value) for name, value in values.items()}, metrics):
            writer.file_writer.add_summary(summary)
        for name, value in metrics.items():
            writer.add_scalar(name, value, 0)


def zslbench_run_failed(spec: RunSpec, error: Exception) -> None:
    """Logs why, and ends the files."""
    _close(spec)
    if (folder := run_folder(spec)) is not None:
        with _writer(folder, first_step=0) as writer:
            writer.add_text("failed", f"{type(error).__name__}: {error}", 0)


def _writer(folder: Path, first_step: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=first_step)


def _close(spec: RunSpec) -> None:
    for key in [key for key in _open if key[0] == spec.id]:
        _open.pop(key).close()


def _plain(value: object) -> str | float | bool:
    return value if isinstance(value, str | int | float | bool) else str(value)
