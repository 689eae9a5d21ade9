"""Central squares of images as raw bytes on disk, made once."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image

from zslbench.api.images import Images
from zslbench.data.decoding import walk
from zslbench.data.made import FILE, Progress, State, kept_folder, made_once, rows_of

FORMAT = "1"
"""Raised whenever squares are made otherwise; older ones are then left alone."""
CHUNK_BYTES, CHUNK_IMAGES = 2**22, 64
"""What is written at a time, at most."""


def central_square(image: Image.Image, side: int) -> Image.Image:
    """Returns the middle of an image, as large as its shorter side, scaled to `side` with antialiasing."""
    short = min(image.size)
    left, top = round((image.width - short) / 2), round((image.height - short) / 2)
    box = (left, top, left + short, top + short)
    return image.crop(box) if short == side else image.resize((side, side), Image.Resampling.BICUBIC, box=box)


def squares(images: Images, side: int, progress: Progress | None = None) -> tuple[Path, dict[int, str]]:
    """Makes the central square of each image, unless they are in the cache; what is there after a kill is kept.

    Args:
        images: the images.
        side: of the squares, in pixels.
        progress: is told how many are done, and of how many.

    Returns:
        A file of `(images, 3, side, side)` uint8 without a header, and of each image that cannot be read, whose square
        is black, position -> reason; `state.json` beside the file lists them too.

    Raises:
        NotWritten: the cache cannot be written.
        RunError: reading an image failed otherwise than by its being unreadable.
    """
    source = {"images": images.fingerprint, "side": str(side), "format": FORMAT}

    def read(folder: Path) -> tuple[Path, dict[int, str]] | None:
        state = State.read(folder)
        if state is None or state.bytes != len(images) * 3 * side * side:
            return None
        with walk(images, partial(_square, images, side), state.unreadable) as made:
            return (folder / FILE, state.unreadable) if all(isinstance(why, str) for why in made) else None

    def make(folder: Path) -> None:
        step = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // (3 * side * side)))
        with rows_of(folder, source, len(images), progress) as rows:
            rest = range(rows.state.done, len(images))
            with walk(images, partial(_square, images, side), rest) as made:
                while chunk := list(islice(made, step)):
                    black = bytes(3 * side * side)
                    rows.append(b"".join(black if isinstance(square, str) else square for square in chunk), chunk)

    return made_once(kept_folder("squares", source), read, make)


def _square(images: Images, side: int, row: int) -> bytes:
    """Returns the `(3, side, side)` bytes of a square."""
    square = central_square(images.read(row), side).convert("RGB")
    return b"".join(band.tobytes() for band in square.split())
