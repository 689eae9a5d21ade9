"""A folder of images with a sub-folder for each class, and what people have in its place."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.data.decoding import CONVERT
from zslbench.data.imagefiles import FileImages, Listing, files_below, say_not_read
from zslbench.data.names import FEW, composed, listed, shown
from zslbench.errors import DataError
from zslbench.files import existing, is_clutter

PARTS = frozenset(("train", "training", "trainval", "val", "valid", "validation", "dev", "eval", "test", "testing"))
"""What folders are called that divide images by parts and not by classes."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images by class.

    Attributes:
        folder: what the names below are relative to.
        class_names: names of the sub-folders, stripped and with composed accents, in alphabetical order.
        names: images as `class/.../file`, in the order of classes and then of names.
        labels: class of each image, `(N,)` int64 from 0.
    """

    folder: Path
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path) -> ImageFolder:
        """Lists a folder; images are known by their suffix, and what desktops leave is passed over.

        Files that are not read, and folders without images, are warned about.

        Raises:
            UsageError: there is no such folder.
            DataError: it holds no classes, two of one name, or a class with fewer than two images.
        """
        folder = existing("--images", folder, folder=True)
        classes = _class_folders(folder)
        found = {name: files_below(path) for name, path in classes.items()}
        _check_layout(folder, classes, found)
        others = sum((listing.others for listing in found.values()), Counter[str]())
        if unread := {name: own for name, own in found.items() if own.not_read and not own.images}:
            kinds = Listing([], sum((own.others for own in unread.values()), Counter[str]())).not_read
            have = "has" if len(unread) == 1 else "have"
            what = f"{listed(list(unread), 'class')} {have} only {kinds}, which cannot be read"
            raise DataError(f"{folder}: {what}; {CONVERT}, or move what is no class out of it")
        if empty := [name for name, own in found.items() if not own.images]:
            warnings.warn(f"{folder}: left out, because there are no images in it: {shown(empty)}", stacklevel=2)
        images = {name: own.images for name, own in found.items() if own.images}
        check_two_each({name: len(own) for name, own in images.items()}, folder)
        say_not_read(folder, Listing([], others))
        if stray := [path for path in files_below(folder).images if path.parent == folder]:
            beside = shown([path.name for path in stray], FEW)
            warnings.warn(f"{folder}: left out, because it is in no folder of a class: {beside}", stacklevel=2)
        names = tuple(path.relative_to(folder).as_posix() for own in images.values() for path in own)
        labels = np.repeat(np.arange(len(images)), [len(own) for own in images.values()])
        return cls(folder, tuple(images), names, labels.astype(np.int64))

    @cached_property
    def images(self) -> FileImages:
        """The images, in the order of `names`; hashed once, so that one that changes under way is noticed."""
        return FileImages(self.names, [self.folder / name for name in self.names])


def check_two_each(counts: Mapping[str, int], where: Path, what: str = "images") -> None:
    """Raises a DataError if a class has fewer than two images: one to learn from and one to be tested on."""
    if few := [f"{name!r} has {count}" for name, count in counts.items() if count < 2]:
        more = f", and {len(few) - 10} more" if len(few) > 10 else ""
        raise DataError(f"{where}: each class needs two {what}; {', '.join(few[:10])}{more}")


def _class_folders(folder: Path) -> dict[str, Path]:
    """Returns the sub-folders by the names of classes, in the order of these."""
    classes: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not is_clutter(path.name):
            name = composed(path.name.strip())
            if not name:
                raise DataError(f"{folder}: the name of a folder is blank; give it the name of its class")
            if name in classes:
                both = f"{classes[name].name!r}, {path.name!r}"
                raise DataError(f"{folder}: two folders are of class {name!r}: {both}; put their images into one")
            classes[name] = path
    return dict(sorted(classes.items()))


def _check_layout(folder: Path, classes: Mapping[str, Path], found: Mapping[str, Listing]) -> None:
    """Raises a DataError, which says what to do, if sub-folders are not those of classes."""
    deep = {name: _folders(path, found[name]) for name, path in classes.items()}
    if len(parts := [name for name in classes if name.casefold() in PARTS and deep[name]]) > 1:
        largest = max(parts, key=lambda name: len(found[name].images))
        raise DataError(
            f"{folder}: {shown(parts)} are parts of a split, not classes; merge the folders of each class, because a "
            f"split of classes is made anew, or take one part, for instance --images {classes[largest]}"
        )
    filled = [name for name, own in found.items() if own.images]
    if len(filled) == 1 and len(deep[filled[0]]) > 1:
        raise DataError(
            f"{folder}: it has one folder of images, with folders in it ({shown(deep[filled[0]], FEW)}); if these are "
            f"the classes, give --images {classes[filled[0]]}"
        )
    if not filled and not any(own.not_read for own in found.values()):
        beside = files_below(folder)
        names = [path.name for path in beside.images]
        have = f"its images are in no folder of a class ({shown(names, FEW)})" if names else "no images"
        unread = f" (not read: {beside.not_read}; {CONVERT})" if beside.not_read else ""
        raise DataError(f"{folder}: {have}{unread}; each class is a sub-folder that holds its images")


def _folders(path: Path, listing: Listing) -> list[str]:
    """Returns the folders in a folder that hold images; none where some images are in none of them."""
    paths = [image.relative_to(path).parts for image in listing.images]
    return sorted({parts[0] for parts in paths}) if all(len(parts) > 1 for parts in paths) else []
