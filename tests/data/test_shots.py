"""Fewer training images: how many, which, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import toy_data

from zslbench import ZSLData
from zslbench.errors import NotApplicable
from zslbench.runs.shots import read_shots, scarce

DATA = toy_data(seen=5, images=12)
FEW = settings(max_examples=25, deadline=None)


def counts(data: ZSLData) -> list[int]:
    return [int((data.labels[data.train] == c).sum()) for c in data.split.seen]


@FEW
@given(st.integers(1, 20), st.integers(0, 5))
def test_each_class_has_so_many_images_or_all_that_it_has(shots: int, seed: int) -> None:
    assert counts(DATA.with_shots(shots, seed)) == [min(shots, own) for own in counts(DATA)]


@FEW
@given(st.floats(0.01, 0.99), st.integers(0, 5))
def test_a_share_is_rounded_and_leaves_one_image_at_least(share: float, seed: int) -> None:
    assert counts(DATA.with_shots(share, seed)) == [max(1, round(share * own)) for own in counts(DATA)]


@FEW
@given(st.lists(st.integers(1, 12), min_size=2, max_size=4), st.integers(0, 5))
def test_the_images_of_fewer_shots_are_among_those_of_more(shots: list[int], seed: int) -> None:
    drawn = [set(DATA.with_shots(n, seed).train.tolist()) for n in sorted(shots)]
    assert all(few <= more for few, more in pairwise(drawn))


def test_the_seed_alone_draws_and_draws_every_image_as_often() -> None:
    times = np.zeros(len(DATA.labels))
    for seed in range(600):
        times[DATA.with_shots(2, seed).train] += 1
    for c in DATA.split.seen:
        own = DATA.train[DATA.labels[DATA.train] == c]
        assert times[own] == pytest.approx(600 * 2 / len(own), rel=0.3)
    other = replace(DATA, features=DATA.features * 2, train=DATA.train[::-1].copy(), name="other features")
    assert set(other.with_shots(3, 1).train) == set(DATA.with_shots(3, 1).train)


def test_test_images_classes_and_unlabelled_images_stay() -> None:
    few = DATA.with_shots(1, 0)
    assert few.test_view().images.tolist() == DATA.test_view().images.tolist()
    assert few.test_view().classes.names == DATA.test_view().classes.names
    before, after = DATA.train_view("transductive"), few.train_view("transductive")
    assert after.classes.names == before.classes.names and after.unlabelled.equal(before.unlabelled)
    assert len(after.x) == len(DATA.split.seen)
    assert len(DATA.train) > len(few.train)  # the original is as it was
    assert DATA.fingerprint == toy_data(seen=5, images=12).fingerprint != few.fingerprint


def test_validation_classes_are_cut_from_what_is_left() -> None:
    few = DATA.with_shots(3, 0)
    cut = few.split_for(0)
    used = np.concatenate([cut.train, cut.test_seen, cut.test_unseen])
    assert sorted(used.tolist()) == sorted(few.train.tolist())


def test_with_one_image_a_class_none_can_be_held_out() -> None:
    with pytest.raises(NotApplicable, match="none can be held out"):
        DATA.with_shots(1, 0).split_for(0)


def test_what_is_typed_is_a_number_of_images_a_share_or_all() -> None:
    assert read_shots("1,2, 0.25,all") == (1, 2, 0.25, None)
    assert read_shots([4, 4.0, None]) == (4, None)
    assert read_shots(None) == (None,)
    for wrong in ("0", "-1", "1.5", "few", "nan", "inf", True, "2,"):
        with pytest.raises(ValueError, match="whole number of images"):
            read_shots(wrong)


def test_scarce_classes_are_counted_once_for_each_data_set() -> None:
    most = max(counts(DATA))
    fewer = sum(own < most for own in counts(DATA))
    assert scarce([(DATA, 1), (DATA, None)]) == []
    lines = scarce([(DATA, most + 1), (DATA, most + 1), (DATA, most)])
    assert lines[0] == f"--shots {most + 1}: 5 of 5 seen classes of toy have fewer training images, and keep all"
    assert len(lines) == 1 + (fewer > 0)
