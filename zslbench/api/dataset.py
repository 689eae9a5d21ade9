"""The data set interface: `Dataset` loads, `ZSLData` holds the data, `Split` gives each image its role."""

from __future__ import annotations

import copy
import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from zslbench.api.cards import DatasetCard, Pretraining, Setting, pretraining_of
from zslbench.api.images import Images, Pixels
from zslbench.api.params import Params
from zslbench.api.scratch import Scratch, copied
from zslbench.api.soundness import check_embeddings, check_not_constant, doubtful, wrong
from zslbench.api.soundness import check_finite as check_finite
from zslbench.api.views import ClassSet, TestView, TrainView
from zslbench.errors import DataError, NotApplicable

HELD_OUT = 0.2
"""Fraction of each training class's images held out to validate seen classes: the share of GBU's test_seen."""

IntArray = NDArray[np.int64]
Fold = int | tuple[int, ...] | None


@dataclass(frozen=True)
class Split:
    """Image and class roles; all arrays are int64 indices from 0.

    Attributes:
        train: training images, all of seen classes.
        test_seen: further images of seen classes.
        test_unseen: images of unseen classes.
        seen: classes with training images, ascending.
        unseen: classes without training images, ascending, those without test images last. The latter can be chosen
            too: the protocol (Xian et al., TPAMI 2018) defines a split by its classes, and per-class accuracy is a
            mean over classes with images.
    """

    train: IntArray
    test_seen: IntArray
    test_unseen: IntArray
    seen: IntArray
    unseen: IntArray

    def validation(self, labels: IntArray, fold: int, suggested: IntArray | None = None) -> Split:
        """Cuts the training images by class into a smaller problem of the same kind, for choices.

        It uses the data set's suggested validation classes for this fold, if there are any. Otherwise it draws as
        large a share of the seen classes as the unseen classes are of all. Images held out of the other classes
        serve as test_seen. Only `train` is cut, so no test image can get in, whatever the data set's own lists say.

        Raises:
            DataError: there are too few classes to cut.
        """
        random = np.random.default_rng([fold, len(self.seen), len(self.unseen)])
        if suggested is not None:
            unseen = np.intersect1d(suggested, self.seen)
        else:
            share = len(self.unseen) / (len(self.seen) + len(self.unseen))
            count = min(max(2, round(share * len(self.seen))), len(self.seen) - 2)
            if count < 1:
                few = f"{len(self.seen)} seen classes are too few"
                raise DataError(f"{few} to cut validation classes from; 4 are needed")
            unseen = np.sort(random.choice(self.seen, count, replace=False))
        seen = np.setdiff1d(self.seen, unseen)
        train_labels = labels[self.train]
        held_out = np.zeros(len(self.train), dtype=bool)
        for c in seen:
            rows = np.flatnonzero(train_labels == c)
            count = min(max(1, round(HELD_OUT * len(rows))), len(rows) - 1)
            held_out[random.choice(rows, count, replace=False)] = True
        is_unseen = np.isin(train_labels, unseen)
        return Split(
            train=self.train[~is_unseen & ~held_out],
            test_seen=self.train[held_out],
            test_unseen=self.train[is_unseen],
            seen=seen,
            unseen=unseen,
        )


