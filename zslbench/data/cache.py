"""The features of a .mat file: checked, memory-mapped float32 rows, from the entry that the cache has of the file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import check_finite
from zslbench.data.digests import file_digest as file_digest
from zslbench.data.matchild import FEATURES, LABELS
from zslbench.data.matentry import Entry, entry_of
from zslbench.data.matentry import cache_state as cache_state
from zslbench.data.matfile import indices
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
    labels = indices(entry.values[LABELS], f"{path}: labels") if LABELS in entry.values else None
    features = entry.values[FEATURES]
    if not entry.finite:
        check_finite(features, f"{path}: features")
    return Features(features, labels, entry.fingerprint)


def feature_rows(path: Path, images: int | None = None) -> NDArray[np.float32]:
    """Returns features as `load_features` does, `(N, D)`, whatever their values are, for those who check these.

    Raises:
        DataError: the file is missing or damaged, or its features are not of so many images.
    """
    rows: NDArray[np.float32] = _features_entry(path, images).values[FEATURES]
    return rows


def _features_entry(path: Path, images: int | None) -> Entry:
    entry = entry_of(path, [FEATURES, LABELS])
    shape = _shape(path, entry)
    if LABELS in entry.variables:
        if why := entry.variables[LABELS]["why"]:
            raise DataError(f"{path}: variable 'labels' {why}")
        images = int(np.prod(entry.variables[LABELS]["shape"]))
    elif images not in (None, shape[1]) and images == shape[0]:  # rows, which the file alone does not tell
        entry = entry_of(path, [FEATURES], images)
    of_images = f"{path}: features have shape {shape} for {images} labels"
    if images is not None and images not in shape:
        raise DataError(f"{of_images}; (size, images) is needed")
    if entry.rows:
        warnings.warn(f"{of_images}, so an image is taken to be a row", Hint, stacklevel=3)
    elif images is not None and shape[0] == shape[1]:
        warnings.warn(f"{of_images}; an image is taken to be a column, as in the release", Hint, stacklevel=3)
    return entry


def _shape(path: Path, entry: Entry) -> tuple[int, int]:
    kept = entry.variables.get(FEATURES, {"shape": (), "why": "is missing"})
    shape = tuple(kept["shape"])
    why = kept["why"] or ("" if len(shape) == 2 and 0 not in shape else f"has shape {shape}")
    if why or not isinstance(entry.values.get(FEATURES), np.ndarray):
        raise DataError(f"{path}: variable 'features' {why or 'is text'}; a matrix (size, images) is needed")
    return shape
