"""Files of visual features: of the images that a data set names, with the splits of that data set or a copy of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from zslbench.api.cards import Pretraining
from zslbench.api.dataset import IntArray
from zslbench.api.images import Images
from zslbench.data.foldercard import images_folder, write_card
from zslbench.data.imagefiles import NAMED
from zslbench.data.made import Progress
from zslbench.data.matfile import Variables, made_from, write_mat
from zslbench.data.pretraining import tell_pretraining, told_pretraining
from zslbench.data.xlsa17 import SPLITS, XLSA17Dataset
from zslbench.errors import DataError, UsageError
from zslbench.files import existing, write_whole
from zslbench.preparation.backbones import Loaded
from zslbench.preparation.extract import extract


@dataclass(frozen=True)
class Extractor:
    """What computes features, and how.

    Attributes:
        loaded: the backbone.
        device: where it computes.
        batch_size: images at a time, a default for the device if None.
        progress: is told how many images are done.
        pretraining: what the backbone's weights were trained on.
    """

    loaded: Loaded
    device: torch.device
    batch_size: int | None = None
    progress: Progress | None = None
    pretraining: Pretraining = "unknown"

    def path(self, folder: Path) -> Path:
        """Returns the file of features in a data set's folder."""
        return folder / f"{self.loaded.features}.mat"

    def source(self, images: Images) -> dict[str, str]:
        """Returns what identifies the features of images."""
        return {"backbone": self.loaded.name, "weights": self.loaded.fingerprint, "images": images.fingerprint}

    def unfinished(self, folder: Path) -> Path:
        """Returns where unfinished features are kept."""
        return folder / f"{self.loaded.features}.part"

    @contextmanager
    def features_of(self, images: Images, folder: Path) -> Iterator[tuple[NDArray[np.float32], dict[int, str]]]:
        """Gives features and unreadable images as `extract` does, on disk until what is made of them is written."""
        work = self.unfinished(folder)
        yield extract(
            images, self.loaded.backbone, work, self.source(images), self.device, self.batch_size, self.progress
        )
        shutil.rmtree(work, ignore_errors=True)

    def write(
        self, folder: Path, features: NDArray[np.float32], labels: IntArray, names: Sequence[str], images: Images
    ) -> None:
        """Writes `features` `(D, N)`, `labels` and `image_files`, as the files of the GBU release have them."""
        source = self.source(images) | {"pretraining": self.pretraining}
        write_mat(self.path(folder), labels_and_names(labels, names), {"features": features}, source)

    def made(self, path: Path, images: Images) -> bool:
        """Whether a file of features is what these images give; what is said of the weights may be news to it."""
        source, there = self.source(images), made_from(path)
        return {name: there.get(name) for name in source} == source


def add_features(
    dataset: XLSA17Dataset, root: Path, extractor: Extractor, images: Path | None = None, out: Path | None = None
) -> bool:
    """Adds a file of features, a column for each image of the data set in the order of its `image_files`.

    Args:
        dataset: it names its images.
        root: folder that holds the data sets.
        extractor: what computes the features.
        images: folder that has the images, at any depth; by default what the data set's card names, or its `images`.
        out: another folder to write to, which becomes a data set of its own with the same splits.

    Returns:
        False if there was nothing to do.

    Raises:
        UsageError: there is no such folder, or other features of this name are there.
        DataError: images are missing or cannot be read, or the list of images disagrees with the labels.
        RunError: the backbone fails.
    """
    folder = dataset.folder(root)
    if images is not None:
        images = existing("--images", images, folder=True)
    files = dataset.file_images(root, images=images)
    if missing := files.missing:
        where = images or images_folder(folder)
        _refuse(f"{where}: {len(missing)} of {len(files)} images are missing", map(files.name, missing))
    target = folder if out is None else out.expanduser().absolute()
    path = extractor.path(target)
    new = not path.exists()
    if not new and not extractor.made(path, files):
        raise UsageError(f"{path}: it is there already, and was made from other images or weights; move it away")
    if not new:  # whoever wrote it may have died before it tidied up
        shutil.rmtree(extractor.unfinished(target), ignore_errors=True)
        if "pretraining" not in made_from(path) and path.stem not in told_pretraining(target):
            tell_pretraining(target, path.stem, extractor.pretraining)
    else:
        if target.exists() and not os.access(target, os.W_OK):
            raise UsageError(f"{target}: it cannot be written; name another folder by --out")
        with extractor.features_of(files, target) as (features, unreadable):
            if unreadable:
                reasons = (f"{files.name(i)}: {why}" for i, why in unreadable.items())
                _refuse(f"{len(unreadable)} of {len(files)} images cannot be read", reasons)
            labels, _ = dataset.read_labels(root)
            extractor.write(target, features, labels, dataset.image_files(root), files)
    if target != folder:
        _copy_layout(dataset, folder, target, extractor.loaded.features)
    return new


def labels_and_names(labels: IntArray, names: Sequence[str]) -> Variables:
    """Returns the variables that say of each image its class, from 1, and its file."""
    return {"labels": (labels + 1.0)[:, None], "image_files": list(names)}


def _refuse(problem: str, examples: Iterable[str]) -> NoReturn:
    raise DataError(f"{problem}, for instance {', '.join(islice(examples, NAMED))}")


def _copy_layout(dataset: XLSA17Dataset, folder: Path, target: Path, features: str) -> None:
    """Makes a data set of a folder of features: copies lists and splits, the proposed split last."""
    splits = sorted(folder.glob(f"{SPLITS}*.mat"), key=lambda path: (path.stem == SPLITS, path.name))
    lists = sorted([*folder.glob("trainclasses*.txt"), *folder.glob("valclasses*.txt")])
    write_card(target, replace(dataset.card, default_features=features), {"images": str(images_folder(folder))})
    for path in [*lists, *splits]:
        copy, content = target / path.name, path.read_bytes()
        if copy.exists() and copy.read_bytes() != content:
            raise UsageError(f"{copy}: it differs from {path}; name another folder by --out")
        write_whole(copy, content)
