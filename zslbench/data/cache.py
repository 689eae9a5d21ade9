"""The features of a .mat file: checked, memory-mapped float32 rows, from the entry that the cache has of the file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import check_finite
from zslbench.data.matchild import FEATURES, LABELS
from zslbench.data.matentry import Entry, entry_of
from zslbench.data.matfile import indices, read_arrays
from zslbench.errors import DataError, Hint


@dataclass(frozen=True)
class Features:
    """The features of one .mat file.

    Attributes:
        features: `(N, D)` float32, finite, memory-mapped.
        labels: class of each image, `(N,)` int64 from 0, or None if the file has none.
        fingerprint: `array_fingerprint` of the features.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    fingerprint: str


def load_features(path: Path, images: int | None = None) -> Features:
    """Loads the features of a .mat file through the cache; what it takes from there is verified by its checksums.

    The release has an image in each column. Where the number of labels says that images are in rows, they are, and a
    `Hint` says so.

    Args:
        path: the file.
        images: how many images there are, which tells rows from columns if the file has no labels.

    Raises:
        DataError: the file is missing, damaged, of the wrong shape, or holds NaN.
    """
    entry = _features_entry(path, images)
    features, labels = entry.values[FEATURES], None
    if LABELS in entry.variables:
        labels = indices(read_arrays(path, [LABELS])[LABELS], f"{path}: labels")
        images = len(labels)
    if images is not None and images != len(features):
        shape = tuple(entry.variables[FEATURES]["shape"])
        raise DataError(f"{path}: features have shape {shape} for {images} labels; (size, images) is needed")
    if not entry.sound:
        check_finite(features, f"{path}: features")
    return Features(features, labels, entry.fingerprint)


def feature_rows(path: Path, images: int | None = None) -> NDArray[np.float32]:
    """Returns features as `load_features` does, `(N, D)`, whatever their values and number, for those who check these.

    Raises:
        DataError: the file is missing or damaged, or its features are no matrix.
    """
    rows: NDArray[np.float32] = _features_entry(path, images).values[FEATURES]
    return rows


def _features_entry(path: Path, images: int | None) -> Entry:
    entry = entry_of(path, [FEATURES])
    shape = _shape(path, entry)
    if LABELS in entry.variables:
        images = prod(entry.variables[LABELS]["shape"])
    elif images == shape[0] != shape[1]:  # images in rows, which the file alone does not tell
        entry = entry_of(path, [FEATURES], images)
    if entry.rows or images == shape[0] == shape[1]:
        taken = "row" if entry.rows else "column, as in the release"
        warnings.warn(
            f"{path}: features have shape {shape} for {images} labels: each image is taken to be a {taken}",
            Hint,
            stacklevel=3,
        )
    return entry


def _shape(path: Path, entry: Entry) -> tuple[int, int]:
    if FEATURES not in entry.variables:
        raise DataError(f"{path}: variable 'features' is missing; a matrix (size, images) is needed")
    kept = entry.variables[FEATURES]
    shape, values = tuple(kept["shape"]), entry.values.get(FEATURES)
    if why := kept["why"] or ("" if isinstance(values, np.ndarray) else "is text"):
        raise DataError(f"{path}: variable 'features' {why}")
    if len(shape) != 2 or 0 in shape:
        raise DataError(f"{path}: variable 'features' has shape {shape}; a matrix (size, images) is needed")
    return shape
