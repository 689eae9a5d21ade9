"""Reads matrices of class scores made by any other code: .npz, .npy, .csv, .safetensors."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from zslbench.api.views import TestView
from zslbench.data.tables import read_table
from zslbench.errors import DataError, UsageError
from zslbench.files import reading

FORMATS = ".npz, .npy, .csv or .safetensors"


@dataclass(frozen=True)
class ScoreFile:
    """Scores of images for all classes of a data set.

    Attributes:
        path: where it was read.
        scores: `(N, C)`; columns in the data set's class order, or in that of `classes`, if the file names them.
        images: image numbers from 1, `(N,)`.
    """

    path: Path
    scores: NDArray[np.floating[Any]]
    images: NDArray[np.int64]
    classes: tuple[str, ...] | None = None

    @classmethod
    def of(cls, scores: NDArray[Any], images: object, name: str) -> ScoreFile:
        """Takes scores from memory, `(N, C)`, and the numbers of their images, from 1, `(N,)`.

        Raises:
            UsageError: the numbers are missing.
        """
        if images is None:
            raise UsageError("scores in an array: give images=, the number of the image of each row, from 1")
        return cls(Path(name), scores, np.asarray(images).ravel().astype(np.int64))

    @property
    def sha256(self) -> str:
        """Hash of the file, or of the array."""
        content = self.path.read_bytes() if self.path.is_file() else np.ascontiguousarray(self.scores).tobytes()
        return hashlib.sha256(content).hexdigest()

    def matrix_for(self, view: TestView, class_names: tuple[str, ...]) -> NDArray[np.floating[Any]]:
        """Returns the scores in the order of a view's images and classes; `class_names` is in the order of the files.

        Raises:
            DataError: images or classes are missing, doubled or foreign, or a score is not finite.
        """
        names = self.classes or class_names
        if self.scores.shape != (len(self.images), len(names)):
            raise DataError(
                f"{self.path}: scores have shape {self.scores.shape}; "
                f"{len(self.images)} images and {len(names)} classes need ({len(self.images)}, {len(names)})"
            )
        if set(names) != set(class_names) or len(names) != len(class_names):
            strange = sorted(set(names) ^ set(class_names))
            raise DataError(
                f"{self.path}: its classes are not those of the data set; the first that differs: {strange[0]!r}"
            )
        if self.scores.dtype.kind not in "fiu":
            raise DataError(f"{self.path}: scores are of type {self.scores.dtype}, not real numbers")
        if not np.isfinite(self.scores).all():
            raise DataError(f"{self.path}: {int((~np.isfinite(self.scores)).sum())} scores are NaN or infinite")
        row = {image: i for i, image in enumerate((self.images - 1).tolist())}
        missing = [int(image) + 1 for image in view.images if int(image) not in row]
        if len(row) != len(self.images) or len(self.images) != len(view) or missing:
            raise DataError(
                f"{self.path}: it scores {len(self.images)} images ({len(row)} different); "
                f"the test part has {len(view)}, of which {len(missing)} are missing"
                + (f", the first number {missing[0]}" if missing else "")
            )
        column = {name: i for i, name in enumerate(names)}
        rows = [row[int(image)] for image in view.images]
        return self.scores[rows][:, [column[name] for name in view.classes.names]]


def read_scores(path: Path, index: Path | None = None) -> ScoreFile:
    """Reads a score file.

    `.npz` and `.safetensors` hold `scores` and `images`; `.npy` holds scores, and `index` the image numbers, one a
    line or as .npy; `.csv` has a first column `image` and one column for each class, headed by its name.

    Raises:
        DataError: the file is missing, damaged, or lacks an array.
        UsageError: the format is unknown, or an index is needed.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"{path}: there is no such file of scores")
    if kind == ".npy" and index is None:
        raise UsageError(f"{path}: a .npy holds scores only; give the image numbers with --images FILE")
    with reading(path, kind):
        if kind == ".csv":
            return _read_csv(path)
        if kind == ".npy":
            assert index is not None
            return ScoreFile(path, np.load(path, allow_pickle=False), _read_index(index))
        if kind == ".npz":
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        elif kind == ".safetensors":
            arrays = dict(safetensors.numpy.load_file(path))
        else:
            raise UsageError(f"{path}: scores are read from {FORMATS}, not from {kind or 'a file without ending'}")
    for name in ("scores", "images"):
        if name not in arrays:
            raise DataError(f"{path}: it has no array {name!r}, only {', '.join(sorted(arrays)) or 'none'}")
    return ScoreFile(path, arrays["scores"], arrays["images"].ravel().astype(np.int64))


def _read_index(path: Path) -> NDArray[np.int64]:
    values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path, dtype=np.int64, ndmin=1)
    return values.ravel().astype(np.int64)


def _read_csv(path: Path) -> ScoreFile:
    head, rows = read_table(path)
    if head[0] != "image":
        raise DataError(f"{path}: the first line must be: image, then the class names")
    if short := [number for number, row in rows.items() if "" in row]:
        raise DataError(f"{path}: row {short[0]} lacks a score")
    values = np.array([row[1:] for row in rows.values()], dtype=np.float64)
    images = np.array([int(row[0]) for row in rows.values()], dtype=np.int64)
    return ScoreFile(path, values, images, tuple(head[1:]))
