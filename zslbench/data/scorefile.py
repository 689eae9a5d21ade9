"""Reads matrices of class scores made by any other code: tables, and all that holds arrays."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from zslbench.api.views import TestView
from zslbench.data import arrays
from zslbench.data.names import class_positions, match
from zslbench.data.tables import Table, read_rows, read_table, to_numbers
from zslbench.errors import DataError, Hint, UsageError

TABLES = (".csv", ".tsv")
FORMATS = f".csv, .tsv, {arrays.FORMATS}"
IMAGE = ("image", "images")


@dataclass(frozen=True)
class ScoreFile:
    """Scores of images for all classes of a data set.

    Attributes:
        path: where it was read.
        scores: `(N, C)`; columns in the data set's class order, or in that of `classes`, if the file names them. Those
            of a validation fold have columns for the classes of trainval alone.
        images: image numbers from 1, `(N,)`.
        classes: names or numbers of the classes, in the order of the columns.
        labels: names or numbers of the images' classes, `(N,)`, which must be those of the data set.
        apart: whether the image numbers are no part of the file.
    """

    path: Path
    scores: NDArray[np.floating[Any]]
    images: NDArray[np.int64]
    classes: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    apart: bool = False

    @classmethod
    def of(cls, scores: NDArray[Any], images: object, name: str) -> ScoreFile:
        """Takes scores from memory, `(N, C)`, and the numbers of their images, from 1, `(N,)`.

        Raises:
            UsageError: the numbers are missing.
            DataError: they are no whole numbers.
        """
        if images is None:
            raise UsageError("scores in an array: give images=, the number of the image of each row, from 1")
        path = Path(name)
        return cls(path, scores, arrays.whole_numbers(path, "images", np.asarray(images)), apart=True)

    @property
    def sha256(self) -> str:
        """Hash of the file, or of the array, and of image numbers that are given apart."""
        digest = hashlib.sha256()
        digest.update(self.path.read_bytes() if self.path.is_file() else np.ascontiguousarray(self.scores).tobytes())
        if self.apart:
            digest.update(self.images.tobytes())
        return digest.hexdigest()

    def matrix_for(self, view: TestView, class_names: tuple[str, ...]) -> NDArray[np.floating[Any]]:
        """Returns the scores in the order of a view's images and classes.

        Args:
            view: the test part, or that of a validation fold, whose classes are those of trainval.
            class_names: all classes of the data set, in its order, which is that of columns without names.

        Raises:
            DataError: images or classes are missing, doubled or foreign, labels are others, or a score is not finite.
        """
        wanted = [name for name in class_names if name in view.classes.names]
        own, count = self.classes, len(wanted)
        positions = range(count) if own is None else class_positions(own, class_names, self.path, wanted)
        column = dict(zip(wanted, positions, strict=True))
        needed = (len(self.images), count)
        if self.scores.shape != needed:
            advice = "; transpose them" if self.scores.shape == needed[::-1] else ""
            kind = "classes of trainval" if count < len(class_names) else "classes"
            raise DataError(
                f"{self.path}: scores have shape {self.scores.shape}; "
                f"{needed[0]} images and {needed[1]} {kind} need {needed}{advice}"
            )
        arrays.real_numbers(self.path, "scores", self.scores)
        if not np.isfinite(self.scores).all():
            raise DataError(f"{self.path}: {int((~np.isfinite(self.scores)).sum())} scores are NaN or infinite")
        rows = self._rows(view, "test" if count == len(class_names) else "validation")
        if self.labels is not None:
            self._check_labels([self.labels[row] for row in rows], view, class_names)
        return self.scores[rows][:, [column[name] for name in view.classes.names]]

    def _rows(self, view: TestView, part: str) -> list[int]:
        """Returns the row of each image of a view, which is this part of the data."""
        row = {image: i for i, image in enumerate((self.images - 1).tolist())}
        missing = [image for image in view.images.tolist() if image not in row]
        if len(row) != len(self.images) or len(self.images) != len(view) or missing:
            from_zero = set(row) == {image - 1 for image in view.images.tolist()}
            raise DataError(
                f"{self.path}: it scores {len(self.images)} images ({len(row)} different); "
                f"the {part} part has {len(view)}, of which {len(missing)} are missing"
                + (f", the first number {missing[0] + 1}" if missing else "")
                + (" (they seem to count from 0; add 1)" if from_zero else "")
                + "; `zslbench data split` lists the images of each part"
            )
        return [row[image] for image in view.images.tolist()]

    def _check_labels(self, labels: Sequence[str], view: TestView, class_names: tuple[str, ...]) -> None:
        """Raises a DataError unless these are the classes of a view's images, by name or by number from 0 or 1."""
        names = np.array(view.classes.names)[view.y].tolist()
        found = match(sorted(set(names)), sorted(set(labels))).found
        numbers = [class_names.index(name) for name in names]
        by_number = [[str(number + base) for number in numbers] for base in (0, 1)]
        readings = [[found.get(name, "") for name in names], *by_number]
        if list(labels) not in readings:
            wrong = [[label != own[i] for i, label in enumerate(labels)] for own in readings]
            best = min(wrong, key=sum)
            first = best.index(True)
            raise DataError(
                f"{self.path}: its labels are not those of the data set for {sum(best)} of {len(labels)} images: "
                f"image {view.images[first] + 1} has {labels[first]!r}, and is {names[first]!r}; "
                "give the image numbers and labels of the data set, or leave the labels out"
            )


