"""What a data set's list of images means: whether it agrees with the labels, and which box of a file each row is.

In aPY (Farhadi et al., CVPR 2009) a row is an object, and a file of PASCAL VOC 2008 or Yahoo shows several. GBU's list
has a row for each line of the authors' three annotation files, in this order, and says nothing of the boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from zslbench.data.tables import read_lines
from zslbench.errors import DataError

ANNOTATIONS = ("apascal_train.txt", "apascal_test.txt", "ayahoo_test.txt")
FOLDER = "attribute_data"


def check_folders(names: Sequence[str], classes: Sequence[str], where: Path) -> None:
    """Checks a list against the labels, where images lie in folders that are called as their classes are.

    Folders may be nested: `bakery/kitchen/x.jpg` may be of class `kitchen` or `bakery_kitchen`.

    Raises:
        DataError: images lie in folders of other classes than their labels say.
    """
    known = set(classes)
    wrong = [
        row
        for row, (name, label) in enumerate(zip(names, classes, strict=True))
        if not known.isdisjoint(called := set(_called(name))) and label not in called
    ]
    if wrong:
        first = f"image {wrong[0] + 1}, {names[wrong[0]]}, is labelled {classes[wrong[0]]!r}"
        raise DataError(
            f"{where}: image_files and labels disagree: {len(wrong)} of {len(names)} images lie in the folder of "
            f"another class, {first}; take both from the same release"
        )


def read_boxes(names: Sequence[str], classes: Sequence[str], where: Path, folders: Sequence[Path]) -> NDArray[np.int64]:
    """Reads the box of each row of aPY's list from annotation files, at most two folders below one of `folders`.

    Returns:
        First and last column and row, counted from 1, `(N, 4)` in the order xmin, ymin, xmax, ymax.

    Raises:
        DataError: the files are missing or damaged, or have other rows than the list.
    """
    boxes: list[list[int]] = []
    for path in _annotations(where, folders):
        for number, line in enumerate(read_lines(path, "take it as released"), start=1):
            if not line:
                continue
            row, parts = len(boxes), line.split()
            try:
                image, label, box = parts[0], parts[1], [int(float(part)) for part in parts[2:6]]
                if len(box) < 4:
                    raise ValueError
            except (IndexError, ValueError, OverflowError):
                raise DataError(
                    f"{path}: line {number} does not begin with an image, a class and the four numbers of a box"
                ) from None
            listed = (PurePosixPath(names[row]).name, classes[row]) if row < len(names) else None
            if listed is not None and listed != (image, label):
                raise DataError(
                    f"{path}: line {number} is {image}, {label!r}, but image {row + 1} of {where} is {listed[0]}, "
                    f"{listed[1]!r}; both must be as released"
                )
            boxes.append(box)
    if len(boxes) != len(names):
        raise DataError(f"{where}: it lists {len(names)} images, but the annotation has {len(boxes)} boxes")
    return np.array(boxes, dtype=np.int64)


def _called(name: str) -> list[str]:
    """Returns what an image's class would be called by its last folder, its last two, and so on."""
    folders = PurePosixPath(name).parts[-2::-1]
    return list(accumulate(folders, lambda inner, outer: f"{outer}_{inner}"))


def _annotations(where: Path, folders: Sequence[Path]) -> list[Path]:
    for folder in folders:
        for pattern in ("", f"{FOLDER}/", f"*/{FOLDER}/", "*/"):
            for first in sorted(folder.glob(f"{pattern}{ANNOTATIONS[0]}")):
                return [first.with_name(name) for name in ANNOTATIONS]
    raise DataError(
        f"{where}: its list names images more than once, because each row is an object in one; which one is said in "
        f"{', '.join(ANNOTATIONS)}: put the folder {FOLDER} of the attributes' authors into {folders[0]}"
    )
