"""Several processes, started by torchrun, that train one model together; or one process alone.

Every process holds the whole model and computes its part of each batch, and gradients are averaged. This is done by
hand, because wrappers such as DistributedDataParallel hook into `backward` of one loss, and here several players take
turns over their own parameters.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
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


@contextmanager
def leading() -> Iterator[None]:
    """Lets the other processes go in the end, if there are any: inside, the first one decides what is trained.

    A command that fails before anything was trained need not join them: whatever started them ends them all. So it is
    with one that is interrupted, which each of them is told.
    """
    try:
        yield
        if launched_together():
            _join()
    except Exception:
        _release()
        raise
    _release()


def _release() -> None:
    if dist.is_initialized():
        _agreed(None)


def order(what: Any) -> None:
    """Has the other processes obey an order, which this one then carries out itself."""
    _join()
    _agreed(what)


def follow(obey: Callable[[Any], None]) -> None:
    """Obeys the first process until it lets this one go; an order that fails, fails there too, which tells of it."""
    _join()
    while (what := _agreed(None)) is not None:
        with suppress(Exception):
            obey(what)


def _join() -> None:
    if dist.is_initialized():
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
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
    return value if processes() == 1 else _agreed(value)


def _agreed(value: Any) -> Any:
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
