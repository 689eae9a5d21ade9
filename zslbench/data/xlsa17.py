"""Data sets in the xlsa17 layout of the GBU release (Xian et al., CVPR 2017): a folder of .mat files each."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench.api.cards import DatasetCard
from zslbench.api.dataset import Dataset, IntArray, ZSLData
from zslbench.data.cache import Features, load_features
from zslbench.data.download import ARCHIVE_FILES, ARCHIVE_FOLDERS
from zslbench.data.foldercard import images_folder, read_card
from zslbench.data.imagefiles import FileImages, find_images, what_is_there
from zslbench.data.imagelists import check_folders, read_boxes
from zslbench.data.matfile import indices, made_from, read_arrays, read_strings, variables
from zslbench.data.names import hint, match
from zslbench.data.tables import read_lines
from zslbench.errors import DataError, Hint, near_misses
from zslbench.files import is_clutter

PARTS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")
SPLITS, LABELS = "att_splits", "labels.mat"


@dataclass(frozen=True)
class SplitFile:
    """What a split file says, indices counted from 0 but nothing else checked.

    Attributes:
        semantics: class embeddings, `(C, A)` float32.
        class_names: C names; `class 1` and so on where the file has none, as FLO's.
        parts: image indices by the file's own names, such as `trainval_loc`; `train_loc` and `val_loc` may be absent.
        original_semantics: class embeddings before their normalisation, `(C, A)`, or None; not checked at all.
        attribute_names: A names, or none: the release has none, data sets that `data build` made have.
    """

    semantics: NDArray[np.float32]
    class_names: tuple[str, ...]
    parts: dict[str, IntArray]
    original_semantics: NDArray[np.float32] | None = None
    attribute_names: tuple[str, ...] = ()


class XLSA17Dataset(Dataset):
    """A folder with `att_splits.mat` and features such as `res101.mat`; below the data root, or anywhere."""

    def __init__(self, card: DatasetCard, folder: str | Path) -> None:
        self.card = card
        self._folder = Path(folder)

    @classmethod
    def at(cls, path: Path) -> XLSA17Dataset:
        """Makes a data set of any folder in this layout; its name is that of its `card.toml`, else the folder's."""
        path = path.expanduser().absolute()
        return cls(read_card(path), path)

    def folder(self, root: Path) -> Path:
        """Returns the data set's folder: an absolute one is independent of the root."""
        return root / self._folder

    def load(self, root: Path, features: str | None = None, splits: str = SPLITS) -> ZSLData:
        """Loads features through the cache, labels, class embeddings and the proposed split.

        Raises:
            DataError: a file is missing, damaged or inconsistent with the others; it is named.
        """
        features = features or self.card.default_features
        if problem := self.missing(root, features, splits):
            raise DataError(problem)
        path = self.features_path(root, features)
        loaded = load_features(path)
        if loaded.labels is None:  # only now it is known whether images are in rows or in columns
            loaded = load_features(path, len(self.read_labels(root)[0]))
        return self._data(root, splits, features, loaded)

    def load_labels(self, root: Path, splits: str = SPLITS) -> ZSLData:
        """Loads everything but features; labels come from `labels.mat`, else from any file of features.

        Raises:
            DataError: a file is missing, damaged or inconsistent with the others; it is named.
        """
        return self._data(root, splits)

    def load_images(self, root: Path, splits: str = SPLITS) -> ZSLData:
        """Loads everything but features, and finds the images by `image_files` as `file_images` does.

        Raises:
            DataError: they are not there, or the list of images disagrees with the labels; a single one may be missing.
        """
        data = self.load_labels(root, splits)
        images = self.file_images(root, splits)
        if len(images.missing) == len(images):
            folder, first = images_folder(self.folder(root)), images.name(0)
            absent = f"none of the {len(images)} images of {data.name} is there, {first} for one"
            raise DataError(f"{folder}: {absent}; {what_is_there(folder, first)}")
        return replace(data, features_name="images", images=images)

    def file_images(self, root: Path, splits: str = SPLITS, images: Path | None = None) -> FileImages:
        """Finds the images that `image_files` names, at any depth below a folder, by the ends of their paths.

        The folder is the given one, or where the data set's `images.txt` or card says, or its sub-folder `images`.

        Raises:
            DataError: there is no such folder, two files fit one name, or the list disagrees with the labels.
        """
        folder = self.folder(root)
        images = images_folder(folder) if images is None else images.expanduser()
        known = self.read_split(root, splits).class_names
        names, (labels, _) = self.image_files(root), self.read_labels(root)
        if len(names) != len(labels):
            raise DataError(f"{folder}: it names {len(names)} images, but has {len(labels)} labels")
        if len(labels) and labels.max() >= len(known):
            raise DataError(f"{folder}: labels run to {labels.max() + 1}, but there are {len(known)} classes")
        classes = [known[label] for label in labels]
        check_folders(names, classes, folder)
        if not images.is_dir():
            name = self._folder.name.lower() if str(self._folder) in ARCHIVE_FOLDERS else folder
            source = f"get them from {self.card.homepage}, and " if self.card.homepage else ""
            raise DataError(
                f"data set {self.card.title}: {images} is no folder, and its images are not in the GBU release; "
                f"{source}say where they are by `zslbench data images {name} --from DIR`"
            )
        repeated = len(set(names)) < len(names)
        boxes = read_boxes(names, classes, folder, [images, folder]) if repeated else None
        return FileImages(names, find_images(names, images), boxes)

    def missing(self, root: Path, features: str | None = None, splits: str = SPLITS) -> str:
        """Returns which file is missing and how to get it, in one line, or an empty string."""
        if problem := self.missing_split(root, splits):
            return problem
        path = self.features_path(root, features)
        return "" if path.is_file() else self._missing_line(path, "--features", self.feature_files(root))

    def read_split(self, root: Path, splits: str = SPLITS) -> SplitFile:
        """Reads a split file of any generation, without checking what it says.

        Raises:
            DataError: the file is missing, damaged, or its variables have the wrong shape or type.
        """
        if problem := self.missing_split(root, splits):
            raise DataError(problem)
        return read_split(self.split_path(root, splits))

    def read_labels(self, root: Path) -> tuple[IntArray, Path]:
        """Reads the class of each image, `(N,)` int64 from 0, and returns it with the file it was found in.

        Raises:
            DataError: no file has labels, or the one that should is damaged.
        """
        path = self._first(root, "labels", ", the class of each image; add labels.mat, or the release's res101.mat")
        return indices(read_arrays(path, ["labels"])["labels"], f"{path}: labels"), path

    def image_files(self, root: Path) -> tuple[str, ...]:
        """Reads the images' file names as the release gives them; many are absolute paths on its authors' disks.

        Of Windows paths backslashes become slashes, which is said.

        Raises:
            DataError: no file has them.
        """
        path = self._first(root, "image_files")
        names = read_strings(path, "image_files") or ()
        if any("\\" in name for name in names):
            warnings.warn(
                f"{path}: image_files has Windows paths; backslashes are taken for slashes", Hint, stacklevel=2
            )
        return tuple(name.replace("\\", "/") for name in names)

    def feature_files(self, root: Path) -> list[str]:
        """Returns the names for `--features` that are present."""
        names = []
        for path in self.mat_files(root):
            with suppress(DataError):  # a damaged file has nothing to offer
                names += [path.stem] if "features" in variables(path) else []
        return names

    def split_files(self, root: Path) -> list[str]:
        """Returns the names for `--splits` that are present; where none is called as the release's, any other split."""
        files = self._mat(root)
        found = [path for path in files if path.name.startswith(SPLITS)] or list(filter(_is_split, files))
        return sorted(path.stem for path in found)

    def features_path(self, root: Path, features: str | None = None) -> Path:
        """Returns where a file of features is, or would be."""
        return self.folder(root) / f"{features or self.card.default_features}.mat"

    def _data(self, root: Path, splits: str, features: str = "", loaded: Features | None = None) -> ZSLData:
        split = self.read_split(root, splits)
        if loaded is None or loaded.labels is None:
            labels, labels_path = self.read_labels(root)
        else:
            labels, labels_path = loaded.labels, self.features_path(root, features)
            self._check_labels(root, labels, labels_path)
        train, test_seen, test_unseen = (split.parts[part] for part in PARTS)
        check_parts(split, labels, self.split_path(root, splits))
        lists = validation_lists(self.folder(root), split, labels)
        try:  # what is checked on arrays does not know the files that they come from
            suggested = validation_classes(split, labels)
            return ZSLData(
                self.card.title,
                features,
                None if loaded is None else loaded.features,
                labels,
                split.semantics,
                split.class_names,
                train,
                test_seen,
                test_unseen,
                validation_folds=lists or (() if suggested is None else (suggested,)),
                original_semantics=split.original_semantics,
                attributes=self.card.attributes,
                attribute_names=split.attribute_names,
                features_fingerprint=None if loaded is None else loaded.fingerprint,
                backbone={} if loaded is None else self._backbone(self.features_path(root, features)),
            )
        except DataError as error:
            raise DataError(f"{error} (read from {self.split_path(root, splits)} and {labels_path})") from error

    def _backbone(self, path: Path) -> dict[str, str]:
        """Returns what a file of features says of the backbone that made them."""
        return {name: value for name, value in made_from(path).items() if name in ("backbone", "weights")}

    def _check_labels(self, root: Path, labels: IntArray, path: Path) -> None:
        """Raises a DataError if labels that come with features differ from `labels.mat`, on which audits rely."""
        where = self.folder(root) / LABELS
        if not where.is_file():
            return
        other = indices(read_arrays(where, ["labels"])["labels"], f"{where}: labels")
        if not np.array_equal(labels, other):
            apart = f"{len(labels)} and {len(other)} labels"
            if len(labels) == len(other):
                apart = f"other labels for {int((labels != other).sum())} of {len(labels)} images"
            raise DataError(f"{path} and {where} have {apart}; remove the labels that are wrong")

    def split_path(self, root: Path, splits: str = SPLITS) -> Path:
        """Returns where a split file is, or would be."""
        return self.folder(root) / f"{splits}.mat"

    def missing_split(self, root: Path, splits: str = SPLITS) -> str:
        """Returns which split file is missing and how to get it, in one line, or an empty string."""
        path = self.split_path(root, splits)
        return "" if path.is_file() else self._missing_line(path, "--splits", self.split_files(root))

    def _missing_line(self, path: Path, option: str, present: list[str]) -> str:
        ways = []
        if str(self._folder) in ARCHIVE_FOLDERS and path.name in ARCHIVE_FILES:
            ways.append(f"get it with `zslbench data get {self._folder.name.lower()}`")
        if not path.parent.is_dir():
            ways.append("name the folder that holds the data sets by --data-root or ZSLBENCH_DATA")
        if present:
            ways.append(f"take what is there with {option} {' or '.join(present)}")
        return f"data set {self.card.title}: {path} is missing; {', or '.join(ways) or 'put it there'}"

    def mat_files(self, root: Path) -> list[Path]:
        """Returns all files but splits, `labels.mat` first because it is the quickest to read."""
        files = [path for path in self._mat(root) if not path.name.startswith(SPLITS)]
        return sorted(files, key=lambda path: (path.name != LABELS, path))

    def _mat(self, root: Path) -> list[Path]:
        return [path for path in self.folder(root).glob("*.mat") if not is_clutter(path.name)]

    def _first(self, root: Path, variable: str, advice: str = "") -> Path:
        """Returns the first file that has a variable."""
        for path in self.mat_files(root):
            if variable in variables(path):
                return path
        raise DataError(f"data set {self.card.title}: no file in {self.folder(root)} has {variable}{advice}")


