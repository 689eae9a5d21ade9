"""Splits made by the rules of the GBU release (Xian et al., TPAMI 2018): unseen classes whole, a fifth of seen ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import HELD_OUT, IntArray, Split
from zslbench.data.imagefiles import IMAGE_PARTS
from zslbench.data.names import PATH_WAYS, hint, listed, match, match_all, meant
from zslbench.data.tables import first_twice, read_table
from zslbench.errors import DataError, UsageError, near_misses
from zslbench.files import existing

CLASS_ROLES = ("seen", "validation", "unseen")
MIN_SEEN, MIN_UNSEEN = 4, 2
"""Validation classes are cut from the seen ones, and on either side there must be two classes to choose from."""


@dataclass(frozen=True)
class Roles:
    """What a user says of classes or images; the rest is drawn.

    Attributes:
        unseen: names of unseen classes, empty where `parts` says it.
        validation: names of seen classes to validate on; drawn if empty.
        parts: image name -> part, where a file divides the images themselves.
    """

    unseen: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    parts: dict[str, str] | None = None


def draw_unseen(class_names: Sequence[str], share: float, seed: int) -> Roles:
    """Draws a share of the classes, at least two, to be unseen.

    Raises:
        UsageError: the share is not between 0 and 1, or leaves too few seen classes.
    """
    if not 0 < share < 1:
        raise UsageError(f"--random-unseen {share:g}: a share of the classes between 0 and 1 is needed")
    count = max(MIN_UNSEEN, round(share * len(class_names)))
    if len(class_names) - count < MIN_SEEN:
        raise UsageError(
            f"--random-unseen {share:g}: of {len(class_names)} classes {max(0, len(class_names) - count)} would be "
            f"seen; at least {MIN_SEEN} seen classes are needed, and {MIN_UNSEEN} unseen ones"
        )
    chosen = np.random.default_rng(seed).choice(len(class_names), count, replace=False)
    return Roles(tuple(class_names[c] for c in sorted(chosen)))


def named_unseen(class_names: Sequence[str], names: str) -> Roles:
    """Takes class names divided by commas to be unseen.

    Raises:
        UsageError: one is no class, near misses are suggested; or too few classes would be seen or unseen.
    """
    given = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    matching = match(class_names, given)
    if strange := matching.others:
        near = {name: near_misses(name, class_names, listed=len(strange) == 1) for name in strange}
        raise UsageError(f"--unseen-classes: no images of {'; nor of '.join(f'{n!r}{near[n]}' for n in near)}")
    hint("--unseen-classes", matching)
    _check_counts(len(class_names) - len(given), len(given), "--unseen-classes")
    meant = {own: name for name, own in matching.found.items()}
    return Roles(tuple(meant[name] for name in given))


def read_roles(path: Path, class_names: Sequence[str], image_names: Sequence[str]) -> Roles:
    """Reads a CSV file with the columns `class,role` or `image,part`.

    Roles are seen, validation (seen, and to validate on) and unseen; parts are trainval, test_seen and test_unseen.
    Images that are in no line are in no part.

    Raises:
        UsageError: there is no such file.
        DataError: a name is unknown, missing or there twice, a role or part is none of these, or they do not fit.
    """
    table = read_table(existing("--splits", path))
    head = [cell.lower() for cell in table.head]
    if head not in (["class", "role"], ["image", "part"]):
        raise DataError(f"{path}: its columns are {','.join(head)}; class,role or image,part is needed{table.how}")
    known = CLASS_ROLES if head[0] == "class" else IMAGE_PARTS
    rows = [(name, role.lower()) for name, role in table.body.values()]
    if strange := [row for row in rows if row[1] not in known]:
        (name, role), more = strange[0], f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
        raise DataError(f"{path}: {head[0]} {name!r} has the {head[1]} {role!r}{more}; {', '.join(known)} are known")
    names, of = [row[0] for row in rows], dict(rows)
    if head[0] == "class":
        found = match_all(class_names, names, path, only=False, how=table.how)
        unseen, validation = (
            tuple(c for c in class_names if of[found[c]] == role) for role in ("unseen", "validation")
        )
        _check_counts(len(class_names) - len(unseen), len(unseen), str(path))
        if len(class_names) - len(unseen) - len(validation) < MIN_UNSEEN:
            raise DataError(f"{path}: at least {MIN_UNSEEN} seen classes that are not for validation are needed")
        table.say()
        return Roles(unseen, validation)
    if len(of) < len(names):
        raise DataError(f"{path}: the image {first_twice(names)!r} is there twice")
    matching = match(names, image_names, PATH_WAYS)
    if lost := matching.missing:
        raise DataError(f"{path}: not among the images: {listed(lost, 'image')}{meant(matching)}")
    hint(path, matching)
    table.say()
    return Roles(parts={matching.found[name]: part for name, part in rows})


def make_split(
    labels: IntArray, class_names: Sequence[str], image_names: Sequence[str], roles: Roles, seed: int, where: str
) -> dict[str, IntArray]:
    """Divides images by the variables of `att_splits.mat`, all indices from 0 and ascending.

    Of each seen class about a fifth of the images is drawn for `test_seen_loc`, at least one and never all; images of
    unseen classes are `test_unseen_loc`. `train_loc` and `val_loc` divide `trainval_loc` by class: by the validation
    classes given, else by those that the harness draws for its first fold.

    Raises:
        DataError: the parts given for single images are no zero-shot split; `where` names them.
    """
    if roles.parts is None:
        parts = _by_class(labels, np.isin(np.array(class_names)[labels], roles.unseen), seed)
    else:
        of = np.array([roles.parts.get(name, "") for name in image_names])
        parts = {part: np.flatnonzero(of == part) for part in IMAGE_PARTS}
        _check_parts(parts, labels, class_names, where)
    seen, unseen = np.unique(labels[parts["trainval"]]), np.unique(labels[parts["test_unseen"]])
    _check_counts(len(seen), len(unseen), where)
    split = Split(parts["trainval"], parts["test_seen"], parts["test_unseen"], seen, unseen)
    validation = np.array([class_names.index(name) for name in roles.validation], dtype=np.int64)
    if not len(validation):
        validation = split.validation(labels, fold=0).unseen
    is_validation = np.isin(labels[split.train], validation)
    parts |= {"train": split.train[~is_validation], "val": split.train[is_validation]}
    return {f"{part}_loc": rows for part, rows in parts.items()}


def _by_class(labels: IntArray, is_unseen: NDArray[np.bool_], seed: int) -> dict[str, IntArray]:
    random = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for c in np.unique(labels[~is_unseen]):
        rows = np.flatnonzero(labels == c)
        count = min(max(1, round(HELD_OUT * len(rows))), len(rows) - 1)
        held_out[random.choice(rows, count, replace=False)] = True
    masks = (~is_unseen & ~held_out, held_out, is_unseen)
    return {part: np.flatnonzero(mask) for part, mask in zip(IMAGE_PARTS, masks, strict=True)}


def _check_parts(parts: dict[str, IntArray], labels: IntArray, class_names: Sequence[str], where: str) -> None:
    trainval, test_seen, test_unseen = (np.unique(labels[parts[part]]) for part in IMAGE_PARTS)
    for part, rows in parts.items():
        if not len(rows):
            raise DataError(f"{where}: no readable image has the part {part}")
    for part, classes in (("trainval", trainval), ("test_seen", test_seen)):
        if both := [class_names[c] for c in np.intersect1d(classes, test_unseen)]:
            raise DataError(f"{where}: in test_unseen and in {part}: {listed(both, 'class')}")
    if strange := [class_names[c] for c in np.setdiff1d(test_seen, trainval)]:
        raise DataError(f"{where}: in test_seen, and without a trainval image: {listed(strange, 'class')}")


def _check_counts(seen: int, unseen: int, where: str) -> None:
    if seen < MIN_SEEN or unseen < MIN_UNSEEN:
        raise DataError(
            f"{where}: {seen} seen and {unseen} unseen classes; at least {MIN_SEEN} and {MIN_UNSEEN} are needed"
        )