@dataclass(frozen=True)
class ZSLData:
    """One data set in memory (features may stay on disk); checked on creation.

    Attributes:
        name: as in tables.
        features_name: name of the visual features, such as `res101`.
        features: `(N, D)` float32, or None if only labels and splits are needed; `(N, K, D)` for K crops if the input
            is images.
        labels: class of each image, `(N,)` int64 from 0.
        semantics: class embeddings, `(C, A)` float32.
        class_names: C names.
        train, test_seen, test_unseen: image indices of the proposed split.
        validation_folds: the data set's suggested validation classes for fold 0, 1, ...; further folds are drawn.
        original_semantics: class embeddings before their normalisation, if the data set has them.
        attributes: whether class embeddings are strengths of attributes, not vectors of words or sentences.
        features_fingerprint: hash of the features, if the reader knows it and has checked that they are finite.
        images: the images, if the input is images.
        pixels: crops of the images, once prepared.
        attribute_names: names of the dimensions of the class embeddings, `A` texts; empty if unknown.
        backbone: what made the features: `backbone`, its full name, and `weights`, a hash of them; empty if it was
            not recorded.
        pretraining: what the network behind the features was trained on; not part of the fingerprint.

    Raises:
        DataError: sizes do not fit, two classes have one name, a label is out of range, a split is empty or not
            disjoint, a value or its square is not finite in float32, features or class embeddings are constant, or a
            class embedding is zero.
    """

    name: str
    features_name: str
    features: NDArray[np.float32] | None
    labels: IntArray
    semantics: NDArray[np.float32]
    class_names: tuple[str, ...]
    train: IntArray
    test_seen: IntArray
    test_unseen: IntArray
    validation_folds: tuple[IntArray, ...] = ()
    original_semantics: NDArray[np.float32] | None = None
    attributes: bool = True
    features_fingerprint: str | None = None
    images: Images | None = None
    pixels: Pixels | None = None
    attribute_names: tuple[str, ...] = ()
    backbone: Mapping[str, str] = field(default_factory=dict)
    pretraining: Pretraining = "unknown"

    @classmethod
    def from_arrays(
        cls,
        features: ArrayLike,
        labels: ArrayLike,
        semantics: ArrayLike,
        *,
        train: ArrayLike,
        test_seen: ArrayLike,
        test_unseen: ArrayLike,
        class_names: Sequence[str] | None = None,
        name: str = "data",
        features_name: str = "features",
        attributes: bool | None = None,
        pretraining: Pretraining = "unknown",
    ) -> ZSLData:
        """Makes a data set from arrays in memory.

        Args:
            features: visual features, `(N, D)`.
            labels: class of each image, `(N,)`, whole numbers from 0.
            semantics: class embeddings, a row for each class, `(C, A)`. They are not normalised; divide each row by its
                norm to make them like those of the GBU release.
            train: rows of the training images, or a mask, `(N,)`; classes without training images are unseen.
            test_seen: further images of seen classes, likewise.
            test_unseen: images of unseen classes, likewise.
            class_names: C names.
            name: name of the data set in tables.
            features_name: name of the features in tables.
            attributes: whether class embeddings are strengths of attributes; by default, if no value is negative.
            pretraining: what the network behind the features was trained on, which tables say.

        Raises:
            DataError: as for the class, or a label or row is not a whole number.
        """
        embeddings = np.asarray(semantics, dtype=np.float32)
        if class_names is None:
            class_names = [f"class {c}" for c in range(len(embeddings))]
        classes = _whole(labels, f"data set {name}: labels")
        if classes.size and not 0 <= classes.min() <= classes.max() < len(embeddings):
            raise DataError(
                f"data set {name}: labels run from {classes.min()} to {classes.max()}; "
                f"{len(embeddings)} class embeddings need 0 to {len(embeddings) - 1}"
            )
        return cls(
            name=name,
            features_name=features_name,
            features=np.asarray(features, dtype=np.float32),
            labels=classes,
            semantics=embeddings,
            class_names=tuple(class_names),
            train=_whole(train, f"data set {name}: train"),
            test_seen=_whole(test_seen, f"data set {name}: test_seen"),
            test_unseen=_whole(test_unseen, f"data set {name}: test_unseen"),
            attributes=bool((embeddings >= 0).all()) if attributes is None else attributes,
            pretraining=pretraining,
        )

    def __repr__(self) -> str:
        features = "no features" if self.features is None else f"{self.features_name} {self.features.shape}"
        classes = f"{len(self.class_names)} classes with embeddings of {self.semantics.shape[1]}"
        sizes = ", ".join(f"{len(getattr(self, part))} {part}" for part in ("train", "test_seen", "test_unseen"))
        return f"ZSLData({self.name}: {features}, {classes}, {len(self.split.unseen)} unseen; {sizes})"

    def __post_init__(self) -> None:
        own = f"data set {self.name}"
        for problem in wrong(self):
            raise DataError(f"{own}: {problem}")
        pretraining_of(self.pretraining, own, DataError)
        if self.features is not None:
            if self.features_fingerprint is None:
                check_finite(self.features, f"{own}: features {self.features_name}")
            check_not_constant(self.features, f"{own}: features {self.features_name} of trainval", self.train)
        check_embeddings(self.semantics, self.class_names, f"{own}: class embeddings")
        for doubt in doubtful(self):
            warnings.warn(f"{own}: {doubt}", stacklevel=2)

    @cached_property
    def split(self) -> Split:
        """The proposed split: trainval, test_seen, test_unseen; every class without training images is unseen."""
        seen, tested = np.unique(self.labels[self.train]), np.unique(self.labels[self.test_unseen])
        unseen = np.concatenate([tested, self.untested])
        return Split(self.train, self.test_seen, self.test_unseen, seen, unseen)

    @cached_property
    def untested(self) -> IntArray:
        """The unseen classes without test images, ascending."""
        return np.setdiff1d(np.arange(len(self.semantics)), self.labels[np.concatenate([self.train, self.test_unseen])])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the arrays that decide a run: labels, class embeddings, split, suggested classes, features."""
        first, *others = self.validation_folds or (None,)
        arrays = [self.labels, self.semantics, self.train, self.test_seen, self.test_unseen, first, *others]
        parts = [array_fingerprint(array) if array is not None else "" for array in arrays]
        if self.features is not None:
            parts.append(self.features_fingerprint or array_fingerprint(self.features))
        if self.images is not None:
            parts.append(self.images.fingerprint)
        if len(self.untested):
            parts.append("untested classes are candidates")  # they were not, and such records must not be found again
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def with_shots(self, shots: int | float, seed: int) -> ZSLData:
        """Returns the data set with so many training images of each seen class, or with this share of them, below 1.

        A share leaves at least one image, and a class with fewer images keeps all. The seed alone draws them: for any
        method, and such that those of fewer shots are among those of more. Everything else stays as it is.
        """
        labels, kept = self.labels[self.train], np.zeros(len(self.train), dtype=bool)
        for c in np.unique(labels):
            own = np.flatnonzero(labels == c)
            own = own[np.argsort(self.train[own])]  # in the order of the data set, however its split lists them
            count = shots if shots >= 1 else max(1, round(shots * len(own)))
            kept[np.random.default_rng([seed, int(c)]).permutation(own)[: int(count)]] = True
        other = copy.copy(self)  # nothing is to be checked again
        for cached in ("split", "fingerprint"):
            vars(other).pop(cached, None)
        object.__setattr__(other, "train", self.train[kept])
        return other

    def split_for(self, fold: Fold) -> Split:
        """Returns the proposed split or, with a fold, its validation problem, cut from trainval alone.

        A tuple cuts again from the training part of the first fold: `(0, 1)` is fold 1 inside fold 0.

        Raises:
            DataError: there are too few classes to cut.
            NotApplicable: no class has an image to spare for validation.
        """
        split, folds = self.split, self.validation_folds
        for cut in (fold,) if isinstance(fold, int) else fold or ():
            suggested = folds[cut] if cut < len(folds) else None
            split, folds = split.validation(self.labels, cut, suggested), ()
            if not len(split.test_seen):
                raise NotApplicable("no class has two training images, so none can be held out to validate on")
        return split

    def train_view(self, setting: Setting, fold: Fold = None, scratch: Scratch | None = None) -> TrainView:
        """Returns copies of what a method may see, of features in `scratch` files where these are given.

        They share no memory with the rest of the data.
        """
        if self.features is None:
            raise DataError(f"data set {self.name} was loaded without features, so nothing can be trained on it")
        split = self.split_for(fold)
        classes = split.seen if setting == "inductive" else np.concatenate([split.seen, split.unseen])
        unlabelled = None
        if setting == "transductive":
            shuffled = np.random.default_rng(0).permutation(split.test_unseen)  # order must not tell classes apart
            unlabelled = copied(self.features, shuffled, scratch)
        return TrainView(
            setting=setting,
            x=copied(self.features, split.train, scratch),
            y=torch.from_numpy(np.searchsorted(split.seen, self.labels[split.train]).astype(np.int64)),
            classes=self._class_set(classes, split.seen),
            unlabelled=unlabelled,
            pixels=None if self.pixels is None else self.pixels.select(split.train),
            scratch=scratch,
        )

    def test_view(self, fold: Fold = None) -> TestView:
        """Returns test images and all classes or, with a fold, their counterparts cut from trainval."""
        split = self.split_for(fold)
        classes = np.concatenate([split.seen, split.unseen])
        position = np.full(len(self.class_names), -1, dtype=np.int64)
        position[classes] = np.arange(len(classes))
        images = np.concatenate([split.test_seen, split.test_unseen])
        return TestView(
            images,
            position[self.labels[images]],
            self._class_set(classes, split.seen),
            self.features,
            None if self.pixels is None else self.pixels.select(images),
        )

    def _class_set(self, classes: IntArray, seen: IntArray) -> ClassSet:
        return ClassSet(
            semantics=torch.from_numpy(np.array(self.semantics[classes], dtype=np.float32)),
            names=tuple(self.class_names[c] for c in classes),
            seen=torch.from_numpy(np.isin(classes, seen)),
        )


class Dataset(ABC):
    """A source of one data set. Third parties subclass it and register an instance.

    `load` reads from `root`, the folder of `--data-root`; an embedded data set ignores it.

    Attributes:
        card: title, citation, licence and sizes.
        options: what a user may choose after its name, as in `--dataset NAME:KEY=VALUE`. A data set with options sets
            the defaults, an instance of its own subclass of `Params`, and reads them in `load`.
    """

    card: DatasetCard
    options: Params = Params()

    @property
    def name(self) -> str:
        """The title, and the options that differ from their defaults: the name of its `ZSLData`."""
        return ", ".join([self.card.title, *(f"{key}={value}" for key, value in self.options.changed().items())])

    def with_options(self, options: Params) -> Self:
        """Returns the data set with other options."""
        other = copy.copy(self)
        other.options = options
        return other

    @abstractmethod
    def load(self, root: Path, features: str | None = None, splits: str = "att_splits") -> ZSLData:
        """Loads the data.

        Args:
            root: folder that holds the data sets.
            features: name of the visual features, the card's default if None.
            splits: name of the split file, for data sets that have several.

        Raises:
            DataError: files are missing or wrong; one line says which, and what to do.
        """

    def load_labels(self, root: Path, splits: str = "att_splits") -> ZSLData:
        """Loads everything but features: enough to audit, describe, and evaluate scores made elsewhere."""
        return self.load(root, splits=splits)

    def load_images(self, root: Path, splits: str = "att_splits") -> ZSLData:
        """Loads everything but features, and the images; raises a `DataError` like `load`, or if it has no images."""
        raise DataError(f"data set {self.card.title} has no images; name another data set, or a method on features")

    def missing(self, root: Path, features: str | None = None, splits: str = "att_splits") -> str:
        """Returns why the data set cannot be loaded, in one line, or an empty string; must be quick.

        By default it reports features other than the card's, and another split. Data sets with files override it.
        """
        if features not in (None, self.card.default_features):
            options = f"leave out --features, or take {self.card.default_features}"
            return f"data set {self.card.title} has no features {features!r}; {options}"
        if splits != "att_splits":
            return f"data set {self.card.title} has no split {splits!r}; leave out --splits"
        return ""


def array_fingerprint(array: NDArray[np.generic]) -> str:
    """Returns the SHA-256 of an array's dtype, shape and values, whatever its memory layout."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    rows = max(1, 2**22 // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    return digest.hexdigest()


def _whole(values: ArrayLike, what: str) -> IntArray:
    """Returns whole numbers, or the positions where a mask is true, as int64."""
    array = np.asarray(values)
    if array.dtype == bool:
        return np.flatnonzero(array)
    if array.size and (array.dtype.kind not in "iuf" or (array % 1 != 0).any()):
        raise DataError(f"{what} must be whole numbers, or a mask")
    return array.astype(np.int64)
