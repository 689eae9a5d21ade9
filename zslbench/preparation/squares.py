"""Central squares of images as raw bytes on disk, made once, by processes of their own where that takes long.

Those processes import this module, so it imports nothing that is slow to import.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from PIL import Image

from zslbench.api.images import Images, UnreadableImage
from zslbench.data.folders import cache_folder
from zslbench.errors import DataError, RunError, ZSLBenchError, one_line
from zslbench.preparation.rows import FILE, STATE, Progress, Rows, rows_of

FORMAT = "1"
"""Raised whenever squares are made otherwise; older ones are then left alone."""
CHUNK_BYTES, CHUNK_IMAGES = 2**22, 64
"""What one process makes at a time, at most."""
PATIENCE_S = 3.0
"""Where this process alone would take longer, others are started, which takes about a second."""
PROCESSES = 16
"""The most there are: what more of them decode, one process cannot write."""

Chunk = tuple[bytes, dict[int, str]]


def central_square(image: Image.Image, side: int) -> Image.Image:
    """Returns the middle of an image, as large as its shorter side, scaled to `side` with antialiasing."""
    short = min(image.size)
    left, top = round((image.width - short) / 2), round((image.height - short) / 2)
    box = (left, top, left + short, top + short)
    return image.crop(box) if short == side else image.resize((side, side), Image.Resampling.BICUBIC, box=box)


def squares(images: Images, side: int, progress: Progress | None = None) -> tuple[Path, dict[int, str]]:
    """Makes the central square of each image, unless they are in the cache; what is there after a kill is kept.

    Of several processes one does the work and the others wait for it.

    Args:
        images: the images.
        side: of the squares, in pixels.
        progress: is told how many are done, and of how many.

    Returns:
        A file of `(images, 3, side, side)` uint8 without a header, and of each image that cannot be read, whose square
        is black, position -> reason; `state.json` beside the file lists them too.

    Raises:
        DataError: the cache cannot be written.
        RunError: a process died, or reading an image failed otherwise than by its being unreadable.
    """
    source = {"images": images.fingerprint, "side": str(side), "format": FORMAT}
    with cached("squares", source) as folder:
        unreadable = _made(folder, len(images), side)
        if unreadable is None or any(_square(images, row, side)[1] is None for row in unreadable):
            shutil.rmtree(folder, ignore_errors=True)  # damaged, or an image can be read by now
            with under_way(folder) as part, rows_of(part, source) as rows:
                _make(images, side, rows, progress)
            unreadable = rows.state.unreadable
        return folder / FILE, unreadable


@contextmanager
def cached(kind: str, source: dict[str, str]) -> Iterator[Path]:
    """Gives the folder of what was made from a source, whether it is there or not, while no other process makes it.

    Raises:
        DataError: the cache cannot be written.
    """
    key = hashlib.sha256(json.dumps(source, sort_keys=True).encode()).hexdigest()
    folder = cache_folder() / kind / key
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            yield folder
    except OSError as error:
        raise DataError(
            f"{error.filename or folder}: cannot be written ({error.strerror or error}); set ZSLBENCH_CACHE to a "
            "folder that can, with room for it"
        ) from error


@contextmanager
def under_way(folder: Path) -> Iterator[Path]:
    """Gives the folder of unfinished work, which takes its name in the end; after an error it stays."""
    part = folder.with_suffix(".part")
    yield part
    part.rename(folder)


def processors() -> int:
    """Returns how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _made(folder: Path, images: int, side: int) -> dict[int, str] | None:
    """Returns which squares in a folder are of unreadable images, or None unless all squares are there."""
    try:
        unreadable = json.loads((folder / STATE).read_text(encoding="utf-8"))["unreadable"]
        whole = (folder / FILE).stat().st_size == images * 3 * side * side
        return {int(row): str(why) for row, why in unreadable.items()} if whole else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _make(images: Images, side: int, rows: Rows, progress: Progress | None) -> None:
    step = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // (3 * side * side)))
    began, first, total = time.monotonic(), rows.state.done, len(images)

    def add(chunk: Chunk) -> None:
        content, unreadable = chunk
        rows.append(content, len(content) // (3 * side * side), unreadable)
        if progress is not None:
            progress(rows.state.done, total)

    workers = min(processors(), PROCESSES)
    while rows.state.done < total:
        add(_chunk(images, side, rows.state.done, min(total, rows.state.done + step)))
        rest = (total - rows.state.done) * (time.monotonic() - began) / (rows.state.done - first)
        if workers > 1 and rest > PATIENCE_S:
            break
    starts = range(rows.state.done, total, step)
    if not starts:
        return
    waiting: deque[Future[Chunk]] = deque()
    context = multiprocessing.get_context("spawn")  # a fork of a process with threads, torch's among them, may hang
    with ProcessPoolExecutor(min(workers, len(starts)), context, _begin, (images, side)) as pool:
        try:
            for start in starts:
                waiting.append(pool.submit(_chunk_of_process, start, min(total, start + step)))
                if len(waiting) > 2 * workers:
                    add(waiting.popleft().result())
            while waiting:
                add(waiting.popleft().result())
        except BrokenProcessPool as error:
            raise RunError(
                "a process that decodes images died, perhaps for want of memory; issue the command again to go on"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _chunk(images: Images, side: int, start: int, stop: int) -> Chunk:
    unreadable, content = {}, []
    for row in range(start, stop):
        square, reason = _square(images, row, side)
        content.append(square)
        if reason is not None:
            unreadable[row] = reason
    return b"".join(content), unreadable


def _square(images: Images, row: int, side: int) -> tuple[bytes, str | None]:
    """Returns the `(3, side, side)` bytes of a square; black, with a reason, if the image cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # of oddities that do not keep it from decoding
            square = central_square(images.read(row), side).convert("RGB")
    except UnreadableImage as error:
        return bytes(3 * side * side), str(error)
    except ZSLBenchError:
        raise
    except Exception as error:
        raise RunError(f"{images.name(row)}: reading it failed ({one_line(error)})") from error
    return b"".join(band.tobytes() for band in square.split()), None


_work: tuple[Images, int]
"""What a process was started for."""


def _begin(images: Images, side: int) -> None:
    global _work
    _work = images, side
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one is interrupted, and ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the one that started it was killed: it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _chunk_of_process(start: int, stop: int) -> Chunk:
    return _chunk(*_work, start, stop)
