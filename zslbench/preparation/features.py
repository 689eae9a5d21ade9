"""Further visual features for a data set in the xlsa17 layout, of the images that its `image_files` name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from zslbench.api.dataset import IntArray
from zslbench.api.images import Images
from zslbench.data.foldercard import images_folder, write_card
from zslbench.data.imagefiles import NAMED
from zslbench.data.made import Progress
from zslbench.data.matfile import Variables, made_from, write_mat
from zslbench.data.xlsa17 import SPLITS, XLSA17Dataset
from zslbench.errors import DataError, UsageError
from zslbench.files import whole
from zslbench.preparation.backbones import Loaded
from zslbench.preparation.extract import extract


def add_features(
    dataset: XLSA17Dataset,
    root: Path,
    loaded: Loaded,
    images: Path | None,
    out: Path | None,
    device: torch.device,
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> bool:
    """Adds a file of features, a column for each image of the data set in its order.

    Args:
        dataset: it names its images in `image_files`.
        root: folder that holds the data sets.
        loaded: what computes the features.
        images: folder that has the images, at any depth; by default what the data set's card names, or its `images`.
        out: another folder to write to, which becomes a data set of its own with the same splits.
        device: where to compute.
        batch_size: images at a time to begin with.
        progress: is told how far it is.

    Returns:
        False if there was nothing to do.

    Raises:
        UsageError: there is no such folder, or other features of this name are there.
        DataError: images are missing or cannot be read, or the list of images disagrees with the labels.
        RunError: the backbone fails.
    """
    folder = dataset.folder(root)
    if problem := dataset.missing_split(root):
        raise DataError(problem)
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images}: there is no such folder")
    files = dataset.file_images(root, images=images)
    names, (labels, _) = dataset.image_files(root), dataset.read_labels(root)
    if missing := files.missing:
        examples = ", ".join(files.name(row) for row in missing[:NAMED])
        where = images or images_folder(folder)
        raise DataError(f"{where}: {len(missing)} of {len(files)} images are missing, for instance {examples}")
    target = folder if out is None else out.expanduser().absolute()
    source = features_source(loaded, files)
    path = target / f"{loaded.features}.mat"
    new = check_absent(path, source)
    if new:
        if target.exists() and not os.access(target, os.W_OK):
            raise UsageError(f"{target}: it cannot be written; name another folder by --out")
        work = target / f"{loaded.features}.part"
        features, unreadable = extract(files, loaded.backbone, work, source, device, batch_size, progress)
        if unreadable:
            examples = ", ".join(f"{files.name(i)}: {why}" for i, why in list(unreadable.items())[:NAMED])
            raise DataError(f"{len(unreadable)} of {len(files)} images cannot be read, for instance {examples}")
        write_features(path, features, labels, names, source)
        del features
        shutil.rmtree(work, ignore_errors=True)
    if target != folder:
        _copy_layout(dataset, folder, target, loaded.features)
    return new


def features_source(loaded: Loaded, images: Images) -> dict[str, str]:
    """Returns what identifies a file of features."""
    return {"backbone": loaded.name, "weights": loaded.fingerprint, "images": images.fingerprint}


def check_absent(path: Path, source: dict[str, str]) -> bool:
    """Returns whether a file of features is still to be made; False if it is there and made from the same.

    Raises:
        UsageError: it is there and was made from something else.
    """
    if not path.exists():
        return True
    if made_from(path) != source:
        raise UsageError(f"{path}: it is there already, and was made from other images or weights; move it away")
    return False


def write_features(
    path: Path, features: NDArray[np.float32], labels: IntArray, names: Sequence[str], source: dict[str, str]
) -> None:
    """Writes `features` `(D, N)`, `labels` and `image_files`, as the files of the GBU release have them."""
    write_mat(path, labels_and_names(labels, names), {"features": features}, source)


def labels_and_names(labels: IntArray, names: Sequence[str]) -> Variables:
    """Returns the variables that say of each image its class, from 1, and its file."""
    return {"labels": (labels + 1.0)[:, None], "image_files": list(names)}


def _copy_layout(dataset: XLSA17Dataset, folder: Path, target: Path, features: str) -> None:
    """Makes a data set of a folder of features: copies lists and splits, the proposed split last."""
    splits = sorted(folder.glob(f"{SPLITS}*.mat"), key=lambda path: (path.stem == SPLITS, path.name))
    lists = sorted([*folder.glob("trainclasses*.txt"), *folder.glob("valclasses*.txt")])
    write_card(target, replace(dataset.card, default_features=features), {"images": str(images_folder(folder))})
    for path in [*lists, *splits]:
        copy = target / path.name
        if copy.exists() and copy.read_bytes() != path.read_bytes():
            raise UsageError(f"{copy}: it differs from {path}; name another folder by --out")
        with whole(copy) as part:
            shutil.copyfile(path, part)
