"""Data sets that each break one promise, and the check that must catch them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from testing.sound import Separable

from zslbench import ClassSet, DatasetSizes, Split, TrainView, ZSLData
from zslbench.discovery.registry import Entry
from zslbench.testing.subjects import DatasetSubject

Sample = Callable[[], DatasetSubject]
SAMPLES: list[tuple[str, Sample]] = []
HERE = Path(__file__).parent


def subject(dataset: Any) -> DatasetSubject:
    return DatasetSubject(type(dataset).__name__, dataset.card, given=dataset, root=HERE)


def breaks(check: str) -> Callable[[Any], Any]:
    """Adds a class to the samples."""

    def add(dataset: Any) -> Any:
        SAMPLES.append((check, lambda: subject(dataset())))
        return dataset

    return add


def registered_otherwise() -> DatasetSubject:
    card = replace(Separable.card, title="another")
    return DatasetSubject("separable", card, Entry("dataset", "separable", "m:a", card, ""), Separable(), root=HERE)


SAMPLES += [
    ("importable", lambda: DatasetSubject("Class", Separable.card, given=Separable, root=HERE)),
    ("card", registered_otherwise),
]


def recast(kind: type[ZSLData], data: ZSLData, **changes: Any) -> ZSLData:
    return kind(**({field.name: getattr(data, field.name) for field in fields(data)} | changes))


class Changed(Separable):
    """Loads the data with changes."""

    def change(self, data: ZSLData) -> ZSLData:
        return data

    def load(self, root: Path, features: str | None = None, splits: str = "att_splits") -> ZSLData:
        return self.change(super().load(root, features, splits))


@breaks("card")
class Unlicensed(Separable):
    card = replace(Separable.card, licence="")


@breaks("card")
class Homeless(Separable):
    card = replace(Separable.card, homepage="")


@breaks("absent_files")
class Abrupt(Separable):
    def load(self, root: Path, features: str | None = None, splits: str = "att_splits") -> ZSLData:
        if not root.is_dir():
            raise FileNotFoundError(root)
        return super().load(root, features, splits)


@breaks("absent_files")
class Curt(Separable):
    def missing(self, root: Path, features: str | None = None, splits: str = "att_splits") -> str:
        return "absent" if super().missing(root) else super().missing(root, features, splits)


@breaks("loads")
class Featureless(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return replace(data, features=None)


@breaks("unknown_names")
class TakesAnything(Separable):
    def missing(self, root: Path, features: str | None = None, splits: str = "att_splits") -> str:
        return super().missing(root)


@breaks("features")
class NotANumber(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        features = data.features.copy()
        features[data.test_seen[0], 0] = np.nan
        return replace(data, features=features, features_fingerprint="known")


@breaks("features")
class Doubles(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return replace(data, features=data.features.astype(np.float64))


@dataclass(frozen=True)
class Unchecked(ZSLData):
    def __post_init__(self) -> None:
        pass


@breaks("class_names")
class Namesakes(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return recast(Unchecked, data, class_names=("class 2", *data.class_names[1:]))


@breaks("class_embeddings")
class Long(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return replace(data, semantics=3 * data.semantics)


@breaks("card_fits_data")
class Miscounted(Separable):
    card = replace(Separable.card, sizes=DatasetSizes(400, 30, 10, 12, 240, 60, 101))


@breaks("card_fits_data")
class WordVectors(Separable):
    card = replace(Separable.card, attributes=False)


@breaks("split")
class TestsOnTraining(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return recast(Unchecked, data, test_seen=np.append(data.test_seen, data.train[0]))


class ValidatesOnTest(ZSLData):
    def split_for(self, fold: Any) -> Split:
        split = super().split_for(fold)
        return split if fold in (None, ()) else replace(split, test_seen=self.test_seen)


@breaks("validation_folds")
class OpenFolds(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return recast(ValidatesOnTest, data)


class ShowsUnseen(ZSLData):
    def train_view(self, setting: Any, fold: Any = None) -> TrainView:
        view = super().train_view(setting, fold)
        return replace(view, classes=super().train_view("transductive", fold).classes)


@breaks("train_view")
class OpenClasses(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return recast(ShowsUnseen, data)


@dataclass(frozen=True)
class Baggage(ClassSet):
    everything: Any = None


class ShowsImages(ZSLData):
    def train_view(self, setting: Any, fold: Any = None) -> TrainView:
        view = super().train_view(setting, fold)
        classes = view.classes
        return replace(view, classes=Baggage(classes.semantics, classes.names, classes.seen, self.baggage()))

    def baggage(self) -> Any:
        return {"data": [self.features[self.test_unseen]]}


@breaks("train_view")
class OpenImages(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return recast(ShowsImages, data)


class ShowsImagesLater(ShowsImages):
    def baggage(self) -> Any:
        return lambda: self.features


@breaks("train_view")
class OpenLater(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return recast(ShowsImagesLater, data)


class SharesEmbeddings(ZSLData):
    def train_view(self, setting: Any, fold: Any = None) -> TrainView:
        view = super().train_view(setting, fold)
        shared = torch.from_numpy(self.semantics)[: len(view.classes)]
        return replace(view, classes=replace(view.classes, semantics=shared))


@breaks("views_share_nothing")
class Shared(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        return recast(SharesEmbeddings, data)


@breaks("same_fingerprint")
class Restless(Changed):
    times: ClassVar = itertools.count(1)

    def change(self, data: ZSLData) -> ZSLData:
        return replace(data, features=data.features * np.float32(1 + 1 / next(self.times)))


@breaks("labels_alone")
class OtherLabels(Separable):
    def load_labels(self, root: Path, splits: str = "att_splits") -> ZSLData:
        data = self.load(root, splits=splits)
        return replace(data, features=None, test_seen=data.test_seen[1:])


@breaks("global_state_untouched")
class Seeds(Changed):
    def change(self, data: ZSLData) -> ZSLData:
        np.random.seed(0)
        return data
