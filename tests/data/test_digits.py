"""`digits`: real handwritten digits described by the segments of a display."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from zslbench.errors import DataError
from zslbench_datasets.digits import digits

NOWHERE = Path("no folder is needed")
SEGMENTS_LIT = [6, 2, 5, 5, 4, 5, 6, 3, 7, 6]  # of the digits 0 to 9, counted on a display


def test_the_sizes_are_those_of_the_card():
    data, sizes = digits.load(NOWHERE), digits.card.sizes
    assert (len(data.labels), len(data.split.seen), len(data.split.unseen)) == (1797, 7, 3)
    assert (len(data.train), len(data.test_seen), len(data.test_unseen)) == (1009, 248, 540)
    assert (sizes.trainval, sizes.test_seen, sizes.test_unseen) == (1009, 248, 540)


def test_2_4_5_are_unseen():
    data = digits.load(NOWHERE)
    assert [data.class_names[c] for c in data.split.unseen] == ["2", "4", "5"]
    assert [data.class_names[c] for c in data.split.seen] == ["0", "1", "3", "6", "7", "8", "9"]


def test_a_fifth_of_each_seen_class_is_in_test_seen():
    data = digits.load(NOWHERE)
    for c in data.split.seen:
        share = (data.labels[data.test_seen] == c).sum() / (data.labels == c).sum()
        assert 0.19 < share <= 0.2


def test_features_are_the_real_pixels_in_the_unit_interval():
    data, original = digits.load(NOWHERE), load_digits()
    np.testing.assert_allclose(data.features * 16, original.data, rtol=1e-6)
    np.testing.assert_array_equal(data.labels, original.target)
    assert data.features.shape == (1797, 64)
    assert (data.features.min(), data.features.max()) == (0, 1)


def test_class_embeddings_are_normalised_segments():
    semantics = digits.load(NOWHERE).semantics
    np.testing.assert_allclose(np.linalg.norm(semantics, axis=1), 1, rtol=1e-6)
    assert (semantics > 0).sum(axis=1).tolist() == SEGMENTS_LIT
    assert len(np.unique(semantics, axis=0)) == 10
    # an 8 lights all; a 0 lacks the middle bar g, a 6 the upper right b, a 9 the lower left e
    dark = {digit: np.flatnonzero(semantics[digit] == 0).tolist() for digit in (0, 6, 8, 9)}
    assert dark == {0: [6], 6: [1], 8: [], 9: [4]}


def test_it_is_the_same_each_time_and_no_benchmark():
    assert digits.load(NOWHERE).fingerprint == digits.load(NOWHERE).fingerprint
    assert not digits.card.benchmark


@pytest.mark.parametrize("options", [{"features": "res101"}, {"splits": "att_splits_v1"}])
def test_other_features_and_splits_are_refused(options):
    assert digits.missing(NOWHERE, **options)
    with pytest.raises(DataError, match="data set digits has no"):
        digits.load(NOWHERE, **options)
