"""Layouts of features that people share: plain arrays, feature maps, a list for each part of the split."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench import ArrayFile, Choices, DataError, Found, Layout

Array = NDArray[Any]

PLACES = ("trainval_loc", "test_seen_loc", "test_unseen_loc", "train_loc", "val_loc")
NAMES = {
    "features": ("features", "feature", "feats", "x"),
    "labels": ("labels", "label", "targets", "target", "y", "gnd"),
    "semantics": ("att", "w2v", "semantics", "class_embeddings"),
    "original_semantics": ("original_att",),
    "class_names": ("allclasses_names", "class_names", "classes"),
    "image_files": ("image_files",),
}
"""What arrays are called that play a role."""
LISTS = {"labels": ("cls", "class", "txt", "json"), "image_files": ("image_file", "file_name", "filename", "path")}
"""What else a list is called, if it is as long as there are images."""
PART = "split"
"""What texts are called that name the part of each image, `trainval` for instance."""
MATRICES = ("features", "semantics", "original_semantics")


class Arrays(Layout):
    """One array for each role, by its name, in one file or several; one without a name is told by its shape."""

    def recognises(self, files: Sequence[ArrayFile], choices: Choices) -> bool:
        """Whether some array can be the features: it is called so, has no name and two dimensions, or was chosen."""
        return bool(_candidates("features", files, choices))

    def read(self, files: Sequence[ArrayFile], choices: Choices) -> Found:
        """Reads what plays each role, features in the end; an array that may be for a role in two files is an error."""
        found: dict[str, Any] = {}
        origin, columns = {}, set()
        for role in NAMES:
            if (one := _the(role, files, choices)) is not None:
                file, name = one
                found[role] = partial(file.load, name) if role == "features" else file.load(name)
                origin[role] = file.called(name)
                columns |= {role} if file.matlab else set()
        parts = {}
        for file in files:
            for place in (place for place in PLACES if place in file.shapes):
                if origin.setdefault("splits", file.path.name) != file.path.name:
                    raise DataError(f"{file.path}: {place} is in it and in {origin['splits']}; give one split")
                parts[place] = file.load(place)
                columns |= {"splits"} if file.matlab else set()
        if not parts and "labels" in found:
            parts, origin = _named_parts(files, found["labels"].size, origin)
        if "semantics" in found and (att := _attributes(files, origin["semantics"])) is not None:
            found["semantics"], note = _of_attributes(found["semantics"], att, origin["semantics"])
            return Found(**found, parts=parts, origin=origin, columns=frozenset(columns), notes=note)
        return Found(**found, parts=parts, origin=origin, columns=frozenset(columns))


class FeatureMaps(Layout):
    """`feature_map`, `(N, C, H, W)`, with labels, split and class embeddings in one file."""

    def recognises(self, files: Sequence[ArrayFile], choices: Choices) -> bool:
        """Whether the only file has `feature_map`."""
        return len(files) == 1 and "feature_map" in files[0].shapes

    def read(self, files: Sequence[ArrayFile], choices: Choices) -> Found:
        """Pools the maps over their places, by the mean if nobody chose, and takes the rest by its names."""
        [file], pool = files, choices.pool or "mean"
        maps = file.shapes["feature_map"]
        if len(maps) != 4:
            raise DataError(f"{file.path}: feature_map has shape {maps}; (images, channels, height, width) is needed")
        if maps[1] == maps[2] != maps[3]:
            raise DataError(f"{file.path}: feature_map has shape {maps}, as if channels came last; transpose it")
        chosen = {role: _the(role, files, choices) for role in NAMES if role != "features"}
        found: dict[str, Any] = {role: file.load(one[1]) for role, one in chosen.items() if one is not None}
        origin = {role: file.called(one[1]) for role, one in chosen.items() if one is not None}
        origin |= {"features": f"{file.called('feature_map')} {maps}, {_HOW[pool]}"}
        notes: tuple[str, ...] = ()
        if "semantics" in found and (att := _attributes(files, origin["semantics"])) is not None:
            found["semantics"], notes = _of_attributes(found["semantics"], att, origin["semantics"])
        parts = {place: file.load(place) for place in PLACES if place in file.shapes}
        origin |= {"splits": file.path.name} if parts else {}
        features = partial(file.pool, "feature_map", pool)
        return Found(features, parts=parts, origin=origin, notes=notes, **found)


_HOW = {"mean": "mean over places", "max": "maximum over places", "keep": "all places kept"}


OF_PARTS = {"trainval_loc": "train", "test_seen_loc": "testSeen", "test_unseen_loc": "testUnseen"}
SIDES = ("seen_embeddings", "unseen_embeddings")


class Parts(Layout):
    """Features and labels for each part of the split, `train_f` and `train_l`, and class embeddings by side."""

    def recognises(self, files: Sequence[ArrayFile], choices: Choices) -> bool:
        """Whether the only file has features and labels of training images by these names."""
        return len(files) == 1 and {"train_f", "train_l"} <= files[0].shapes.keys()

    def read(self, files: Sequence[ArrayFile], choices: Choices) -> Found:
        """Puts the parts one after another; class embeddings by side stand in the order of their labels."""
        [file] = files
        needed = [f"{part}_{what}" for part in OF_PARTS.values() for what in "fl"]
        if lacking := [name for name in needed if name not in file.shapes]:
            raise DataError(f"{file.path}: {', '.join(lacking)} is missing; it has {', '.join(file.shapes)}")
        x = {part: file.load(f"{part}_f") for part in OF_PARTS.values()}
        y = {part: file.load(f"{part}_l").ravel() for part in OF_PARTS.values()}
        for part in OF_PARTS.values():
            _check_rows(file, f"{part}_f", x[part], y[part])
        ends = np.cumsum([len(y[part]) for part in OF_PARTS.values()])
        places = {
            name: np.arange(end - len(y[part]), end)
            for (name, part), end in zip(OF_PARTS.items(), ends.tolist(), strict=True)
        }
        origin = dict.fromkeys(("features", "labels", "splits"), f"{file.path.name}: train, testSeen, testUnseen")
        semantics = None
        if set(SIDES) <= file.shapes.keys():
            semantics = self._semantics(file, y)
            origin["semantics"] = f"{file.path.name}: {' and '.join(SIDES)}, in the order of the labels"
        return Found(
            _stacked(file, list(x.values())),
            np.concatenate(list(y.values())),
            places,
            semantics,
            origin=origin,
            notes=("images are numbered in the order train, testSeen, testUnseen",),
        )

    def _semantics(self, file: ArrayFile, y: dict[str, Array]) -> Array:
        rows = [file.load(name) for name in SIDES]
        classes = [np.unique(y["train"]), np.unique(y["testUnseen"])]
        if (both := np.intersect1d(classes[0], classes[1])).size:
            raise DataError(
                f"{file.path}: class {both[0]} is in train_l and in testUnseen_l; unseen classes are others"
            )
        for name, own, labels in zip(SIDES, rows, classes, strict=True):
            if own.ndim != 2 or len(own) != len(labels):
                raise DataError(f"{file.path}: {name} has shape {own.shape}; its side has {len(labels)} classes")
        if rows[0].shape[1] != rows[1].shape[1]:
            raise DataError(
                f"{file.path}: {' and '.join(SIDES)} have {rows[0].shape[1]} and {rows[1].shape[1]} columns"
            )
        ordered: Array = np.concatenate(rows)[np.argsort(np.concatenate(classes))]
        return ordered


class Lists(Layout):
    """`feature_list` and `label_list` of training images in one file, and of test images in another."""

    def recognises(self, files: Sequence[ArrayFile], choices: Choices) -> bool:
        """Whether every file has both lists."""
        return bool(files) and all({"feature_list", "label_list"} <= file.shapes.keys() for file in files)

    def read(self, files: Sequence[ArrayFile], choices: Choices) -> Found:
        """Makes a split: test images of classes that occur in training are test_seen, the others test_unseen."""
        if len(files) != 2:
            names = ", ".join(str(file.path) for file in files)
            raise DataError(
                f"{names}: feature_list and label_list of training and of test images are needed, a file each"
            )
        x, y = [file.load("feature_list") for file in files], [file.load("label_list").ravel() for file in files]
        for file, own, labels in zip(files, x, y, strict=True):
            _check_rows(file, "feature_list", own, labels)
        train = self._training(files, y)
        test = 1 - train
        known = np.isin(y[test], y[train])
        name, other = files[train].path.name, files[test].path.name
        if known.all() or not known.any():
            lack = "a class that it lacks" if known.all() else "one of its classes"
            raise DataError(f"{files[test].path}: no image is of {lack}, so {name} is no training part of it")
        after = len(y[train]) + np.arange(len(y[test]))
        parts = dict(zip(PLACES, (np.arange(len(y[train])), after[known], after[~known]), strict=False))
        both = f"{name}, then {other}"
        return Found(
            _stacked(files[train], [x[train], x[test]]),
            np.concatenate([y[train], y[test]]),
            parts,
            origin={"features": f"{both}: feature_list", "labels": f"{both}: label_list", "splits": both},
            notes=(
                f"{name} is the training part; images of {other} are test_seen where their class is in {name}, "
                f"else test_unseen ({int(known.sum())} and {int((~known).sum())})",
            ),
        )

    def _training(self, files: Sequence[ArrayFile], y: list[Array]) -> int:
        """Returns which file has the training images: its classes are some of the other's, or it is called so."""
        some = [set(np.unique(labels).tolist()) for labels in y]
        inside = [i for i in (0, 1) if some[i] < some[1 - i]]
        called = [i for i in (0, 1) if "train" in files[i].path.stem.lower()]
        for found in (inside, called):
            if len(found) == 1:
                return found[0]
        names = " and ".join(str(file.path) for file in files)
        raise DataError(f"{names}: neither is the training part by its classes or its name; call one of them train")


