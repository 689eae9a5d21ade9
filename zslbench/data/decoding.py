"""Safe decoding of image files to RGB, whatever they call themselves, in threads where there are many."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from threading import Condition, local
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from zslbench.api.images import Images, UnreadableImage
from zslbench.errors import RunError, ZSLBenchError, one_line

T = TypeVar("T")
Image.init()
FORMATS: list[str] = [
    name for name in ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP") if name in Image.OPEN
]
"""What may be decoded, whatever a file calls itself: others run programs (EPS does), or are no images."""
SUFFIXES = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)
"""How files of these formats are called, in lower case."""
_RAW = "3fr,arw,cr2,cr3,dcr,dng,erf,kdc,mef,mos,mrw,nef,nrw,orf,pef,raf,raw,rw2,rwl,sr2,srf,srw,x3f"
_OTHER = "ai,avif,dcm,djvu,emf,eps,exr,fits,hdr,heic,heics,heif,hif,ico,jxl,jxr,pcx,pdf,ps,psd,svg,svgz,tga,wmf,xcf"
NOT_READ = frozenset(f".{suffix}" for suffix in f"{_RAW},{_OTHER}".split(",")) - SUFFIXES
"""How pictures are called that are not decoded."""
CONVERT = "convert such files to JPEG or PNG"
_STARTS = {
    b"%PDF": "a PDF",
    b"%!PS": "PostScript",
    b"8BPS": "a file of Photoshop",
    b"<svg": "an SVG drawing",
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "a pointer of Git LFS, to be fetched by `git lfs pull`",
}
"""What files are that are often found in place of an image, by their first bytes in lower case."""
LONGEST = 16
"""How many times as long as it is wide an image may be. A longer one keeps its middle, which is all that a centre crop
would keep: scaled until its short side fits a network, the whole of it could take gigabytes."""
THREADS = min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
"""How many images are decoded at a time; Pillow lets other threads work while it decodes and scales."""


MEMORY = 2**30
"""Bytes that images may take while they are decoded, in all threads together."""
OPAQUE, TRANSPARENT = 10, 16
"""Bytes that a pixel takes while it becomes RGB; transparency is laid on white."""
BYTES_TO_DECODE = {"AVIF": 8, "JPEG2000": 20, "TIFF": 4, "WEBP": 12}
"""What the decoder of a format takes besides for each pixel."""
TILE_WIDTH, TILE_HEIGHT = 322, 323
"""Of a TIFF, whose tiles may be larger than it is."""
ROWS = 16
JPEG_SCALES = (1, 2, 4, 8)
"""How much smaller than it is a JPEG can be decoded."""


class _Room:
    """Memory that threads share: who finds too little left waits until others give back what they took."""

    def __init__(self) -> None:
        self._taken, self._changed, self._mine = 0, Condition(), local()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Gives back in the end what this thread takes inside; where it is nested, the outermost does."""
        if hasattr(self._mine, "taken"):
            yield
            return
        self._mine.taken = 0
        try:
            yield
        finally:
            with self._changed:
                self._taken -= self._mine.taken
                self._changed.notify_all()
            del self._mine.taken

    def take(self, size: int) -> None:
        """Waits for room, unless this thread has some already: it would wait for itself."""
        with self._changed:
            self._changed.wait_for(lambda: self._mine.taken or self._taken + size <= MEMORY)
            self._taken += size
            self._mine.taken += size


_room = _Room()


def load_image(path: Path, box: Sequence[int] | None = None) -> Image.Image:
    """Decodes an image to RGB: upright as its EXIF says, 16 bits scaled to 8, transparency laid on white.

    Of several frames it is the first. What a file declares is checked before it is decoded: threads wait for each other
    where images would take more than `MEMORY` together, and one that would alone is unreadable. A JPEG is decoded at
    half its size, a quarter or an eighth instead, unless a box is wanted; none of less than 67 million pixels is.

    Args:
        path: the file.
        box: what is wanted of it: first and last column and row `(xmin, ymin, xmax, ymax)`, counted from 1, as PASCAL
            VOC's annotations have them.

    Raises:
        UnreadableImage: it is no image or a damaged one, or too large, or the box is empty or outside it.
    """
    try:
        if not S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise ValueError("no file, but a folder, a pipe or a device")
        ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries set it: what is missing would be gray
        with _room.kept(), Image.open(path, formats=FORMATS) as opened:
            _make_room(opened, shrink=box is None)
            opened.load()
            image = _rgb(_upright(opened))
    except UnidentifiedImageError as error:
        raise UnreadableImage(f"not an image that can be identified{_known(path)}") from error
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
        with _room.kept():
            return decoded_and_used(row)  # the image is gone before its room is

    def decoded_and_used(row: int) -> T | str:
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


def _known(path: Path) -> str:
    """Returns in brackets what a file is in place of an image, and what to do, so far as its first bytes tell."""
    with path.open("rb") as file:
        start = file.read(32).lstrip(b"\xef\xbb\xbf\n ").lower()
    if not start:
        return " (it is empty)"
    if start[4:8] == b"ftyp" and start[8:11] in (b"hei", b"hev", b"mif", b"msf", b"avi", b"crx"):
        return " (it is HEIC or the like, whatever its name says; convert it to JPEG or PNG)"
    kind = next((kind for known, kind in _STARTS.items() if start.startswith(known.lower())), "")
    if not kind and path.suffix.lower() in NOT_READ:
        return f" ({path.suffix.lower()} files are not read; convert it to JPEG or PNG)"
    return f" (it is {kind})" if kind else ""


def _make_room(image: ImageFile.ImageFile, shrink: bool) -> None:
    """Waits for the memory that an opened image needs, or raises a ValueError; a large JPEG shrinks if it may."""
    size, tags = image.size, getattr(image, "tag_v2", {})
    pixels = max(size[0] * size[1], tags.get(TILE_WIDTH, 0) * tags.get(TILE_HEIGHT, 0))
    scales = JPEG_SCALES if shrink and image.format == "JPEG" else JPEG_SCALES[:1]
    before, each = BYTES_TO_DECODE.get(image.format or "", 0), TRANSPARENT if image.has_transparency_data else OPAQUE
    if image.info.get("progressive"):  # its coefficients are kept until the last scan, whatever the scale
        before += 6
    for scale in scales:
        need = pixels * before + pixels * each // scale**2
        if need <= MEMORY:
            if scale > 1:
                image.draft(None, (size[0] // scale, size[1] // scale))
            _room.take(need)
            return
    raise ValueError(
        f"its {size[0]} x {size[1]} pixels take {need / 1e9:.1f} GB to decode, and more than {MEMORY / 1e9:.1f} GB are "
        "not given to an image; make it smaller"
    )


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image) if image.getexif().get(ExifTags.Base.Orientation, 1) != 1 else image
    except Exception:  # its EXIF is damaged, which says nothing of its pixels
        return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("floating-point pixels, whose range is unknown")
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I"):
        gray = np.empty((image.height, image.width), np.uint8)
        for top in range(0, image.height, ROWS):  # as many as fit a processor's cache
            rows = np.asarray(image.crop((0, top, image.width, min(top + ROWS, image.height))))
            gray[top : top + ROWS] = np.round(np.clip(rows.astype(np.int64), 0, 65535) / 257)
        return Image.fromarray(gray).convert("RGB")
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
