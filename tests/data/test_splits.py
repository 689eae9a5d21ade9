"""Splits and views: what a method may see holds no test image, no test label and no unseen class embedding."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zslbench import Split, TrainView, ZSLData
from zslbench.api import cards
from zslbench.errors import DataError
from zslbench_datasets import gbu

SETTINGS = cards.get_args(cards.Setting)


@st.composite
def problems(draw: st.DrawFn) -> ZSLData:
    """A data set whose every value tells where it came from: image i has features i + 1, class c embedding -(c + 1)."""
    seen, unseen = draw(st.integers(4, 9)), draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    classes = random.permutation(seen + unseen)
    counts = random.integers(3, 9, size=seen + unseen)
    labels = random.permutation(np.repeat(np.arange(seen + unseen), counts))
    is_unseen = np.isin(labels, classes[seen:])
    is_test = np.zeros(len(labels), dtype=bool)
    for c in classes[:seen]:
        is_test[random.choice(np.flatnonzero(labels == c))] = True
    suggested = random.choice(classes, size=random.integers(1, seen), replace=False) if draw(st.booleans()) else None
    if suggested is not None and not 0 < len(np.intersect1d(suggested, classes[:seen])) < seen:
        suggested = None
    return ZSLData(
        name="made up",
        features_name="numbers",
        features=np.tile(np.arange(1, len(labels) + 1, dtype=np.float32)[:, None], (1, 3)),
        labels=labels,
        semantics=np.tile(-np.arange(1, seen + unseen + 1, dtype=np.float32)[:, None], (1, 2)),
        class_names=tuple(f"class {c}" for c in range(seen + unseen)),
        train=random.permutation(np.flatnonzero(~is_unseen & ~is_test)),
        test_seen=np.flatnonzero(is_test),
        test_unseen=np.flatnonzero(is_unseen),
        validation_folds=() if suggested is None else (np.sort(suggested),),
    )


@given(problems(), st.integers(0, 4))
@settings(deadline=None)
def test_folds_are_cut_from_trainval_by_class(data: ZSLData, fold: int):
    cut = data.split_for(fold)
    parts = [cut.train, cut.test_seen, cut.test_unseen]
    together = np.concatenate(parts)
    assert all(len(part) for part in parts)
    np.testing.assert_array_equal(np.sort(together), np.sort(data.train))  # each image of trainval once, and no other
    assert set(cut.seen) & set(cut.unseen) == set()
    assert set(cut.seen) | set(cut.unseen) == set(data.split.seen)
    assert set(data.labels[cut.train]) == set(cut.seen) == set(data.labels[cut.test_seen])
    assert set(data.labels[cut.test_unseen]) == set(cut.unseen)


@given(problems())
@settings(deadline=None)
def test_fold_0_validates_on_the_suggested_seen_classes(data: ZSLData):
    if data.validation_folds:
        assert set(data.split_for(0).unseen) == set(data.validation_folds[0]) & set(data.split.seen)


@given(problems(), st.integers(0, 4))
@settings(deadline=None)
def test_a_fold_is_the_same_each_time(data: ZSLData, fold: int):
    first, second = data.split_for(fold), data.split_for(fold)
    assert all(np.array_equal(getattr(first, part), getattr(second, part)) for part in Split.__dataclass_fields__)


def reachable_values(view: TrainView) -> set[float]:
    """All numbers in any tensor or array reachable from a view, whole storages and bases of arrays included."""
    values: set[float] = set()
    known: set[int] = set()
    queue: list[Any] = [view]
    while queue:
        item = queue.pop()
        if id(item) in known or isinstance(item, type) or callable(item) or type(item).__name__ == "module":
            continue
        known.add(id(item))
        if isinstance(item, torch.Tensor):
            whole = torch.empty(0, dtype=item.dtype).set_(item.untyped_storage())
            values |= set(whole.flatten().tolist())
        elif isinstance(item, np.ndarray):
            values |= set(np.asarray(item).ravel().tolist())
            queue.append(item.base)
        queue += gc.get_referents(item)
    return values


@given(problems(), st.sampled_from(SETTINGS), st.sampled_from([None, 0, 1]))
@settings(deadline=None)
def test_no_test_image_or_unseen_embedding_can_be_reached_from_a_train_view(data, setting, fold):
    split = data.split_for(fold)
    values = reachable_values(data.train_view(setting, fold))
    images = {value - 1 for value in values if value > len(data.class_names)}  # smaller ones may be labels
    allowed = set(split.train.tolist())
    if setting == "transductive":
        allowed |= set(split.test_unseen.tolist())
    assert images <= allowed
    embeddings = {-value - 1 for value in values if value < 0}
    assert embeddings == set(split.seen if setting == "inductive" else [*split.seen, *split.unseen])


def test_the_walk_finds_what_hides_behind_a_slice():
    hidden, array = torch.arange(1000.0, 1010.0), np.arange(2000.0, 2010.0)
    view = TrainView("inductive", hidden[:1], hidden[:1], ("anything", array[:1]))
    assert {1009.0, 2009.0} <= reachable_values(view)


@given(problems(), st.sampled_from(SETTINGS))
@settings(deadline=None)
def test_a_train_view_gives_each_image_its_class_and_nothing_of_test_labels(data, setting):
    view = data.train_view(setting)
    np.testing.assert_array_equal(view.x[:, 0].numpy() - 1, data.train)
    of_image = [view.classes.names[position] for position in view.y.tolist()]
    assert of_image == [data.class_names[label] for label in data.labels[data.train]]
    assert len(view.y) == len(data.train)
    assert view.classes.seen[view.y].all()


@given(problems())
@settings(deadline=None)
def test_unlabelled_images_are_those_of_test_unseen_and_only_in_the_transductive_setting(data):
    rows = data.train_view("transductive").unlabelled[:, 0].numpy().astype(int) - 1
    assert sorted(rows) == sorted(data.test_unseen)
    assert data.train_view("semantic-transductive").unlabelled is None


def test_unlabelled_images_are_not_sorted_by_class():
    labels = np.repeat(np.arange(5), 40)
    features = np.arange(200, dtype=np.float32)[:, None]
    rows = {"train": np.arange(5, 80), "test_seen": np.arange(5), "test_unseen": np.arange(80, 200)}
    data = small(labels=labels, features=features, **rows)
    order = labels[data.train_view("transductive").unlabelled[:, 0].numpy().astype(int)]
    assert (np.diff(order) != 0).sum() > 40  # 2 if sorted, 79 expected of 3 classes in random order


@given(problems(), st.sampled_from([None, 0, 1]))
@settings(deadline=None)
def test_a_test_view_lists_seen_then_unseen_images_with_their_classes(data, fold):
    split, view = data.split_for(fold), data.test_view(fold)
    assert view.images.tolist() == [*split.test_seen, *split.test_unseen]
    names = [view.classes.names[position] for position in view.y]
    assert names == [data.class_names[label] for label in data.labels[view.images]]
    assert view.seen.tolist() == [True] * len(split.test_seen) + [False] * len(split.test_unseen)
    np.testing.assert_array_equal(view.x(slice(0, 2))[:, 0].numpy() - 1, view.images[:2])


def test_a_view_shares_no_memory_with_the_data():
    """A tensor made from a slice of an array hides the whole array from the walk above; this finds it."""
    labels = np.repeat(np.arange(5), 4)
    rows = {"train": np.arange(7), "test_seen": np.array([7]), "test_unseen": np.arange(8, 20)}
    data = small(labels=labels, features=np.eye(20, 2, dtype=np.float32), **rows)
    arrays = [data.features, data.labels, data.semantics, data.train]
    for setting in SETTINGS:
        view = data.train_view(setting)
        tensors = [view.x, view.y, view.semantics, view.classes.seen]
        tensors += [] if view.unlabelled is None else [view.unlabelled]
        assert not any(np.shares_memory(tensor.numpy(), array) for tensor in tensors for array in arrays)


def small(**changes: Any) -> ZSLData:
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4])
    values = {
        "name": "small",
        "features_name": "numbers",
        "features": np.arange(28, dtype=np.float32).reshape(14, 2),
        "labels": labels,
        "semantics": np.eye(5, dtype=np.float32),
        "class_names": tuple("abcde"),
        "train": np.array([0, 1, 3, 4, 6, 7, 9, 10]),
        "test_seen": np.array([2, 5, 8, 11]),
        "test_unseen": np.array([12, 13]),
    }
    return ZSLData(**{**values, **changes})


def test_the_fingerprint_changes_with_every_array_that_decides_a_run():
    base = small()
    others = [
        small(features=base.features + 1),
        small(semantics=base.semantics * 2),
        small(train=base.train[::-1]),
        small(test_seen=base.test_seen[:3]),
        small(validation_folds=(np.array([1, 2]),)),
        small(features=None),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == 1 + len(others)
    assert small(name="other", class_names=tuple("vwxyz")).fingerprint == base.fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": np.array([0] * 13 + [5])}, "labels run from 1 to 6"),
        ({"train": np.array([], dtype=int)}, "part trainval is empty"),
        ({"test_seen": np.array([2, 14])}, "test_seen points outside the 14 images"),
        ({"test_seen": np.array([0])}, "share images"),
        ({"test_seen": np.array([5]), "test_unseen": np.array([2, 12])}, "class 'a' is both seen and unseen"),
        ({"test_seen": np.array([13]), "test_unseen": np.array([12])}, "which has no training image"),
        ({"features": np.zeros((3, 2), dtype=np.float32)}, r"shape \(3, 2\) for 14 labels"),
        ({"features": np.full((14, 2), np.inf, dtype=np.float32)}, "28 values are NaN or infinite"),
        ({"validation_folds": (np.array([4]),)}, "validation classes must be some of the seen"),
        ({"validation_folds": (np.arange(5),)}, "validation classes must be some of the seen"),
        ({"class_names": ("a",)}, "1 class names for 5"),
    ],
)
def test_inconsistent_data_is_refused_in_one_line(changes, message):
    with pytest.raises(DataError, match=message):
        small(**changes)


def test_too_few_seen_classes_to_cut_from_are_said_to_be_too_few():
    data = small(train=np.array([0, 1, 3, 4]), test_seen=np.array([2, 5]), test_unseen=np.array([6, 9, 12]))
    with pytest.raises(DataError, match="2 seen classes are too few"):
        data.split_for(1)


def test_real_folds_stay_within_trainval_whatever_v1_lists(real_data):
    data = gbu.SUN.load_labels(real_data, "att_splits_v1")
    cut = data.split_for(0)
    assert len(cut.unseen) == 65  # 1040 of v2's val images, 16 of each class
    assert len(cut.test_unseen) == 1040
    assert set(np.concatenate([cut.train, cut.test_seen, cut.test_unseen])) == set(data.train)