def _named_parts(
    files: Sequence[ArrayFile], images: int, origin: dict[str, str]
) -> tuple[dict[str, Array], dict[str, str]]:
    """Returns a mask for each part that an array of texts names; images of an empty text are in none."""
    for file in files:
        if PART in file.shapes and file.shapes[PART] == (images,) and (of := file.load(PART)).dtype.kind in "US":
            named = [str(part.decode(errors="replace") if isinstance(part, bytes) else part) for part in np.unique(of)]
            masks = {name: of == own for name, own in zip(named, np.unique(of), strict=True)}
            parts = {f"{name.strip()}_loc": mask for name, mask in masks.items() if name.strip()}
            return parts, origin | {"splits": file.called(PART)}
    return {}, origin


def _candidates(role: str, files: Sequence[ArrayFile], choices: Choices) -> list[tuple[ArrayFile, str]]:
    """Returns the arrays that may play a role: the one chosen, else those called so, else those without a name."""
    every = [(file, name) for file in files for name in file.shapes]
    if wanted := choices.take.get(role, ""):
        by_name = [one for one in every if one[1] == wanted]
        return by_name or [
            (file, name)
            for file, name in every
            if wanted in (file.path.name, str(file.path), f"{file.path.name}:{name}", f"{file.path}:{name}")
        ]
    taken = set(choices.take.values())
    for known in NAMES[role]:
        if found := [one for one in every if one[1].lower() == known]:
            return found
    for known in LISTS.get(role, ()):
        if found := [one for one in every if one[1].lower() == known and _is_of_images(one, files, choices)]:
            return found
    sizes = {"features": 2, "labels": 1}.get(role, 0)
    return [one for one in every if not one[1] and len(_flat(one)) == sizes and one[0].path.name not in taken]


