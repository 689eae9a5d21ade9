"""A folder of images and a table of attributes become a data set in the xlsa17 layout, killed and resumed or not.

The split file is written last: before it is there, a folder is no data set.
"""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import array_fingerprint
from zslbench.data.foldercard import read_card, write_card
from zslbench.data.matfile import Variables, made_from, write_mat
from zslbench.data.tables import read_table
from zslbench.data.xlsa17 import SPLITS, XLSA17Dataset
from zslbench.errors import UsageError
from zslbench.files import write_whole
from zslbench.preparation.attributes import read_attributes
from zslbench.preparation.features import Extractor, add_features, labels_and_names
from zslbench.preparation.imagefolder import ImageFolder, check_two_each
from zslbench.preparation.splits import Roles, draw_unseen, make_split, named_unseen, read_roles

SKIPPED = "skipped.csv"


@dataclass(frozen=True)
class Plan:
    """What a data set is to be made from, checked before anything is computed.

    Attributes:
        folder: where to.
        images: the images by class.
        attributes: `(C, A)` in the order of the classes.
        attribute_names: what they are called.
        table: where the attributes were read from.
        roles: which classes or images play which part.
        roles_from: where the roles come from, for messages and the card.
        unseen: names of the unseen classes.
        seed: what unseen classes and test_seen images are drawn by.
        source: what identifies the data set, features aside.
        made: whether it is there already.
    """

    folder: Path
    images: ImageFolder
    attributes: NDArray[np.float64]
    attribute_names: tuple[str, ...]
    table: Path
    roles: Roles
    roles_from: str
    unseen: tuple[str, ...]
    seed: int
    source: dict[str, str]
    made: bool

    @property
    def drawn(self) -> bool:
        """Whether the unseen classes were drawn."""
        return self.roles_from.startswith("--random-unseen")


def plan(
    folder: Path,
    images: Path,
    attributes: Path,
    splits: Path | None = None,
    unseen_classes: str | None = None,
    random_unseen: float | None = None,
    seed: int = 0,
) -> Plan:
    """Reads and checks what a data set is to be made from; at most one of the three says which classes are unseen.

    Raises:
        UsageError: an option names nothing that is there, or the folder holds another data set.
        DataError: images, table or split do not fit together.
    """
    folder, images = folder.expanduser().absolute(), images.expanduser().absolute()
    if folder.resolve().is_relative_to(images.resolve()):
        raise UsageError(f"{folder}: it lies in the folder of images; name one beside it")
    found = ImageFolder.read(images)
    values, attribute_names = read_attributes(attributes, found.class_names)
    if splits is not None:
        roles, roles_from = read_roles(splits, found.class_names, found.names), str(splits)
    elif unseen_classes is not None:
        roles, roles_from = named_unseen(found.class_names, unseen_classes), "--unseen-classes"
    else:
        share = 0.2 if random_unseen is None else random_unseen
        roles, roles_from = draw_unseen(found.class_names, share, seed), f"--random-unseen {share:g}"
    split = make_split(found.labels, found.class_names, found.names, roles, seed, roles_from)
    unseen = tuple(found.class_names[c] for c in np.unique(found.labels[split["test_unseen_loc"]]))
    source = {
        "images": found.images.fingerprint,
        "attributes": array_fingerprint(values),
        "roles": hashlib.sha256(repr(roles).encode()).hexdigest(),
        "seed": str(seed),
    }
    made = _is_made(folder, source)
    table = attributes.absolute()
    return Plan(folder, found, values, attribute_names, table, roles, roles_from, unseen, seed, source, made)


def build(planned: Plan, extractor: Extractor) -> tuple[bool, dict[str, str]]:
    """Makes the data set, or what is missing of it; images that cannot be read are left out.

    Returns:
        Whether there was anything to do, and the images that were left out -> why they cannot be read.

    Raises:
        UsageError: the folder holds another data set, or other features of this name.
        DataError: a class has fewer than two readable images, or files cannot be written.
        RunError: the backbone fails.
    """
    folder, images, skipped = planned.folder, planned.images, planned.folder / SKIPPED
    if planned.made:
        new = add_features(XLSA17Dataset.at(folder), Path(), extractor, images.folder)
        return new, {row[0]: row[1] for row in read_table(skipped).body.values()} if skipped.exists() else {}
    if not extractor.unfinished(folder).exists() and (other := sorted(folder.glob("*.mat"))):
        raise UsageError(f"{other[0]}: it is there already, and `data build` did not finish it; name another folder")
    files = images.images
    with extractor.features_of(files, folder) as (features, unreadable):
        good = np.setdiff1d(np.arange(len(images.names)), list(unreadable))
        names, labels = [images.names[i] for i in good], images.labels[good]
        counts = np.bincount(labels, minlength=len(images.class_names)).tolist()
        check_two_each(dict(zip(images.class_names, counts, strict=True)), images.folder, "readable images")
        split = make_split(labels, images.class_names, names, planned.roles, planned.seed, planned.roles_from)
        extractor.write(folder, features, labels, names, files.select(good))
        write_mat(folder / "labels.mat", labels_and_names(labels, names))  # so that a file of features may be removed
        reasons = {images.names[i]: reason for i, reason in unreadable.items()}
        _write_skipped(skipped, reasons)
        _write_card(planned, extractor.loaded.features, len(names))
        _write_split(planned, split)
    return True, reasons


def _is_made(folder: Path, source: dict[str, str]) -> bool:
    path = folder / f"{SPLITS}.mat"
    if not path.exists():
        return False
    there = made_from(path)
    if there != source:
        changed = [name for name in source if there.get(name) != source[name]] if there else []
        reason = f"made from other {', '.join(changed)}" if changed else "which `data build` did not make"
        raise UsageError(f"{folder}: it holds a data set {reason}; name another folder, or remove it")
    return True


def _write_skipped(path: Path, skipped: dict[str, str]) -> None:
    if not skipped:
        path.unlink(missing_ok=True)
        return
    table = io.StringIO()
    csv.writer(table).writerows([("image", "reason"), *skipped.items()])
    write_whole(path, table.getvalue())


def _write_card(planned: Plan, features: str, images: int) -> None:
    card = replace(
        read_card(planned.folder),
        summary=f"{images} images of {len(planned.attributes)} classes, built from {planned.images.folder.name}",
        default_features=features,
        attributes=bool((planned.attributes >= 0).all()),
    )
    source = {
        "images": str(planned.images.folder),
        "attributes": str(planned.table),
        "splits": planned.roles_from,
        "unseen_classes": planned.unseen,
        "seed": str(planned.seed),
    }
    write_card(planned.folder, card, source)


def _write_split(planned: Plan, split: dict[str, NDArray[np.int64]]) -> None:
    attributes = planned.attributes
    variables: Variables = {
        "allclasses_names": list(planned.images.class_names),
        "att": (attributes / np.linalg.norm(attributes, axis=1, keepdims=True)).T,
        "original_att": attributes.T,
        "attribute_names": list(planned.attribute_names),
    }
    variables |= {name: (rows + 1.0)[:, None] for name, rows in split.items()}
    write_mat(planned.folder / f"{SPLITS}.mat", variables, source=planned.source)
