"""Checks of data sets: of the card, of the data, and of the views that methods are handed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api.cards import Setting
from zslbench.api.dataset import ZSLData, check_finite
from zslbench.errors import DataError
from zslbench.testing.isolation import changed_global_state, differing, reachable
from zslbench.testing.registration import check_importable
from zslbench.testing.subjects import DatasetSubject
from zslbench.testing.verdicts import CheckFailed, after

NOWHERE = Path("/nowhere/zslbench")
NO_SUCH = "no-such-name"
NORM_TOLERANCE = 1e-3
FOLDS: tuple[int | tuple[int, ...], ...] = (0, 1, (0, 1))


@after(check_importable)
def check_card(subject: DatasetSubject) -> None:
    """Its card has title, citation, licence, and a homepage unless it is embedded, and is the one registered."""
    card = subject.target.card
    for field in ("title", "citation", "licence", *(() if card.embedded else ("homepage",))):
        if not getattr(card, field).strip():
            raise CheckFailed(f"the card's {field} is empty; whoever uses the data has to know it")
    if subject.entry is not None and subject.entry.card != card:
        raise CheckFailed("its card is not the one that it was registered with, so lists and tables would differ")


@after(check_importable)
def check_absent_files(subject: DatasetSubject) -> None:
    """Where its files are absent, missing() says what to do in one line, and load() raises DataError with it."""
    problem = subject.target.missing(NOWHERE)
    if not problem:
        try:
            subject.target.load(NOWHERE)
        except Exception as error:
            raise CheckFailed(
                f"missing() finds nothing wrong with the absent folder {NOWHERE}, but load() raises "
                f"{type(error).__name__}: {error}"
            ) from error
        return
    if len(problem.splitlines()) > 1 or len(problem.split()) < 4:
        raise CheckFailed(f"missing() says {problem!r}; one line that names the file and says what to do is needed")
    _check_refused(subject, "an absent folder", NOWHERE)


@after(check_absent_files)
def check_loads(subject: DatasetSubject) -> None:
    """It loads where missing() finds nothing wrong."""
    data = subject.data
    if not isinstance(data, ZSLData):
        raise CheckFailed(f"load() returns a {type(data).__name__}; ZSLData is needed")
    if data.features is None:
        raise CheckFailed("load() returns no features; only load_labels() may leave them out")


@after(check_loads)
def check_unknown_names(subject: DatasetSubject) -> None:
    """Features and splits that it has not are refused with DataError, by missing() and load() alike."""
    _ = subject.data  # skipped where there are no files at all
    for option in ("features", "splits"):
        if not subject.target.missing(subject.root, **{option: NO_SUCH}):
            raise CheckFailed(f"missing({option}={NO_SUCH!r}) says nothing; name the {option} that it has")
        _check_refused(subject, f"{option}={NO_SUCH!r}", subject.root, **{option: NO_SUCH})


@after(check_loads)
def check_features(subject: DatasetSubject) -> None:
    """Features are finite float32, a row for each label."""
    data, features = subject.data, _features(subject)
    if features.dtype != np.float32 or features.ndim != 2 or len(features) != len(data.labels):
        raise CheckFailed(
            f"features have shape {features.shape} and type {features.dtype} for {len(data.labels)} labels; "
            "(images, size) float32 is needed"
        )
    check_finite(features, "features")


@after(check_loads)
def check_class_names(subject: DatasetSubject) -> None:
    """Class names are distinct and not empty."""
    names = subject.labelled.class_names
    if not all(name.strip() for name in names):
        raise CheckFailed("a class name is empty")
    if double := sorted(name for name in set(names) if names.count(name) > 1):
        raise CheckFailed(f"two classes are named {double[0]!r}")


@after(check_loads)
def check_class_embeddings(subject: DatasetSubject) -> None:
    """Class embeddings have length 1, or the card's summary says that they are not normalised."""
    norms = np.linalg.norm(subject.labelled.semantics.astype(np.float64), axis=1)
    said = "normalis" in subject.target.card.summary.replace("z", "s")
    worst = int(np.argmax(np.abs(norms - 1)))
    if abs(norms[worst] - 1) > NORM_TOLERANCE and not said:
        raise CheckFailed(
            f"the embedding of class {subject.labelled.class_names[worst]!r} has length {norms[worst]:.4g}; "
            'divide each by its length, or say "not normalised" in the card\'s summary'
        )


@after(check_loads)
def check_card_fits_data(subject: DatasetSubject) -> None:
    """What the card says of sizes, default features and attributes holds for the data."""
    card, data = subject.target.card, subject.labelled
    found: dict[str, Any] = {"title": data.name, "attributes": data.attributes}
    if data.features is not None:
        found["default_features"] = data.features_name
    if card.sizes is not None:
        found["sizes"] = type(card.sizes)(
            images=len(data.labels),
            seen=len(data.split.seen),
            unseen=len(data.split.unseen),
            embedding=data.semantics.shape[1],
            trainval=len(data.train),
            test_seen=len(data.test_seen),
            test_unseen=len(data.test_unseen),
        )
    for field, value in found.items():
        if getattr(card, field) != value:
            raise CheckFailed(f"the card's {field} is {getattr(card, field)!r}, that of the data {value!r}")