def read_split(path: Path) -> SplitFile:
    """Reads a split file, wherever it is, without checking what it says.

    Raises:
        DataError: it is missing, damaged, or its variables have the wrong shape or type.
    """
    arrays = read_arrays(path, ["att", *PARTS], ["train_loc", "val_loc", "original_att"])
    att, original = arrays.pop("att"), arrays.pop("original_att", None)
    if att.ndim != 2 or 0 in att.shape:
        raise DataError(f"{path}: att has shape {att.shape}; a matrix (embedding size, classes) is needed")
    names = read_strings(path, "allclasses_names") or tuple(f"class {c + 1}" for c in range(att.shape[1]))
    parts = {name: indices(values, f"{path}: {name}") for name, values in arrays.items()}
    called = read_strings(path, "attribute_names") or ()
    if called and len(called) != len(att):
        raise DataError(f"{path}: it has {len(called)} attribute_names; att has {len(att)} attributes")
    return SplitFile(_rows(att), names, parts, None if original is None else _rows(original), called)


def has_splits(folder: Path) -> bool:
    """Whether a folder has a split file, by its name or, where none is called as the release's, by its variables."""
    return any(folder.glob(f"{SPLITS}*.mat")) or bool(XLSA17Dataset.at(folder).split_files(folder))


def _is_split(path: Path) -> bool:
    with suppress(DataError):  # a damaged file is none
        return set(PARTS) <= variables(path).keys()
    return False


