"""A folder of images by class, which becomes a data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.data.imagefiles import FileImages, images_below
from zslbench.errors import DataError
from zslbench.files import existing


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
        folder = existing("--images", folder, folder=True)
        classes: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                name = path.name.strip()
                if name in classes:
                    raise DataError(f"{folder}: two classes are called {name!r}: {classes[name].name!r}, {path.name!r}")
                classes[name] = path
        found = {name: images_below(classes[name]) for name in sorted(classes)}
        if not any(found.values()):
            raise DataError(f"{folder}: no images; each class is a sub-folder that holds its images")
        check_two_each({name: len(images) for name, images in found.items()}, folder)
        names = tuple(path.relative_to(folder).as_posix() for images in found.values() for path in images)
        labels = np.repeat(np.arange(len(found)), [len(images) for images in found.values()])
        return cls(folder, tuple(found), names, labels.astype(np.int64))

    @property
    def images(self) -> FileImages:
        """The images, in the order of `names`."""
        return FileImages(self.names, [self.folder / name for name in self.names])


def check_two_each(counts: dict[str, int], where: Path, what: str = "images") -> None:
    """Raises a DataError if a class has fewer than two images: one to learn from and one to be tested on."""
    if few := [name for name, count in counts.items() if count < 2]:
        others = f" ({len(few)} classes in all)" if len(few) > 1 else ""
        raise DataError(f"{where}: class {few[0]!r} has {counts[few[0]]} {what}; each class needs two{others}")
