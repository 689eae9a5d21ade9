"""Features that others made, in files of any registered layout, become a data set in the layout of the GBU release."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import IntArray, ZSLData
from zslbench.api.layout import ROLES, ArrayFile, Choices, Found, Layout
from zslbench.data.arrayfile import open_files, opened, split_name
from zslbench.data.arrays import is_arrays, names_in, read_arrays, take_classes, whole_numbers
from zslbench.data.made import Progress
from zslbench.data.names import hint, listed, match, meant
from zslbench.data.numbering import count_from, settle_rows
from zslbench.data.semantics import Embeddings, read_embeddings
from zslbench.data.xlsa17 import PARTS, SplitFile, XLSA17Dataset, read_split
from zslbench.discovery.plugins import registry
from zslbench.errors import DataError, UsageError
from zslbench.files import existing
from zslbench.preparation.splits import make_split, read_roles

Array = NDArray[Any]
MOST_CLASSES = 2**20
"""A class number beyond is damage, and would ask for as many names."""
UNIT = 1e-3
"""How far norms may be from 1 for class embeddings to count as normalised, as those of the release are."""


@dataclass(frozen=True)
class Sources:
    """What a user names.

    Attributes:
        files: those that hold features, and maybe more.
        splits: a file with `trainval_loc` and so on, or a table `class,role` or `image,part`; None for that in `files`.
        labels: `FILE` or `FILE:ARRAY`; empty for those in `files`, or beside the split.
        semantics: class embeddings, a file as `--semantics` of a run takes it; empty for those in the other files.
        take: role -> array, where its name does not tell.
        pool: how feature maps become rows; empty for the mean.
        count: from where numbers count, where they do not tell.
        layout: the name of a layout, where several recognise the files.
        seed: what test_seen images are drawn by, where a table says only which classes are unseen.
    """

    files: tuple[Path, ...]
    splits: Path | None = None
    labels: str = ""
    semantics: str = ""
    take: Mapping[str, str] = field(default_factory=dict)
    pool: str = ""
    count: int | None = None
    layout: str = ""
    seed: int = 0


@dataclass(frozen=True)
class Imported:
    """A data set in memory, checked, and what was taken for what.

    Attributes:
        data: features, labels, split and normalised class embeddings.
        original: class embeddings as they were found, where they were not normalised.
        parts: the split by its names in a split file, with `train_loc` and `val_loc` if there are any; from 0.
        image_files: names of images, or none.
        layout: its registered name.
        origin: what was taken for each role: file, array, orientation, from where numbers count.
        notes: what else was understood.
    """

    data: ZSLData
    original: NDArray[np.float32] | None
    parts: Mapping[str, IntArray]
    image_files: tuple[str, ...]
    layout: str
    origin: Mapping[str, str]
    notes: tuple[str, ...]


def gather(sources: Sources, name: str, progress: Progress | None = None) -> Imported:
    """Reads files, tells what is what, and checks that it is a zero-shot data set.

    Args:
        sources: the files.
        name: what the data set is called.
        progress: is told how many images are read of features in shards.

    Raises:
        UsageError: a file is missing or of no known layout, or an option does not apply.
        DataError: a file is damaged, or its arrays do not fit each other; the file is named.
    """
    if strange := [role for role in sources.take if role not in ROLES]:
        raise UsageError(f"--take {strange[0]}: there is no such role; {', '.join(ROLES)} are known")
    files = open_files([existing("FILE", path) for path in dict.fromkeys(sources.files)], progress)
    layout = _layout_of(files, sources)
    found = _as_found(layout, files, Choices(sources.take, sources.pool))
    if sources.pool and not any(len(shape) > 2 for file in files for shape in file.shapes.values()):
        raise UsageError(f"--pool {sources.pool}: {files[0].path} has no feature maps")
    return _Settling(sources, name, layout, found, files).imported()


def _layout_of(files: Sequence[ArrayFile], sources: Sources) -> str:
    if sources.layout:
        return registry().name("layout", sources.layout)
    choices = Choices(sources.take, sources.pool)
    fitting = [name for name in registry().names("layout") if _layout(name).recognises(files, choices)]
    if len(fitting) > 1:
        raise UsageError(f"{files[0].path}: it fits the layouts {' and '.join(fitting)}; choose one by --layout")
    if fitting:
        return fitting[0]
    there = "; ".join(f"{file.path} has {_listed(file)}" for file in files)
    known = ", ".join(registry().names("layout"))
    raise UsageError(f"{there}: no layout fits ({known}); say which array is which by --take features=NAME")


def _listed(file: ArrayFile) -> str:
    return ", ".join(f"{name or 'an array'} {shape}" for name, shape in file.shapes.items()) or "nothing"


def _layout(name: str) -> Layout:
    layout: Layout = registry().resolve("layout", name, Layout)()
    return layout


def _as_found(layout: str, files: Sequence[ArrayFile], choices: Choices) -> Found:
    found: object = _layout(layout).read(files, choices)
    if not isinstance(found, Found):
        entry = registry().entry("layout", layout)
        raise DataError(f"{entry}: read() returned {type(found).__name__}, not Found; update or uninstall that plugin")
    return found


class _Settling:
    """Settles one role after another; each is said in `origin`."""

    def __init__(self, sources: Sources, name: str, layout: str, found: Found, files: Sequence[ArrayFile]) -> None:
        self.sources, self.name, self.layout, self.found, self.files = sources, name, layout, found, files
        self.path = files[0].path
        self.origin, self.notes = dict(found.origin), list(found.notes)
        self.split: SplitFile | None = None
        if sources.splits is not None and is_arrays(existing("--splits", sources.splits)):
            self.split = read_split(existing("--splits", sources.splits))

    def imported(self) -> Imported:
        """Returns the data set."""
        names = self._class_names()
        labels, names = self._labels(names)
        embeddings = self._embeddings(names, labels)
        names = names or tuple(f"class {c + 1}" for c in range(len(embeddings.rows)))
        parts = self._parts(labels, names)
        norms = np.linalg.norm(embeddings.rows, axis=1, keepdims=True)
        if empty := [names[c] for c in np.flatnonzero(norms[:, 0] == 0).tolist()]:
            raise DataError(
                f"{self._where(self.origin['semantics'])[0]}: the embedding of {listed(empty, 'class')} is zero"
            )
        unit = bool((np.abs(norms - 1) < UNIT).all())
        with np.errstate(all="ignore"):
            semantics = embeddings.rows if unit else embeddings.rows / norms
        files = self.found.image_files
        image_files = () if files is None else names_in(self.path, "image_files", files)
        if len(image_files) not in (0, len(labels)):
            raise DataError(f"{self.path}: it names {len(image_files)} images; there are {len(labels)} labels")
        features = self.found.features() if callable(self.found.features) else self.found.features
        features = self._rows("features", features, len(labels), "images")
        try:
            data = ZSLData(
                self.name,
                features_name(self.sources.files),
                np.ascontiguousarray(features, dtype=np.float32),
                labels,
                np.asarray(semantics, dtype=np.float32),
                names,
                parts["trainval_loc"],
                parts["test_seen_loc"],
                parts["test_unseen_loc"],
                attributes=embeddings.attributes,
                attribute_names=embeddings.names,
            )
        except DataError as error:
            reason = str(error).removesuffix("; see `data audit`")
            raise DataError(f"{reason} (read from {', '.join(map(str, self.sources.files))})") from error
        original = self._original(embeddings.rows, unit)
        if not unit or original is None:
            self.origin.pop("original_semantics", None)
        if not unit:
            self.notes.append("class embeddings were not normalised; att is, and original_att has them as they were")
        origin = {role: self.origin[role] for role in (*ROLES, "splits") if role in self.origin}
        return Imported(data, original, parts, image_files, self.layout, origin, tuple(self.notes))

    def _class_names(self) -> tuple[str, ...]:
        """Returns what classes are called, by the split or else the files; empty if nobody says."""
        own = self.found.class_names
        if own is not None and own.size:
            return names_in(self.path, "class_names", own)
        if self.split is not None:
            self.origin["class_names"] = str(self.sources.splits)
            return self.split.class_names
        path, _ = split_name(self.sources.semantics)
        if self.sources.semantics and is_arrays(path):
            named = take_classes(path, read_arrays(path))
            if named is not None and not all(name.isdecimal() for name in named):
                self.origin["class_names"] = f"{path}, in this order"
                return named
        return ()

    def _labels(self, names: tuple[str, ...]) -> tuple[IntArray, tuple[str, ...]]:
        """Returns labels from 0, and names of classes, which labels that are texts may give."""
        array, what, matlab = self.found.labels, self.origin.get("labels", ""), "labels" in self.found.columns
        if self.sources.labels:
            file, name = opened("--labels", self.sources.labels)
            name = name or next((name for name in ("labels", "") if name in file.shapes), "labels")
            if name not in file.shapes:
                raise UsageError(f"--labels {self.sources.labels}: it has {', '.join(file.shapes)}; give FILE:ARRAY")
            array, what, matlab = file.load(name), f"{file.path}: {name or 'the array'}", file.matlab
        elif array is None and self.split is not None and self.sources.splits is not None:
            labels, path = XLSA17Dataset.at(self.sources.splits.parent).read_labels(Path())
            self.origin["labels"] = f"{path}: labels, beside the split, counted from 1"
            return labels, names
        if array is None:
            there = "; ".join(_listed(file) for file in self.files)
            raise UsageError(
                f"{self.path}: it has no labels, the class of each image; give them by --labels FILE, or by --take "
                f"labels=NAME if they are among {there}"
            )
        if array.dtype.kind in "US":
            return self._named_labels(what, names_in(*self._where(what), array), names)
        path, own = self._where(what)
        numbers = whole_numbers(path, own, array)
        most = len(names) or None
        base = count_from(f"{path}: {own}", numbers, most, self.sources.count, 1 if matlab else None)
        if (largest := int(numbers.max())) >= MOST_CLASSES:
            raise DataError(
                f"{path}: {own} has a class number {largest}; more than {MOST_CLASSES} classes are not read"
            )
        self.origin["labels"] = f"{what}, counted from {base}"
        return numbers - base, names

    def _named_labels(
        self, what: str, labels: tuple[str, ...], names: tuple[str, ...]
    ) -> tuple[IntArray, tuple[str, ...]]:
        there = sorted(set(labels))
        if not names:
            names = tuple(there)
        matching = match(names, there)
        if matching.others:
            strange = listed(matching.others, "class")
            raise DataError(
                f"{self._where(what)[0]}: its labels are names that no class has: {strange}{meant(matching)}"
            )
        hint(self._where(what)[0], matching)
        number = {matching.found[name]: c for c, name in enumerate(names) if name in matching.found}
        self.origin["labels"] = f"{what}, names of classes"
        return np.array([number[label] for label in labels], dtype=np.int64), names

    def _where(self, what: str) -> tuple[Path, str]:
        """Returns the file that an array is from, and the array's name, for messages."""
        given = self.sources.labels.rpartition(":")[0] or self.sources.labels
        for path in (*self.sources.files, *([Path(given)] if given else [])):
            for name in (str(path), path.name):
                if what == name or what.startswith(f"{name}: "):
                    return path, what[len(name) + 2 :] or "the array"
        for file in self.files:
            if file.further and what.startswith(own := file.called("")):
                return file.path, what[len(own) + 2 :] or "the array"
        return self.path, what

    def _rows(self, role: str, array: Array, items: int, noun: str) -> Array:
        what = self.origin.get(role, role)
        path, own = self._where(what)
        rows, how = settle_rows(f"{path}: {own}", array, items, noun, role in self.found.columns)
        self.origin[role] = f"{what} {how}"
        return rows

    def _embeddings(self, names: tuple[str, ...], labels: IntArray) -> Embeddings:
        """Returns class embeddings as they are found: by `--semantics`, else in the files, else in the split."""
        own = self.found.semantics
        classes = len(names) or (int(labels.max()) + 1 if own is None else _classes_of(own, int(labels.max()) + 1))
        known = names or tuple(f"class {c + 1}" for c in range(classes))
        att = self.split.semantics if self.split is not None else None
        if own is not None:
            own = self._rows("semantics", own, classes, "classes")
        if self.sources.semantics:
            self.origin["semantics"] = self.sources.semantics
            return read_embeddings(self.sources.semantics, known, att if own is None else own)
        if own is None and self.split is not None:
            self.origin["semantics"] = f"{self.sources.splits}: att"
            own = self.split.semantics
            return Embeddings(own, bool((own >= 0).all()), self.split.attribute_names)
        if own is None:
            raise UsageError(
                f"{self.path}: it has no class embeddings; give them by --semantics FILE, or --splits FILE"
            )
        return Embeddings(np.asarray(own, dtype=np.float64), bool((own >= 0).all()), ())

    def _original(self, rows: Array, unit: bool) -> NDArray[np.float32] | None:
        """Returns embeddings before their normalisation: those given as such, else what was normalised here."""
        if not unit:
            return np.asarray(rows, dtype=np.float32)
        if self.sources.semantics:
            return None
        if (own := self.found.original_semantics) is not None and rows.shape in (own.shape, own.shape[::-1]):
            return np.asarray(own if own.shape == rows.shape else own.T, dtype=np.float32)
        return self.split.original_semantics if self.found.semantics is None and self.split is not None else None

    def _parts(self, labels: IntArray, names: tuple[str, ...]) -> dict[str, IntArray]:
        given = self.sources.splits
        if self.split is not None:
            self.origin["splits"] = f"{given}, counted from 1"
            return self._within(self.split.parts, len(labels))
        if given is not None:
            files = self.found.image_files
            images = names_in(self.path, "image_files", files) if files is not None else self._numbers(len(labels))
            roles = read_roles(given, names, images)
            self.origin["splits"] = f"{given}; test_seen images drawn by seed {self.sources.seed}"
            return make_split(labels, names, images, roles, self.sources.seed, str(given))
        if not self.found.parts:
            raise UsageError(
                f"{self.path}: nothing says which images are trainval, test_seen and test_unseen; give a split by "
                "--splits att_splits.mat, or a table with class,role (seen, validation, unseen) or image,part"
            )
        what = self.origin.get("splits", "the split")
        if all(rows.dtype == bool for rows in self.found.parts.values()):
            return self._masked(what)
        if lacking := [part for part in PARTS if part not in self.found.parts]:
            raise DataError(f"{self.path}: {', '.join(lacking)} is missing; a split needs {', '.join(PARTS)}")
        parts = {part: whole_numbers(self.path, part, rows) for part, rows in self.found.parts.items()}
        every = np.concatenate(list(parts.values()))
        usual = 1 if "splits" in self.found.columns else None
        path, _ = self._where(what)
        base = count_from(f"{path}: the list of images", every, len(labels), self.sources.count, usual)
        self.origin["splits"] = f"{what}, counted from {base}"
        return {part: rows - base for part, rows in parts.items()}

    def _masked(self, what: str) -> dict[str, IntArray]:
        """Returns the parts that texts name, one for each image."""
        if sorted(self.found.parts) != sorted(PARTS):
            found, needed = (
                ", ".join(part.removesuffix("_loc") for part in some) for some in (self.found.parts, PARTS)
            )
            raise DataError(f"{self.path}: {what} has {found}; {needed} are needed, or a split by --splits FILE")
        self.origin["splits"] = f"{what}, by name"
        return {part: np.flatnonzero(self.found.parts[part]) for part in PARTS}

    def _within(self, parts: Mapping[str, IntArray], images: int) -> dict[str, IntArray]:
        for part, rows in parts.items():
            if len(rows) and rows.max() >= images:
                raise DataError(
                    f"{self.sources.splits}: {part} points at image {rows.max() + 1}, but there are {images} labels"
                )
        return dict(parts)

    @staticmethod
    def _numbers(images: int) -> list[str]:
        return [str(row + 1) for row in range(images)]


def _classes_of(own: Array, least: int) -> int:
    """Returns how many classes embeddings are of, if labels say only that there are at least so many."""
    sizes = sorted({size for size in own.shape if size >= least}) if own.ndim == 2 else []
    return least if least in sizes or len(sizes) != 1 else sizes[0]


def features_name(files: Sequence[Path]) -> str:
    """Returns what features are called: as their file, if it is one."""
    stem = re.sub(r"[^\w.-]+", "-", files[0].stem) if len(files) == 1 else "features"
    return "features" if not stem.strip("-.") or stem.startswith(("att_splits", "labels")) else stem
