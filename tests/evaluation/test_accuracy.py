"""Per-class accuracy, the harmonic mean, bootstrap weights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score

from zslbench.evaluation import measuring
from zslbench.evaluation.accuracy import accuracy_by_class, draw_weights, harmonic_mean, per_class_accuracy

images = st.lists(st.tuples(st.integers(0, 4), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=1, max_size=30)


@given(images)
def test_per_class_accuracy_equals_a_loop_over_the_classes(images: list[tuple[int, float]]) -> None:
    y, credit = np.array([c for c, _ in images]), np.array([value for _, value in images])
    accuracies = []
    for c in sorted(set(y.tolist())):
        own = [value for label, value in images if label == c]
        accuracies.append(sum(own) / len(own))
    assert per_class_accuracy(credit, y, np.ones((1, len(y))))[0] == pytest.approx(sum(accuracies) / len(accuracies))
    assert list(accuracy_by_class(credit, y).values()) == pytest.approx(accuracies)


def test_per_class_accuracy_is_scikit_learns_balanced_accuracy() -> None:
    random = np.random.default_rng(0)
    y, predicted = random.integers(6, size=200), random.integers(6, size=200)
    ours = per_class_accuracy((y == predicted).astype(float), y, np.ones((1, 200)))[0]
    assert ours == pytest.approx(balanced_accuracy_score(y, predicted))


def test_every_class_counts_alike_however_many_images_it_has() -> None:
    y, credit = np.array([0] * 9 + [1]), np.array([1.0] * 9 + [0.0])
    assert per_class_accuracy(credit, y, np.ones((1, 10)))[0] == pytest.approx(0.5)  # 0.9 per image


def test_weights_count_an_image_as_often_as_it_was_drawn() -> None:
    y, credit = np.array([0, 0, 1, 1]), np.array([1.0, 0.0, 1.0, 0.0])
    drawn = np.array([[2, 0, 1, 1], [0, 2, 0, 2], [2, 0, 2, 0]])
    assert per_class_accuracy(credit, y, drawn).tolist() == [0.75, 0.0, 1.0]


def test_accuracy_over_no_image_is_nan() -> None:
    nothing = np.array([], dtype=np.int64)
    assert np.isnan(per_class_accuracy(nothing.astype(float), nothing, np.ones((2, 0)))).all()


def test_harmonic_mean_by_hand_and_zero_where_both_are_zero() -> None:
    h = harmonic_mean(np.array([0.5, 0.4, 0.0, 0.0]), np.array([0.25, 0.4, 0.7, 0.0]))
    assert h == pytest.approx([1 / 3, 0.4, 0.0, 0.0])


def test_bootstrap_draws_from_each_class_as_many_images_as_it_has() -> None:
    y = np.array([2, 0, 2, 2, 1, 0, 2])
    drawn = draw_weights(y, 300)
    assert drawn.shape == (300, 7)
    assert (drawn >= 0).all() and (drawn == np.round(drawn)).all()
    for c, count in {0: 2, 1: 1, 2: 4}.items():
        assert (drawn[:, y == c].sum(axis=1) == count).all()
    assert len(np.unique(drawn, axis=0)) > 20  # with replacement, and not the same draw again


def test_bootstrap_draws_every_image_of_a_class_with_the_same_probability() -> None:
    y = np.repeat([0, 1], [5, 20])
    mean = draw_weights(y, 4000).mean(axis=0)
    deviation = np.sqrt((1 - 1 / np.repeat([5, 20], [5, 20])) / 4000)  # of a binomial count of mean 1
    assert (np.abs(mean - 1) < 5 * deviation).all()


def test_bootstrap_is_repeatable_and_seeds_differ() -> None:
    y = np.repeat([0, 1], 10)
    assert (draw_weights(y, 5, seed=3) == draw_weights(y, 5, seed=3)).all()
    assert (draw_weights(y, 5, seed=3) != draw_weights(y, 5, seed=4)).any()


@pytest.mark.parametrize("held", [0, 10, 2**24])
def test_replicates_are_as_many_as_asked_for_however_few_are_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    monkeypatch.setattr(measuring, "WEIGHTS_AT_ONCE", held)
    y = np.array([3, 3, 0, 3, 0])
    draws = measuring.replicates_of(y, 120)
    first, again = (np.concatenate(list(draws)) for _ in range(2))
    assert first.shape == (120, 5) and (first == again).all()
    assert max(map(len, draws)) == {0: 1, 10: 2, 2**24: 50}[held]
    for c in (0, 3):
        assert (first[:, y == c].sum(axis=1) == (y == c).sum()).all()