def check_parts(split: SplitFile, labels: IntArray, path: Path) -> None:
    """Raises a DataError where a part of the split points at an image that does not exist."""
    for name, rows in split.parts.items():
        if len(rows) and rows.max() >= len(labels):
            raise DataError(f"{path}: {name} points at image {rows.max() + 1}, but there are {len(labels)} labels")


def validation_classes(split: SplitFile, labels: IntArray) -> IntArray | None:
    """Returns the classes of `val_loc`, if they are seen classes and leave others, disjoint, to `train_loc`."""
    if not {"train_loc", "val_loc"} <= split.parts.keys():
        return None
    of = {name: np.unique(labels[rows]) for name, rows in split.parts.items()}
    train, validation, seen = of["train_loc"], of["val_loc"], of["trainval_loc"]
    usable = len(validation) and len(train) and not np.intersect1d(train, validation).size
    return validation if usable and np.isin(validation, seen).all() and len(validation) < len(seen) else None


def validation_lists(folder: Path, split: SplitFile, labels: IntArray) -> tuple[IntArray, ...]:
    """Reads GBU's folds, `trainclasses1.txt` and `valclasses1.txt` onwards: a class name on each line.

    Raises:
        DataError: a name is no class of the data, or the two lists of a fold do not divide the seen classes.
    """
    classes = np.unique(labels[split.parts["trainval_loc"]])
    seen = {name for c, name in enumerate(split.class_names) if c in classes}
    folds: list[IntArray] = []
    while (path := folder / f"valclasses{len(folds) + 1}.txt").is_file():
        train_path = folder / f"trainclasses{len(folds) + 1}.txt"
        validation, train = _class_list(path, split.class_names), _class_list(train_path, split.class_names)
        if empty := [str(file) for file, names in ((path, validation), (train_path, train)) if not names]:
            raise DataError(f"{empty[0]}: it names no class; a fold divides the seen classes")
        if both := sorted(validation & train):
            raise DataError(f"{path}: class {both[0]!r} is in {train_path.name} too; a fold divides the seen classes")
        if strange := sorted((validation | train) - seen):
            raise DataError(f"{path} or {train_path.name}: class {strange[0]!r} has no trainval image")
        if absent := sorted(seen - validation - train):
            raise DataError(f"{path} and {train_path.name}: the seen class {absent[0]!r} is in neither")
        folds.append(np.array([c for c, name in enumerate(split.class_names) if name in validation], dtype=np.int64))
    return tuple(folds)


def _class_list(path: Path, known: tuple[str, ...]) -> set[str]:
    names = list(filter(None, read_lines(path, "add it, or remove the lists of its fold")))
    matching = match(names, known)
    for name in matching.missing:
        raise DataError(f"{path}: {name!r} is no class of the data{near_misses(name, known)}")
    hint(path, matching)
    return set(matching.found.values())


def _rows(columns: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(columns.T, dtype=np.float32)
