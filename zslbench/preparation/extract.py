"""Features of many images, resumable: killed and started again, it goes on where it was and gives the same bits."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api.backbone import Backbone
from zslbench.api.images import Images, UnreadableImage
from zslbench.errors import DataError, RunError, UsageError, one_line
from zslbench.preparation.rows import FILE, Progress, Rows, rows_of

BATCH = {"cpu": 8, "cuda": 256}
"""Inputs at a time to begin with; halved whenever memory does not suffice. On a CPU more are slower: memory for large
activations is fetched anew for each batch (EfficientNet-Lite0, one core: 8 images a second at 32, 13 at 8)."""
THREADS = min(8, os.cpu_count() or 1)


def extract(
    images: Images,
    backbone: Backbone,
    folder: Path,
    source: dict[str, str],
    device: torch.device,
    batch_size: int | None = None,
    progress: Progress | None = None,
    inputs: Callable[[int], Tensor] | None = None,
    each: int = 1,
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Computes the features of images, going on with what `folder` holds of the same source.

    Args:
        images: the images.
        backbone: in evaluation mode.
        folder: where the unfinished work is kept; made if need be, and left for the caller to remove.
        source: what identifies images, inputs and backbone.
        device: where the backbone computes.
        batch_size: inputs at a time, a default for the device if None; halved where memory does not suffice.
        progress: is told how far it is.
        inputs: gives the inputs of an image, `(each, 3, H, W)`, several threads at a time; by default one, the whole
            image as the backbone prepares it.
        each: how many inputs there are of each image, whose features stand one behind the other in its row.

    Returns:
        Features of the readable images in order, `(N, each * D)` float32 on disk, and position -> reason of the others.

    Raises:
        UsageError: another process is at it.
        DataError: the folder cannot be written, or no image is readable.
        RunError: memory does not suffice for one input, or the backbone gives something else than finite `(B, D)`.
    """
    inputs = inputs or partial(_whole, images, backbone)
    batch = batch_size or BATCH[device.type]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock", timeout=0), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of oddities that do not keep it from decoding
            with rows_of(folder, source, batch) as rows:
                _extract(images, _moved(backbone, device), rows, device, progress, inputs, each)
    except Timeout:
        raise UsageError(f"{folder}: another process is making these features; wait for it") from None
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from error
    state = rows.state
    if len(state.unreadable) == len(images):
        raise DataError(f"none of {len(images)} images can be read; {images.name(0)}: {state.unreadable[0]}")
    shape = (len(images) - len(state.unreadable), state.size)
    return np.memmap(folder / FILE, np.float32, "r", shape=shape), state.unreadable


def _extract(
    images: Images,
    backbone: Backbone,
    rows: Rows,
    device: torch.device,
    progress: Progress | None,
    inputs: Callable[[int], Tensor],
    each: int,
) -> None:
    state = rows.state
    waiting: deque[Future[Tensor | str]] = deque()
    with (
        ThreadPoolExecutor(THREADS) as pool,
        torch.inference_mode(),
        torch.backends.cudnn.flags(enabled=True, deterministic=True),
    ):
        try:
            while state.done < len(images):
                if progress is not None:
                    progress(state.done, len(images))
                together = max(1, state.batch // each)
                last = min(len(images), state.done + together + 2 * THREADS)
                for row in range(state.done + len(waiting), last):
                    waiting.append(pool.submit(_prepared, images, inputs, each, row))
                prepared = [waiting[i].result() for i in range(min(together, len(waiting)))]
                readable = [image for image in prepared if isinstance(image, Tensor)]
                features = np.empty((0, state.size), np.float32)
                if readable:
                    try:
                        features = _features(backbone, torch.cat(readable), state.batch, device)
                    except Exception as error:
                        if not _out_of_memory(error):
                            name = images.name(state.done)
                            raise RunError(f"the backbone fails from {name} on: {one_line(error)}") from error
                        if state.batch == 1:
                            raise RunError(f"memory does not suffice for one image on {device}; try --device") from None
                        state.batch //= 2
                        torch.cuda.empty_cache()
                        continue
                    features = _checked(features, len(readable), each, state.size, images.name(state.done))
                    state.size = features.shape[1]
                unreadable = {state.done + i: why for i, why in enumerate(prepared) if isinstance(why, str)}
                for _ in prepared:
                    waiting.popleft()
                rows.append(features.tobytes(), len(prepared), unreadable)
        finally:
            pool.shutdown(cancel_futures=True)
    if progress is not None:
        progress(state.done, len(images))


def _moved(backbone: Backbone, device: torch.device) -> Backbone:
    try:
        return backbone.to(device)
    except torch.OutOfMemoryError:
        raise RunError(f"memory does not suffice for the backbone on {device}; try --device") from None


def _whole(images: Images, backbone: Backbone, row: int) -> Tensor:
    image = images.read(row)
    with preparing(backbone, images.name(row)):
        return backbone.prepare(image)[None]


@contextmanager
def preparing(backbone: Backbone, name: str) -> Iterator[None]:
    """Names backbone and image where it cannot be prepared.

    Raises:
        RunError: it cannot.
    """
    try:
        yield
    except Exception as error:
        raise RunError(f"{name}: {type(backbone).__name__} cannot prepare it ({one_line(error)})") from error


def _prepared(images: Images, inputs: Callable[[int], Tensor], each: int, row: int) -> Tensor | str:
    try:
        prepared = inputs(row)
    except UnreadableImage as error:
        return str(error)
    if len(prepared) != each:
        raise RunError(f"{images.name(row)}: {len(prepared)} inputs were made of it instead of {each}")
    return prepared


def _features(backbone: Backbone, inputs: Tensor, batch: int, device: torch.device) -> NDArray[np.float32]:
    features: NDArray[np.float32] = torch.cat(
        [backbone(part.to(device)).float().cpu() for part in torch.split(inputs, batch)]
    ).numpy()
    return features


def _out_of_memory(error: BaseException) -> bool:
    """Whether that is what happened; on a CPU PyTorch raises a RuntimeError of no kind of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _checked(features: NDArray[np.float32], images: int, each: int, size: int, first: str) -> NDArray[np.float32]:
    """Returns a row for each image, of the size that rows have had so far, if any."""
    shape, count = features.shape, images * each
    if len(shape) != 2 or shape[0] != count or size not in (0, shape[1] * each):
        raise RunError(f"the backbone gave features of shape {shape} for {count} images; (B, D) is needed")
    if not np.isfinite(features).all():
        raise RunError(f"features are NaN or infinite in the batch from {first} on; the weights may be damaged")
    return features.reshape(images, -1)