def score_file(scores: str | Path | ArrayLike, images: object, name: str) -> ScoreFile:
    """Returns scores from a file, or from an array that is called so; `images` as a file or an array.

    Raises:
        UsageError, DataError: as `read_scores` and `ScoreFile.of`.
    """
    if isinstance(scores, str | Path):
        return read_scores(Path(scores), None if images is None else Path(str(images)))
    return ScoreFile.of(np.asarray(scores), images, name)


def validation_file(given: str | Path | tuple[ArrayLike, ArrayLike]) -> ScoreFile:
    """Returns scores of validation images, from a file or from an array and the numbers of its images.

    Raises:
        UsageError, DataError: it is neither; else as `score_file`.
    """
    if isinstance(given, str | Path):
        return score_file(given, None, "")
    if not isinstance(given, tuple) or len(given) != 2:
        raise UsageError("validation=: give a file, or a pair of an array of scores and the numbers of its images")
    return score_file(*given, "validation")


def read_scores(path: Path, index: Path | None = None) -> ScoreFile:
    """Reads a score file.

    Tables have a first column `image` and one column for each class, headed by its name or number. Other files hold
    `scores`, and may hold `images`, `classes` (names or numbers of the columns' classes, also called `class_names`)
    and `labels`; what else is there is named and ignored.

    Args:
        path: a table, or any file that `read_arrays` reads.
        index: image numbers where the file has none, one a line or in a file of arrays.

    Raises:
        DataError: a file is missing, damaged, or lacks an array.
        UsageError: the format is unknown, or image numbers are given twice or not at all.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file of scores")
    if path.suffix.lower() in TABLES:
        if index is not None:
            raise UsageError(f"--images {index}: the table {path} says itself which images it scores")
        return _read_csv(path)
    if not arrays.is_arrays(path):
        kind = path.suffix or "a file without ending"
        raise UsageError(f"{path}: scores are read from {FORMATS}, not from {kind}")
    if path.suffix.lower() == ".npy" and index is None:
        raise UsageError(
            f"{path}: a .npy holds scores only; give the image numbers with --images FILE, or put both into a .npz"
        )
    found = arrays.read_arrays(path)
    if arrays.LONE in found:
        found["scores"] = found.pop(arrays.LONE)
    for name in ("scores", "images") if index is None else ("scores",):
        if name not in found:
            raise DataError(f"{path}: it has no array {name!r}, only {', '.join(sorted(found)) or 'none'}")
    if index is not None and "images" in found:
        raise UsageError(f"--images {index}: {path} says itself which images it scores")
    scores = found.pop("scores")
    images = arrays.whole_numbers(path, "images", found.pop("images")) if index is None else _read_index(index)
    classes = arrays.take_classes(path, found)
    labels = arrays.names_in(path, "labels", found.pop("labels")) if "labels" in found else None
    if labels is not None and len(labels) != len(images):
        raise DataError(f"{path}: it has {len(labels)} labels for {len(images)} images")
    if found:
        warnings.warn(f"{path}: ignored: {', '.join(sorted(found))}", Hint, stacklevel=2)
    return ScoreFile(path, scores, images, classes, labels, apart=index is not None)


def _read_index(path: Path) -> NDArray[np.int64]:
    if arrays.is_arrays(path):
        found = arrays.read_arrays(path)
        name = arrays.LONE if arrays.LONE in found else "images"
        if name not in found:
            raise DataError(f"{path}: it has no array 'images', only {', '.join(sorted(found)) or 'none'}")
        return arrays.whole_numbers(path, "images", found[name])
    table = read_rows(path)
    rows = dict(table.body if table.head[0].lower() in IMAGE else table.rows)
    if wide := [number for number, row in rows.items() if len(row) != 1]:
        raise DataError(f"{path}: row {wide[0]} has {len(rows[wide[0]])} cells; one image number a line is needed")
    numbers = list(rows)
    values, _ = to_numbers(path, list(rows.values()), lambda i, _: f"row {numbers[i]}")
    return arrays.whole_numbers(path, "images", values.ravel())


def _read_csv(path: Path) -> ScoreFile:
    table = _upright(read_table(path))
    values = table.numbers(0)
    images = arrays.whole_numbers(path, "the column of images", values[:, 0])
    table.say()
    return ScoreFile(path, values[:, 1:], images, tuple(table.head[1:]))


def _upright(table: Table) -> Table:
    """Returns a table with images in rows and classes in columns; raises a DataError where that is not clear."""
    corner, across, down = table.head[0], table.head[1:], [row[0] for row in table.body.values()]
    if corner.lower() in IMAGE:
        return table
    if all(cell.isdecimal() for cell in across) and not any(cell.isdecimal() for cell in [corner, *down]):
        return table.transposed()
    raise DataError(f"{table.path}: the first line must be: image, then the class names; it begins with {corner!r}")
