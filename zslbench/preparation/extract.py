"""Features of many images, resumable: killed and started again, it goes on where it was and gives the same bits.

What is done lies in a folder of its own: raw rows, appended batch by batch, and a state that says how many count.
Rows are written by ordinary writes, because through a memory map a full disk would kill the process.
"""

from __future__ import annotations

import json
import os
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api.backbone import Backbone
from zslbench.api.images import UnreadableImage
from zslbench.data.writing import whole
from zslbench.errors import DataError, RunError, UsageError, one_line
from zslbench.preparation.images import load_image

BATCH = {"cpu": 8, "cuda": 256}
"""Images at a time to begin with; halved whenever memory does not suffice. On a CPU more are slower: memory for large
activations is fetched anew for each batch (EfficientNet-Lite0, one core: 8 images a second at 32, 13 at 8)."""
THREADS = min(8, os.cpu_count() or 1)

Progress = Callable[[int, int], None]
"""Is told how many images are done, and of how many."""


@dataclass
class State:
    """How far an extraction is.

    Attributes:
        source: what identifies images and backbone; a state of another source is not gone on with.
        batch: images at a time; it is kept, because features differ in their last bits between batch sizes.
        done: images that were dealt with.
        size: dimensions of a feature row, 0 before the first.
        unreadable: position of an image that could not be decoded -> reason.
    """

    source: dict[str, str]
    batch: int
    done: int = 0
    size: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows of features there are."""
        return self.done - len(self.unreadable)


def extract(
    paths: Sequence[Path],
    backbone: Backbone,
    folder: Path,
    source: dict[str, str],
    device: torch.device,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> tuple[NDArray[np.float32], dict[int, str]]:
    """Computes the features of images, going on with what `folder` holds of the same source.

    Args:
        paths: image files.
        backbone: in evaluation mode.
        folder: where the unfinished work is kept; made if need be, and left for the caller to remove.
        source: what identifies images and backbone.
        device: where the backbone computes.
        batch_size: images at a time, a default for the device if None; halved where memory does not suffice.
        progress: is told how far it is.

    Returns:
        Features of the readable images in order, `(N, D)` float32 on disk, and position -> reason of the others.

    Raises:
        UsageError: another process is at it.
        DataError: the folder cannot be written, or no image is readable.
        RunError: memory does not suffice for one image, or the backbone gives something else than finite `(B, D)`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock", timeout=0):
            state = _resume(folder, source, batch_size or BATCH[device.type])
            with (folder / "rows").open("ab") as rows, warnings.catch_warnings():
                warnings.filterwarnings("ignore", module="PIL")  # of oddities that do not keep it from decoding
                rows.truncate(4 * state.rows * state.size)  # what came after the last state is made again
                _extract(paths, _moved(backbone, device), state, folder, rows.fileno(), device, progress)
    except Timeout:
        raise UsageError(f"{folder}: another process is making these features; wait for it") from None
    except OSError as error:
        raise DataError(f"{error.filename or folder}: cannot be written ({error.strerror or error})") from error
    if not state.rows:
        raise DataError(f"none of {len(paths)} images can be read; {paths[0]}: {state.unreadable[0]}")
    features = np.memmap(folder / "rows", np.float32, "r", shape=(state.rows, state.size))
    return features, state.unreadable


def _extract(
    paths: Sequence[Path],
    backbone: Backbone,
    state: State,
    folder: Path,
    rows: int,
    device: torch.device,
    progress: Progress | None,
) -> None:
    waiting: deque[Future[Tensor | str]] = deque()
    with (
        ThreadPoolExecutor(THREADS) as pool,
        torch.inference_mode(),
        torch.backends.cudnn.flags(enabled=True, deterministic=True),
    ):
        try:
            while state.done < len(paths):
                if progress is not None:
                    progress(state.done, len(paths))
                ahead = paths[state.done + len(waiting) : state.done + state.batch + 2 * THREADS]
                waiting.extend(pool.submit(_prepared, backbone, path) for path in ahead)
                inputs = [waiting[i].result() for i in range(min(state.batch, len(waiting)))]
                images = [image for image in inputs if isinstance(image, Tensor)]
                features = np.empty((0, state.size), np.float32)
                if images:
                    try:
                        features = _features(backbone, images, device)
                    except Exception as error:
                        if not _out_of_memory(error):
                            raise RunError(
                                f"the backbone fails from {paths[state.done]} on: {one_line(error)}"
                            ) from error
                        if state.batch == 1:
                            raise RunError(f"memory does not suffice for one image on {device}; try --device") from None
                        state.batch //= 2
                        torch.cuda.empty_cache()
                        continue
                    _check(features, len(images), state, paths[state.done])
                    state.size = features.shape[1]
                state.unreadable |= {state.done + i: why for i, why in enumerate(inputs) if isinstance(why, str)}
                state.done += len(inputs)
                for _ in inputs:
                    waiting.popleft()
                _write(rows, features)
                _save(folder / "state.json", state)
        finally:
            pool.shutdown(cancel_futures=True)
    if progress is not None:
        progress(state.done, len(paths))


def _moved(backbone: Backbone, device: torch.device) -> Backbone:
    try:
        return backbone.to(device)
    except torch.OutOfMemoryError:
        raise RunError(f"memory does not suffice for the backbone on {device}; try --device") from None


def _prepared(backbone: Backbone, path: Path) -> Tensor | str:
    try:
        image = load_image(path)
    except UnreadableImage as error:
        return str(error)
    try:
        return backbone.prepare(image)
    except Exception as error:
        raise RunError(f"{path}: {type(backbone).__name__} cannot prepare it ({one_line(error)})") from error


def _features(backbone: Backbone, images: list[Tensor], device: torch.device) -> NDArray[np.float32]:
    features: NDArray[np.float32] = backbone(torch.stack(images).to(device)).float().cpu().numpy()
    return features


def _out_of_memory(error: BaseException) -> bool:
    """Whether that is what happened; on a CPU PyTorch raises a RuntimeError of no kind of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _check(features: NDArray[np.float32], images: int, state: State, first: Path) -> None:
    if features.ndim != 2 or len(features) != images or features.shape[1] != (state.size or features.shape[1]):
        raise RunError(f"the backbone gave features of shape {features.shape} for {images} images; (B, D) is needed")
    if not np.isfinite(features).all():
        raise RunError(f"features are NaN or infinite in the batch from {first} on; the weights may be damaged")


def _resume(folder: Path, source: dict[str, str], batch: int) -> State:
    """Returns the state in a folder, or a new one if there is none, a damaged one, or one of another source."""
    try:
        kept = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        kept["unreadable"] = {int(i): why for i, why in kept["unreadable"].items()}
        state = State(**kept)
        size = (folder / "rows").stat().st_size
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return State(source, batch)
    usable = state.source == source and size >= 4 * state.rows * state.size
    return state if usable else State(source, batch)


def _write(rows: int, features: NDArray[np.float32]) -> None:
    content = memoryview(features.tobytes())
    while content:
        content = content[os.write(rows, content) :]
    os.fsync(rows)


def _save(path: Path, state: State) -> None:
    with whole(path) as part:
        part.write_text(json.dumps(asdict(state)), encoding="utf-8")
