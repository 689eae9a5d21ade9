"""Features in a file of its own, for the images of a data set: `--features FILE`."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import ZSLData, array_fingerprint, check_finite
from zslbench.api.layout import ArrayFile
from zslbench.data.arrayfile import opened, split_name
from zslbench.data.arrays import LONE, whole_numbers
from zslbench.data.cache import load_features
from zslbench.data.matchild import FEATURES, LABELS
from zslbench.data.numbering import settle_rows
from zslbench.errors import DataError, Hint, UsageError


def is_features_file(features: str) -> bool:
    """Returns whether a name of features is a path, `FILE` or `FILE:ARRAY`, and not that of a file of the data set."""
    path, array = split_name(features)
    return bool(array) or os.sep in features or (bool(path.suffix) and path.is_file())


def with_features(data: ZSLData, features: str) -> ZSLData:
    """Returns the data with the features of a file, in the order of its images.

    The file has one matrix with a row or a column for each image: `features`, the only one that fits, or that of
    `FILE:ARRAY`. Where it has labels too, they must be those of the data set, counted from 0 or 1.

    Args:
        data: labels, splits and class embeddings.
        features: the file.

    Raises:
        UsageError: there is no such file or array, or it holds no arrays.
        DataError: it is damaged, several matrices fit or none, labels are others, or values are not finite.
    """
    file, array = opened("--features", features)
    images = len(data.labels)
    name = array or _fitting(file, images)
    _check_labels(file, name, data)
    if name == FEATURES and file.matlab:
        loaded = load_features(file.path, images)
        rows, fingerprint = loaded.features, loaded.fingerprint
    else:
        what = f"{file.path}: {name or 'the array'}"
        found, how = settle_rows(what, file.load(name), images, "images", file.matlab)
        rows = np.ascontiguousarray(found, dtype=np.float32)
        check_finite(rows, what)
        fingerprint = array_fingerprint(rows)
        if found.shape[0] == found.shape[1]:
            warnings.warn(f"{what} {how}", Hint, stacklevel=2)
    return replace(data, features_name=file.path.stem, features=rows, features_fingerprint=fingerprint, backbone={})


def _fitting(file: ArrayFile, images: int) -> str:
    """Returns the name of the one matrix that has a row or a column for each image."""
    if any(len(shape) > 2 for shape in file.shapes.values()):
        raise DataError(f"{file.path}: it holds feature maps; make features of them by `zslbench data import --pool`")
    fitting = [name for name, shape in file.shapes.items() if len(shape) == 2 and images in shape and min(shape) > 1]
    if FEATURES in fitting or LONE in fitting:
        return FEATURES if FEATURES in fitting else LONE
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(f"{file.path}: {', '.join(fitting)} may all be features; choose one as FILE:{fitting[0]}")
    shapes = ", ".join(f"{name or 'an array'} {shape}" for name, shape in file.shapes.items()) or "nothing"
    raise DataError(
        f"{file.path}: it has {shapes}; a row or a column for each of the {images} images is needed, in their order; "
        "where it has a split of its own, use `zslbench data import`"
    )


def _check_labels(file: ArrayFile, features: str, data: ZSLData) -> None:
    """Raises a DataError if the file has labels, and they are not those of the data set."""
    if LABELS not in file.shapes or features == LABELS:
        return
    labels: NDArray[np.int64] = whole_numbers(file.path, LABELS, file.load(LABELS))
    if len(labels) != len(data.labels):
        raise DataError(f"{file.path}: it has {len(labels)} labels for the {len(data.labels)} images of {data.name}")
    apart = min(int((labels - base != data.labels).sum()) for base in (0, 1))
    if apart:
        raise DataError(
            f"{file.path}: its labels are others than those of {data.name} for {apart} of {len(labels)} images; its "
            "images are others, or in another order"
        )
