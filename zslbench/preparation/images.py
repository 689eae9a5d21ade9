"""Images on disk: a folder of them by class, names matched to files, and safe decoding to RGB."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from zslbench.api.images import UnreadableImage
from zslbench.errors import DataError, UsageError

Image.init()
FORMATS: list[str] = [
    name for name in ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP") if name in Image.OPEN
]
"""What may be decoded, whatever a file calls itself: others run programs (EPS does), or are no images."""
LONGEST = 16
"""How many times as long as it is wide an image may be. A longer one keeps its middle, which is all that a centre crop
would keep: scaled until its short side fits a network, the whole of it could take gigabytes."""
NAMED = 3
"""How many files an error names."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images by class.

    Attributes:
        folder: what the names below are relative to.
        class_names: names of the sub-folders, stripped, in alphabetical order.
        names: images as `class/.../file`, in the order of classes and then of names.
        labels: class of each image, `(N,)` int64 from 0.
    """

    folder: Path
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path) -> ImageFolder:
        """Lists a folder; images are known by their suffix, and hidden files are passed over.

        Raises:
            UsageError: there is no such folder.
            DataError: it holds no classes, two of one name, or a class with fewer than two images.
        """
        if not folder.is_dir():
            raise UsageError(f"--images {folder}: there is no such folder")
        classes: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                name = path.name.strip()
                if name in classes:
                    raise DataError(f"{folder}: two classes are called {name!r}: {classes[name].name!r}, {path.name!r}")
                classes[name] = path
        found = {name: _images_below(classes[name]) for name in sorted(classes)}
        if not any(found.values()):
            raise DataError(f"{folder}: no images; each class is a sub-folder that holds its images")
        check_two_each({name: len(images) for name, images in found.items()}, folder)
        names = tuple(path.relative_to(folder).as_posix() for images in found.values() for path in images)
        labels = np.repeat(np.arange(len(found)), [len(images) for images in found.values()])
        return cls(folder, tuple(found), names, labels.astype(np.int64))

    @property
    def paths(self) -> list[Path]:
        """The files, in the order of `names`."""
        return [self.folder / name for name in self.names]


def check_two_each(counts: dict[str, int], where: Path, what: str = "images") -> None:
    """Raises a DataError if a class has fewer than two images: one to learn from and one to be tested on."""
    if few := [name for name, count in counts.items() if count < 2]:
        others = f" ({len(few)} classes in all)" if len(few) > 1 else ""
        raise DataError(f"{where}: class {few[0]!r} has {counts[few[0]]} {what}; each class needs two{others}")


def match_images(names: Sequence[str], folder: Path) -> list[Path]:
    """Finds the file below a folder that each name means: the one that shares most of the end of its path.

    Names may be absolute paths on another disk, as in the GBU release.

    Raises:
        UsageError: there is no such folder.
        DataError: files are missing, or two fit a name equally well; the first are named.
    """
    if not folder.is_dir():
        raise UsageError(f"--images {folder}: there is no such folder")
    there: defaultdict[str, list[Path]] = defaultdict(list)
    for path in _images_below(folder):
        there[path.name].append(path)
    if missing := [name for name in names if PurePosixPath(name).name not in there]:
        raise DataError(
            f"{folder}: {len(missing)} of {len(names)} images are missing, for instance {', '.join(missing[:NAMED])}"
        )
    return [_best(name, folder, there[PurePosixPath(name).name]) for name in names]


def load_image(path: Path) -> Image.Image:
    """Decodes an image to RGB: upright as its EXIF says, 16 bits scaled to 8, transparency laid on white.

    Raises:
        UnreadableImage: it is no image or a damaged one.
    """
    try:
        with Image.open(path, formats=FORMATS) as opened:
            opened.load()
            image = _rgb(_upright(opened))
    except UnidentifiedImageError as error:
        raise UnreadableImage("not an image that can be identified") from error
    except Exception as error:  # damage makes Pillow's decoders raise a dozen kinds, struct.error among them
        raise UnreadableImage((str(error) or type(error).__name__).splitlines()[0]) from error
    return _middle(image)


def _images_below(folder: Path) -> list[Path]:
    suffixes = {suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS}
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in files if name[0] != "." and Path(name).suffix.lower() in suffixes]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _best(name: str, folder: Path, candidates: list[Path]) -> Path:
    if folder / name in candidates:
        return folder / name
    wanted = PurePosixPath(name).parts[::-1]
    shared = [_common(wanted, path.parts[::-1]) for path in candidates]
    best = [path for path, length in zip(candidates, shared, strict=True) if length == max(shared)]
    if len(best) > 1:
        raise DataError(f"{best[0]} and {best[1]} both fit the image {name}; keep one of them below --images")
    return best[0]


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Returns how many items two sequences begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


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