@after(check_loads)
def check_split(subject: DatasetSubject) -> None:
    """No image is in two parts of the split, and no class is both seen and unseen."""
    data = subject.labelled
    parts = {"trainval": data.train, "test_seen": data.test_seen, "test_unseen": data.test_unseen}
    rows = np.concatenate(list(parts.values()))
    if len(np.unique(rows)) != len(rows):
        raise CheckFailed("trainval, test_seen and test_unseen share images; what is tested must not be trained on")
    classes = {name: np.unique(data.labels[part]) for name, part in parts.items()}
    if both := np.intersect1d(classes["trainval"], classes["test_unseen"]).tolist():
        raise CheckFailed(f"class {data.class_names[both[0]]!r} has images in trainval and in test_unseen")
    if strange := np.setdiff1d(classes["test_seen"], classes["trainval"]).tolist():
        raise CheckFailed(f"class {data.class_names[strange[0]]!r} has images in test_seen, but none in trainval")


@after(check_split)
def check_validation_folds(subject: DatasetSubject) -> None:
    """Validation folds are cut from trainval by class: no test image is in them, and no class on both sides."""
    data = subject.labelled
    for fold in FOLDS:
        split = data.split_for(fold)
        rows = np.concatenate([split.train, split.test_seen, split.test_unseen])
        if strange := np.setdiff1d(rows, data.train).tolist():
            raise CheckFailed(f"fold {fold} has image {strange[0]}, which is not in trainval; cut folds from trainval")
        if both := np.intersect1d(data.labels[split.train], data.labels[split.test_unseen]).tolist():
            raise CheckFailed(
                f"in fold {fold} class {data.class_names[both[0]]!r} has images to train and to validate unseen classes"
            )


@after(check_split, check_features)
def check_train_view(subject: DatasetSubject) -> None:
    """A method is handed the training images with their classes, and of unseen classes only what its setting allows."""
    data, split, features = subject.data, subject.data.split, _features(subject)
    for setting in get_args(Setting):
        view = data.train_view(setting)
        wanted = np.asarray(features[split.train], dtype=np.float32)
        if view.x.shape != wanted.shape or not np.array_equal(view.x.numpy(), wanted):
            raise CheckFailed(f"{setting}: view.x is not the features of trainval, in its order")
        if not np.array_equal(split.seen[view.y.numpy()], data.labels[split.train]):
            raise CheckFailed(f"{setting}: view.y is not the classes of trainval, as positions in view.classes")
        classes = split.seen if setting == "inductive" else np.concatenate([split.seen, split.unseen])
        if not np.array_equal(view.semantics.numpy(), data.semantics[classes]):
            raise CheckFailed(f"{setting}: view.classes must be the {len(classes)} classes of this setting, seen first")
        if (view.unlabelled is not None) != (setting == "transductive"):
            raise CheckFailed(f"{setting}: unlabelled test images belong to the transductive setting, and only there")
        known = [view.x, view.y, view.semantics, view.classes.seen, view.unlabelled]
        extra = [found for found in reachable(view) if not any(found is one for one in known)]
        if extra:
            raise CheckFailed(
                f"{setting}: the view leads to a further array of shape {tuple(extra[0].shape)}; "
                "a method must not reach more than x, y and classes"
            )


@after(check_train_view)
def check_views_share_nothing(subject: DatasetSubject) -> None:
    """What a method is handed shares no memory with the data set, so that no test image can be reached through it."""
    data = subject.data
    arrays = [_features(subject), data.labels, data.semantics]
    for setting in get_args(Setting):
        for found in reachable(data.train_view(setting)):
            values = found.numpy() if isinstance(found, Tensor) else found
            if _held(found) > values.nbytes or any(np.may_share_memory(values, array) for array in arrays):
                raise CheckFailed(
                    f"{setting}: an array of shape {tuple(found.shape)} shares memory with the data; hand out copies"
                )


@after(check_loads)
def check_same_fingerprint(subject: DatasetSubject) -> None:
    """Loaded twice it has one fingerprint, without which stored runs would not be found again."""
    first, second = subject.data.fingerprint, subject.load().fingerprint
    if first != second:
        raise CheckFailed(
            f"its fingerprint is {first[:12]}, and {second[:12]} when loaded again; draw from a fixed seed"
        )


@after(check_loads)
def check_labels_alone(subject: DatasetSubject) -> None:
    """load_labels() agrees with load() in all but the features."""
    data = subject.data
    alone = subject.target.load_labels(subject.root)
    fields = ("labels", "semantics", "train", "test_seen", "test_unseen")
    found, wanted = ({field: getattr(one, field) for field in fields} for one in (alone, data))
    if field := differing(found, wanted):
        raise CheckFailed(f"load_labels() has other {field} than load()")
    if alone.class_names != data.class_names:
        raise CheckFailed("load_labels() has other class names than load()")


@after(check_loads)
def check_global_state_untouched(subject: DatasetSubject) -> None:
    """Loading leaves the random states of Python, NumPy and torch alone, and torch's global settings."""
    _ = subject.data
    if changed := changed_global_state(subject.load):
        raise CheckFailed(f"load() changes {changed}; use np.random.default_rng(seed)")


def _check_refused(subject: DatasetSubject, what: str, root: Path, **options: str) -> None:
    try:
        subject.target.load(root, **options)
    except DataError:
        return
    except Exception as error:
        raise CheckFailed(
            f"load() of {what} raises {type(error).__name__}; raise DataError(self.missing(...))"
        ) from error
    raise CheckFailed(f"load() of {what} goes through; raise DataError")


def _features(subject: DatasetSubject) -> NDArray[np.float32]:
    features = subject.data.features
    assert features is not None
    return features


def _held(array: Any) -> int:
    """Returns how many bytes can be reached through a tensor or an array, however small a part of them it shows."""
    if isinstance(array, Tensor):
        return array.untyped_storage().nbytes()
    return _held(array.base) if isinstance(array.base, np.ndarray) else int(array.nbytes)
