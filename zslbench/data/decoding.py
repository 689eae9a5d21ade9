"""Safe decoding of image files to RGB, whatever they call themselves, in threads where there are many."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zslbench.api.images import Images, UnreadableImage
from zslbench.errors import RunError, ZSLBenchError, one_line

T = TypeVar("T")
Image.init()
FORMATS: list[str] = [
    name for name in ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP") if name in Image.OPEN
]
"""What may be decoded, whatever a file calls itself: others run programs (EPS does), or are no images."""
LONGEST = 16
"""How many times as long as it is wide an image may be. A longer one keeps its middle, which is all that a centre crop
would keep: scaled until its short side fits a network, the whole of it could take gigabytes."""
THREADS = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""How many images are decoded at a time; Pillow lets other threads work while it decodes and scales."""


def load_image(path: Path, box: Sequence[int] | None = None) -> Image.Image:
    """Decodes an image to RGB: upright as its EXIF says, 16 bits scaled to 8, transparency laid on white.

    Args:
        path: the file.
        box: what is wanted of it: first and last column and row `(xmin, ymin, xmax, ymax)`, counted from 1, as PASCAL
            VOC's annotations have them.

    Raises:
        UnreadableImage: it is no image or a damaged one, or the box is empty or outside it.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            opened.load()
            image = _rgb(_upright(opened))
    except UnidentifiedImageError as error:
        raise UnreadableImage("not an image that can be identified") from error
    except Exception as error:  # damage makes Pillow's decoders raise a dozen kinds, struct.error among them
        raise UnreadableImage((str(error) or type(error).__name__).splitlines()[0]) from error
    return _middle(image if box is None else _inside(image, box))


def central_square(image: Image.Image, side: int) -> Image.Image:
    """Returns the middle of an image, as large as its shorter side, scaled to `side` with antialiasing."""
    short = min(image.size)
    left, top = round((image.width - short) / 2), round((image.height - short) / 2)
    box = (left, top, left + short, top + short)
    return image.crop(box) if short == side else image.resize((side, side), Image.Resampling.BICUBIC, box=box)


@contextmanager
def walk(
    images: Images, rows: Iterable[int], use: Callable[[Image.Image], T], who: str = "zslbench"
) -> Iterator[Iterator[T | str]]:
    """Gives what `use` makes of some images, in order, or why one cannot be read; threads work a few images ahead.

    Raises:
        RunError: an image could not be used, `who` says by whom, or reading it failed because of a fault of `images`.
    """

    def used(row: int) -> T | str:
        failed = "reading it failed"
        try:
            image = images.read(row)
            failed = f"{who} cannot prepare it"
            return use(image)
        except UnreadableImage as error:
            return str(error)
        except ZSLBenchError:
            raise
        except Exception as error:
            raise RunError(f"{images.name(row)}: {failed} ({one_line(error)})") from error

    def in_order() -> Iterator[T | str]:
        waiting: deque[Future[T | str]] = deque()
        for row in rows:
            waiting.append(pool.submit(used, row))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    with ThreadPoolExecutor(THREADS) as pool, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")  # of oddities that do not keep it from decoding
        try:
            yield in_order()
        finally:
            pool.shutdown(cancel_futures=True)


def undecodable(images: Images, rows: Sequence[int], progress: Callable[[int, int], None]) -> dict[int, str]:
    """Decodes some images and keeps none; returns position -> reason of those that cannot be decoded."""
    reasons: dict[int, str] = {}
    with walk(images, rows, lambda image: None) as decoded:
        for done, (row, reason) in enumerate(zip(rows, decoded, strict=True), start=1):
            progress(done, len(rows))
            if reason is not None:
                reasons[row] = reason
    return reasons


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # its EXIF is damaged, which says nothing of its pixels
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown")
    if image.mode.startswith("I"):
        eighth = np.clip(np.asarray(image).astype(np.int64), 0, 65535) / 257
        return Image.fromarray(np.round(eighth).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _middle(image: Image.Image) -> Image.Image:
    width, height = image.size
    most = LONGEST * min(width, height)
    if max(width, height) <= most:
        return image
    left, top = max(0, width - most) // 2, max(0, height - most) // 2
    return image.crop((left, top, left + min(width, most), top + min(height, most)))


def _inside(image: Image.Image, box: Sequence[int]) -> Image.Image:
    left, top = max(0, box[0] - 1), max(0, box[1] - 1)
    right, bottom = min(image.width, box[2]), min(image.height, box[3])
    if left >= right or top >= bottom:
        raise UnreadableImage(f"its box {tuple(map(int, box))} holds none of its {image.width} x {image.height} pixels")
    return image.crop((left, top, right, bottom))
