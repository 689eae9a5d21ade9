"""The errors and warnings of `ZSLData`: what makes a data set unusable or its numbers doubtful."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zslbench.errors import DataError

if TYPE_CHECKING:
    from zslbench.api.dataset import ZSLData

BLOCK = 2**22
"""How many values are examined at a time, so that a large file need not fit in memory."""
ROWS = 256
"""How many rows are compared at a time."""
LARGE, SMALL = 1e16, 1e-16
"""In float32, sums of squares of larger values overflow, and those of smaller values vanish."""
NAMED = 3
"""How many classes a message names."""
RARE = 0.1
"""Up to this share of the values may code missing ones; if more are -1, it means a class lacks an attribute."""


def check_finite(array: NDArray[np.floating], what: str) -> None:
    """Checks in about one pass that all values are numbers whose squares can be summed in float32.

    Raises:
        DataError: some values are NaN, infinite or too large (the message counts them), or all are zero or too small.
    """
    largest = 0.0
    for _, block in _blocks(array) if array.size else ():
        extremes = float(block.max()), float(block.min())
        if not np.isfinite(extremes).all():
            raise _not_finite(array, what)
        largest = max(largest, abs(extremes[0]), abs(extremes[1]))
    if largest > LARGE:
        columns = sorted({int(c) for _, block in _blocks(array) for c in np.argwhere(np.abs(block) > LARGE)[:, -1]})
        raise DataError(
            f"{what}: {listed([str(c + 1) for c in columns], 'column')} of {array.shape[-1]} "
            f"{'has' if len(columns) == 1 else 'have'} values as large as {largest:.3g}, whose squares overflow "
            "float32; divide them by a constant, or remove them"
        )
    if array.size and largest < SMALL:
        found = f"no value is larger than {largest:.3g}, so that squares vanish in float32" if largest else ""
        raise DataError(f"{what}: {found or 'all values are zero'}; nothing can be learned from them")


def check_not_constant(array: NDArray[np.floating], what: str, rows: NDArray[np.int64] | None = None) -> None:
    """Raises a DataError if all rows, or the given ones, are equal; stops at the first that differs."""
    rows = np.arange(len(array)) if rows is None else rows
    parts = (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))
    if len(rows) > 1 and not any((array[part] != array[rows[:1]]).any() for part in parts):
        raise DataError(f"{what}: all {len(rows)} rows are equal; nothing can be learned from them")


def check_embeddings(semantics: NDArray[np.floating], names: Sequence[str], what: str) -> None:
    """Checks class embeddings, `(C, A)`, by `check_finite` and `check_not_constant`, and each row for zeros.

    Raises:
        DataError: one of these checks fails, or the embedding of a class is zero; the message names the classes.
    """
    check_finite(semantics, what)
    check_not_constant(semantics, what)
    if zero := [repr(names[c]) for c in np.flatnonzero(~semantics.any(axis=1)).tolist()]:
        raise DataError(
            f"{what}: zero for {listed(zero, 'class', 'classes')}, which say nothing of it; add their values"
        )


def wrong(data: ZSLData) -> Iterator[str]:
    """Yields what is wrong with sizes, class names and split; later checks rely on earlier ones."""
    yield from _wrong_sizes(data)
    yield from wrong_names(data.class_names)
    yield from _wrong_roles(data)


def doubtful(data: ZSLData) -> Iterator[str]:
    """Yields what changes the meaning of a data set's numbers but need not stop you."""
    names = data.class_names
    if absent := [names[c] for c in data.untested]:
        yield (
            f"{listed([repr(name) for name in absent], 'unseen class', 'unseen classes')} without test images; they "
            "stay among the classes to choose from, and accuracies are means over the others"
        )
    if groups := equal_rows(data.semantics):
        pairs = [" = ".join(repr(names[c]) for c in group) for group in groups]
        yield f"equal class embeddings, which no method can tell apart: {listed(pairs, 'group')}"
    if code := missing_code(data.semantics):
        yield (
            f"{code[1]} values of the class embeddings are {code[0]:g} and no others negative: that is often a code "
            "for a missing value, and here it is taken as a number"
        )


def wrong_names(names: Sequence[str]) -> Iterator[str]:
    """Yields what is wrong with class names: one is empty, or several read the same."""
    if empty := [str(c + 1) for c, name in enumerate(names) if not name.strip()]:
        yield f"{listed(empty, 'class', 'classes')}, counted from 1, without a name"
    if twice := same_names(names):
        yield f"several classes have one name: {listed(twice, 'name')}; give each a name of its own"