def _is_of_images(one: tuple[ArrayFile, str], files: Sequence[ArrayFile], choices: Choices) -> bool:
    """Returns whether a list is as long as the features have rows."""
    shape = one[0].shapes[one[1]]
    return any(shape == file.shapes[name][:1] for file, name in _candidates("features", files, choices))


def _flat(one: tuple[ArrayFile, str]) -> list[int]:
    """Returns the sizes of an array but for those of 1."""
    return [size for size in one[0].shapes[one[1]] if size != 1]


def _the(role: str, files: Sequence[ArrayFile], choices: Choices) -> tuple[ArrayFile, str] | None:
    found, wanted = _candidates(role, files, choices), choices.take.get(role, "")
    if len(found) > 1:
        names = " and ".join(file.called(name) for file, name in found)
        raise DataError(f"{names} may all be the {role}; choose by --take {role}=FILE or FILE:NAME")
    if not found and wanted:
        there = ", ".join(file.called(name) for file in files for name in file.shapes)
        raise DataError(f"{files[0].path}: there is no array {wanted!r} for {role}; there are {there}")
    return found[0] if found else None


def _attributes(files: Sequence[ArrayFile], taken: str) -> Array | None:
    """Returns `att` where something else was taken for class embeddings."""
    found = [file for file in files if "att" in file.shapes and file.called("att") != taken]
    return found[0].load("att") if found else None


def _of_attributes(vectors: Array, att: Array, taken: str) -> tuple[Array, tuple[str, ...]]:
    """Returns class embeddings: `att @ vectors`, if there is a vector for each attribute instead of each class."""
    if vectors.ndim != 2 or att.ndim != 2 or len(vectors) != att.shape[1] or len(vectors) == len(att):
        return vectors, ()
    note = f"{taken} has a vector for each of {len(vectors)} attributes; a class is their sum, weighted by its att"
    return np.asarray(att, np.float64) @ np.asarray(vectors, np.float64), (note,)


def _check_rows(file: ArrayFile, name: str, x: Array, y: Array) -> None:
    if x.ndim != 2 or len(x) != len(y):
        raise DataError(f"{file.path}: {name} has shape {x.shape} for {len(y)} labels; a row for each is needed")


def _stacked(file: ArrayFile, parts: list[Array]) -> Array:
    if len({part.shape[1] for part in parts}) > 1:
        sizes = ", ".join(str(part.shape[1]) for part in parts)
        raise DataError(f"{file.path}: its parts have features of different size: {sizes}")
    return np.concatenate(parts)
