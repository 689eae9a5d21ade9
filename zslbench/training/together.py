"""Several processes that train one model together, as torchrun starts them; alone where there is but one.

Every process holds the whole model and computes its part of each batch; gradients are averaged. It is done by hand,
because wrappers such as DistributedDataParallel hook into `backward` of one loss, and here several players take turns
over their own parameters.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(hours=12)
"""How long processes wait for each other; one that dies is noticed by torchrun at once."""


def launched_together() -> bool:
    """Whether torchrun, or anything that sets its variables, started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def join(device: torch.device) -> None:
    """Joins the other processes; nothing to do where there are none, or if it was done before."""
    if launched_together() and not dist.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        atexit.register(dist.destroy_process_group)


def processes() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0; the first one reads and writes the store."""
    return dist.get_rank() if dist.is_initialized() else 0


def share(size: int) -> slice:
    """Returns which images of a batch this process computes: all where the batch is too small to be divided."""
    if size < processes():
        return slice(0, size)
    edges = [size * i // processes() for i in range(processes() + 1)]
    return slice(edges[rank()], edges[rank() + 1])


def weight(size: int) -> float:
    """Returns the weight of this process's part of a batch in the whole."""
    own = share(size)
    return (own.stop - own.start) / size if size >= processes() else 1 / processes()


def average(values: Sequence[Tensor | None], part: float) -> None:
    """Replaces values by their sum over the processes, each times its `part`; what is None in one is None in all."""
    if processes() == 1:
        return
    found = [value for value in values if value is not None]
    flat = torch.cat([value.reshape(-1).float() for value in found]) * part
    dist.all_reduce(flat)
    for value, mean in zip(found, torch.split(flat, [value.numel() for value in found]), strict=True):
        value.copy_(mean.view_as(value))


def agreed(value: Any) -> Any:
    """Returns what the first process gives; all must call it."""
    if processes() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def gathered(value: Any) -> list[Any]:
    """Returns what each process gives; all must call it."""
    if processes() == 1:
        return [value]
    boxes: list[Any] = [None] * processes()
    dist.all_gather_object(boxes, value)
    return boxes
