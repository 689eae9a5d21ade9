"""Features of many images, resumable: killed and started again, it goes on where it was and gives the same bits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zslbench.api.backbone import Backbone
from zslbench.api.images import Images
from zslbench.data.decoding import walk
from zslbench.data.made import FILE, Progress, Rows, State, rows_of
from zslbench.errors import DataError, RunError, UsageError, one_line
from zslbench.files import Locked, locked, writing
from zslbench.preparation import memory

BATCH = {"cpu": 8, "cuda": 256}
"""Inputs at a time to begin with; halved whenever memory does not suffice. On a CPU more are no faster, and take more
memory (MobileNet v2, one thread: as fast at 32 as at 8)."""


class NoneReadable(DataError):
    """Of all images, none can be read; `reasons` are by position."""

    def __init__(self, message: str, reasons: dict[int, str]) -> None:
        super().__init__(message)
        self.reasons = reasons


def extract(
    images: Images,
    backbone: Backbone,
    folder: Path,
    source: dict[str, str],
    device: torch.device,
    batch_size: int | None = None,
    progress: Progress | None = None,
    inputs: Callable[[Image.Image], Tensor] | None = None,
    each: int = 1,
    blank: Image.Image | None = None,
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Computes the features of images, going on with what `folder` holds of the same source.

    Args:
        images: the images.
        backbone: in evaluation mode.
        folder: where the unfinished work is kept; made if need be, and left for the caller to remove.
        source: what identifies images, inputs and backbone.
        device: where the backbone computes.
        batch_size: inputs at a time, a default for the device if None; halved where memory does not suffice.
        progress: is told how many images are done.
        inputs: gives the inputs of an image, `(each, 3, H, W)`, several threads at a time; by default one, the whole
            image as the backbone prepares it.
        each: how many inputs there are of each image, whose features stand one behind the other in its row.
        blank: what stands for an unreadable image; without it, such an image has no row.

    Returns:
        Features in the order of the images, `(N, each * D)` float32 on disk, and position -> reason of unreadable ones.

    Raises:
        UsageError: another process is at it.
        DataError: the folder cannot be written.
        NoneReadable: no image is readable.
        RunError: memory does not suffice for one input, or the backbone gives something else than finite `(B, D)`.
    """
    try:
        backbone = backbone.to(device)
    except torch.OutOfMemoryError:
        raise RunError(f"memory does not suffice for the backbone on {device}; try --device") from None
    inputs = inputs or (lambda image: backbone.prepare(image)[None])
    batch = batch_size or BATCH[device.type]
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with (
                locked(folder / "lock", wait=False),
                rows_of(folder, source, len(images), progress, batch) as rows,
                memory.kept(),
            ):
                _extract(
                    images,
                    backbone,
                    rows,
                    device,
                    inputs,
                    each,
                    None if blank is None else inputs(blank),
                )
        except Locked:
            raise UsageError(f"{folder}: another process is making these features; wait for it") from None
    state = rows.state
    if len(state.unreadable) == len(images):
        message = f"none of {len(images)} images can be read; {images.name(0)}: {state.unreadable[0]}"
        raise NoneReadable(message, state.unreadable)
    return np.memmap(folder / FILE, np.float32, "r").reshape(-1, state.size), state.unreadable


def _extract(
    images: Images,
    backbone: Backbone,
    rows: Rows,
    device: torch.device,
    inputs: Callable[[Image.Image], Tensor],
    each: int,
    blank: Tensor | None,
) -> None:
    state = rows.state
    with (
        walk(images, range(state.done, len(images)), inputs, type(backbone).__name__) as every,
        torch.inference_mode(),
        torch.backends.cudnn.flags(enabled=True, deterministic=True),
    ):
        while prepared := list(islice(every, max(1, state.batch // each))):
            first = images.name(state.done)
            features = np.empty((0, state.size), np.float32)
            found = [blank if isinstance(image, str) else image for image in prepared]
            if readable := [image for image in found if image is not None]:
                features = _features(backbone, torch.cat(readable), state, device, first)
                features = _checked(features, len(readable), each, state.size, first)
                state.size = features.shape[1]
            rows.append(features.tobytes(), prepared)


def _features(
    backbone: Backbone, inputs: Tensor, state: State, device: torch.device, first: str
) -> NDArray[np.float32]:
    """Returns a row for each input; the batch is halved until memory suffices."""
    while True:
        try:
            parts = [backbone(part.to(device)).float().cpu() for part in torch.split(inputs, state.batch)]
            features: NDArray[np.float32] = torch.cat(parts).numpy()
            return features
        except Exception as error:
            if not _out_of_memory(error):
                raise RunError(f"the backbone fails from {first} on: {one_line(error)}") from error
            if state.batch == 1:
                raise RunError(f"memory does not suffice for one image on {device}; try --device") from None
        state.batch //= 2
        torch.cuda.empty_cache()


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