def same_names(names: Sequence[str]) -> list[str]:
    """Returns names that several classes share, with their numbers from 1; forms of an accent count as equal."""
    numbers: dict[str, list[int]] = {}
    for number, name in enumerate(names, start=1):
        numbers.setdefault(unicodedata.normalize("NFC", name).strip(), []).append(number)
    groups = {name: own for name, own in numbers.items() if len(own) > 1 and name}
    return [f"{name!r} (classes {' and '.join(map(str, own))})" for name, own in groups.items()]


def equal_rows(rows: NDArray[np.floating]) -> list[list[int]]:
    """Returns groups of equal rows, by their numbers from 0."""
    numbers: dict[bytes, list[int]] = {}
    for number, row in enumerate(rows):
        numbers.setdefault((row + 0.0).tobytes(), []).append(number)  # -0.0 is 0.0
    return [own for own in numbers.values() if len(own) > 1]


def rare_negatives(semantics: NDArray[np.floating]) -> NDArray[np.floating]:
    """Returns the negative values of attributes if they are rare, as codes for missing values are.

    They are frequent if -1 means that a class lacks an attribute, and in word vectors.
    """
    negative = semantics[semantics < 0]
    return negative[: negative.size if negative.size <= RARE * semantics.size else 0]


def missing_code(semantics: NDArray[np.floating]) -> tuple[float, int] | None:
    """Returns the whole number that codes missing values, such as -1 in AWA's attributes, and its count.

    It is the only negative value, and rare.
    """
    negative = rare_negatives(semantics)
    if not negative.size or negative.min() != negative.max() or not float(negative[0]).is_integer():
        return None
    return float(negative[0]), negative.size


def listed(items: Sequence[str], one: str, several: str = "") -> str:
    """Returns the count of items and the first few: `5 classes (a, b, c, ...)`, but `class a` for one."""
    if len(items) == 1:
        return f"{one} {items[0]}"
    return f"{len(items)} {several or one + 's'} ({', '.join(items[:NAMED])}{', ...' if len(items) > NAMED else ''})"


def _wrong_sizes(data: ZSLData) -> Iterator[str]:
    images, classes = len(data.labels), len(data.semantics)
    if data.semantics.ndim != 2 or data.labels.ndim != 1:
        yield "class embeddings must be (classes, size) and labels (images,)"
    dimensions = 2 if data.pixels is None else 3
    if data.features is not None and (data.features.ndim != dimensions or len(data.features) != images):
        shape = f"have shape {data.features.shape} for {images} labels; (images, size) is needed"
        yield f"features {data.features_name} {shape}"
    if data.images is not None and len(data.images) != images:
        yield f"it has {len(data.images)} images, but {images} labels"
    if len(data.class_names) != classes:
        yield f"{len(data.class_names)} class names for {classes} class embeddings"
    if images and not (data.labels.min() >= 0 and data.labels.max() < classes):
        first, last = data.labels.min() + 1, data.labels.max() + 1
        yield f"labels run from {first} to {last} (counted from 1), but there are {classes} classes"


def _wrong_roles(data: ZSLData) -> Iterator[str]:
    parts = {"trainval": data.train, "test_seen": data.test_seen, "test_unseen": data.test_unseen}
    for part, rows in parts.items():
        if len(rows) == 0:
            yield f"the split part {part} is empty"
        if rows.min() < 0 or rows.max() >= len(data.labels):
            yield f"{part} points outside the {len(data.labels)} images"
        found, times = np.unique(rows, return_counts=True)
        if twice := [str(row + 1) for row in found[times > 1]]:
            yield f"{part} names {listed(twice, 'image')}, counted from 1, more than once"
    rows = np.concatenate(list(parts.values()))
    if len(np.unique(rows)) != len(rows):
        yield "trainval, test_seen and test_unseen share images; see `data audit`"
    seen = data.split.seen
    if both := np.intersect1d(seen, data.split.unseen).tolist():
        yield f"class {data.class_names[both[0]]!r} is both seen and unseen"
    for fold in data.validation_folds:
        if not 0 < len(np.intersect1d(fold, seen)) < len(seen):
            yield "the validation classes must be some of the seen classes, not all"
    if strange := np.setdiff1d(data.labels[data.test_seen], seen).tolist():
        yield f"test_seen has class {data.class_names[strange[0]]!r}, which has no training image"


def _blocks(array: NDArray[np.floating]) -> Iterator[tuple[int, NDArray[np.floating]]]:
    rows = max(1, BLOCK // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]


def _not_finite(array: NDArray[np.floating], what: str) -> DataError:
    bad, first = 0, -1
    for start, block in _blocks(array):
        wrong = ~np.isfinite(block)
        if wrong.any() and first < 0:
            first = start + int(np.flatnonzero(wrong.reshape(len(block), -1).any(axis=1))[0])
        bad += int(wrong.sum())
    return DataError(f"{what}: {bad} values are NaN or infinite, the first in row {first + 1}; repair the file")
