"""Tests between rows: known tests in special cases, honest error rates, Holm and letters by hand."""

from __future__ import annotations

import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from zslbench.evaluation.accuracy import class_share
from zslbench.evaluation.significance import Comparison, Difference, Estimate, compare_rows, holm, letters

Array = NDArray[np.float64]


def accuracy(credit: Array, y: NDArray[np.int64]) -> Estimate:
    """Per-class accuracy of images of one side, and its influence."""
    share = class_share(y) * credit
    return Estimate(float(share.sum()), share)


def over_seeds(*values: float, images: int = 4) -> list[Estimate]:
    """Seeds that differ only in value, with nothing to learn from images."""
    return [Estimate(value, np.zeros(images)) for value in values]


def pair(rows: dict[str, list[Estimate]], y: NDArray[np.int64]) -> Difference:
    (difference,) = compare_rows(rows, y).differences
    return difference


def test_one_class_and_one_seed_is_the_paired_t_test_over_images() -> None:
    random = np.random.default_rng(0)
    a, b = (random.random(40) < p for p in (0.8, 0.5))
    y = np.zeros(40, dtype=np.int64)
    found = pair({"a": [accuracy(a, y)], "b": [accuracy(b, y)]}, y)
    expected = stats.ttest_rel(a.astype(float), b.astype(float))
    assert (found.better, found.worse) == ("a", "b")
    assert found.difference == pytest.approx(a.mean() - b.mean())
    assert found.difference / found.standard_error == pytest.approx(expected.statistic)
    assert found.degrees_of_freedom == pytest.approx(39)
    assert found.p == found.corrected == pytest.approx(expected.pvalue)


def test_two_classes_of_unequal_size_are_two_samples_of_welchs_test() -> None:
    random = np.random.default_rng(1)
    y = np.repeat([0, 1], [12, 50])
    a, b = random.random(62), random.random(62) + 0.1
    found = pair({"a": [accuracy(a, y)], "b": [accuracy(b, y)]}, y)
    expected = stats.ttest_ind((b - a)[y == 0], (a - b)[y == 1], equal_var=False)  # mean of both classes' differences
    assert found.difference / found.standard_error == pytest.approx(expected.statistic)
    assert found.degrees_of_freedom == pytest.approx(expected.df)
    assert found.p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("b", [(0.5, 0.56, 0.51), (0.5, 0.56, 0.51, 0.55, 0.49)])
def test_with_seeds_alone_it_is_welchs_test_over_seeds(b: tuple[float, ...]) -> None:
    a = (0.61, 0.58, 0.66)
    found = pair({"b": over_seeds(*b), "a": over_seeds(*a)}, np.array([0, 0, 1, 1]))
    expected = stats.ttest_ind(a, b, equal_var=False)
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert found.degrees_of_freedom == pytest.approx(expected.df)
    assert found.p == pytest.approx(expected.pvalue)


def test_a_row_of_one_seed_is_a_constant() -> None:
    a = (0.61, 0.58, 0.66)
    found = pair({"a": over_seeds(*a), "b": over_seeds(0.5)}, np.array([0, 0, 1, 1]))
    assert found.p == pytest.approx(stats.ttest_1samp(a, 0.5).pvalue)


def test_images_and_seeds_add_up() -> None:
    random = np.random.default_rng(2)
    y = np.zeros(25, dtype=np.int64)
    credits = random.random((3, 25))  # the seeds of row a
    found = pair({"a": [accuracy(credit, y) for credit in credits], "b": [accuracy(np.zeros(25), y)]}, y)
    images = stats.sem(credits.mean(axis=0)) ** 2
    seeds = stats.sem(credits.mean(axis=1)) ** 2
    assert found.standard_error == pytest.approx((images + seeds) ** 0.5)
    assert found.degrees_of_freedom == pytest.approx((images + seeds) ** 2 / (images**2 / 24 + seeds**2 / 2))


def test_rows_are_compared_on_the_same_images() -> None:
    y = np.repeat([0, 1], 50)
    hard = np.tile([0.0, 1.0], 50)  # both rows fail on the same images, one on two more of each class
    better = accuracy(hard, y)
    hard[[1, 3, 51, 53]] = 0
    found = pair({"better": [better], "worse": [accuracy(hard, y)]}, y)
    assert found.difference == pytest.approx(0.04)
    assert found.standard_error == pytest.approx((0.04 * 0.96 / 49 / 2) ** 0.5)  # unpaired: 0.07


def test_identical_rows_are_equal_and_rows_without_any_spread_are_not() -> None:
    y = np.array([0, 0, 1, 1])
    credit = np.array([1.0, 0.0, 1.0, 1.0])
    one, three = [accuracy(credit, y)], [accuracy(credit, y)] * 3
    assert pair({"a": one, "b": three}, y).p == 1
    apart = pair({"all": [accuracy(np.ones(4), y)], "none": [accuracy(np.zeros(4), y)]}, y)
    assert (apart.standard_error, apart.p, apart.corrected) == (0.0, 0.0, 0.0)
    thirds = over_seeds(0.1, 0.1, 0.1)  # whose mean is not 0.1 in floating point
    assert pair({"a": thirds, "b": over_seeds(0.1)}, y).p == 1


def test_where_lower_is_better_the_lowest_row_leads_and_nothing_else_changes() -> None:
    random = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 30)
    errors = {label: random.random(len(y)) + shift for label, shift in (("a", 0.0), ("b", 0.3), ("c", 0.31))}
    rows = {label: [Estimate(float(e.mean()), e / len(y))] for label, e in errors.items()}
    highest, lowest = compare_rows(rows, y), compare_rows(rows, y, higher_is_better=False)
    assert list(lowest.letters) == list(highest.letters)[::-1]
    assert lowest.letters["a"] == "a" and set(lowest.letters["b"]) & set(lowest.letters["c"])
    by_pair = {frozenset((pair.better, pair.worse)): pair for pair in highest.differences}
    for pair in lowest.differences:
        other = by_pair[frozenset((pair.better, pair.worse))]
        assert (pair.better, pair.worse) == (other.worse, other.better)
        assert pair.difference == pytest.approx(other.difference) and pair.difference > 0
        assert pair.p == pytest.approx(other.p)


def test_one_row_or_none_needs_no_test() -> None:
    y = np.array([0, 0, 1, 1])
    assert compare_rows({"only": over_seeds(0.5)}, y) == Comparison((), {"only": "a"}, 0.05)
    assert compare_rows({}, y) == Comparison((), {}, 0.05)


def test_rows_on_other_images_are_refused() -> None:
    rows = {"a": over_seeds(0.5), "b": over_seeds(0.5, images=5)}
    with pytest.raises(ValueError, match="b: its influences"):
        compare_rows(rows, np.array([0, 0, 1, 1]))


def simulated(random: np.random.Generator, lead: float = 0.0) -> dict[str, list[Estimate]]:
    """Two rows of three seeds on 8 classes of 20 images: hard images, images that suit a row, good and bad seeds."""
    y = np.repeat(np.arange(8), 20)
    ease = random.normal(size=160)
    rows = {}
    for name, ahead in (("a", lead), ("b", 0.0)):
        suits = 0.7 * random.normal(size=160)
        rows[name] = []
        for _ in range(3):
            score = ease + suits + ahead + 0.1 * random.normal() + 0.3 * random.normal(size=160)
            rows[name].append(accuracy(score > 0, y))
    return rows


def test_equal_rows_are_told_apart_as_often_as_alpha_says() -> None:
    random = np.random.default_rng(3)
    y = np.repeat(np.arange(8), 20)
    p = np.array([pair(simulated(random), y).p for _ in range(600)])
    assert 0.02 < (p < 0.05).mean() < 0.09
    assert 0.3 < (p < 0.5).mean() < 0.6


def test_an_obvious_lead_is_found() -> None:
    random = np.random.default_rng(4)
    y = np.repeat(np.arange(8), 20)
    found = [pair(simulated(random, lead=1.0), y) for _ in range(50)]
    assert np.mean([difference.better == "a" and difference.p < 0.05 for difference in found]) > 0.95


def test_a_table_of_equal_rows_rarely_tells_any_apart_although_seeds_are_few() -> None:
    random = np.random.default_rng(5)
    y = np.repeat(np.arange(4), 25)
    wrong = 0
    for _ in range(200):
        images = random.normal(size=100)
        rows = {}
        for row in range(8):
            own = (images + random.normal(size=100)) / 100
            seeds = own.sum() + 0.3 * random.normal(size=3)  # against 0.14 from images
            rows[str(row)] = [Estimate(value, own) for value in seeds]
        wrong += any(pair.corrected < 0.05 for pair in compare_rows(rows, y).differences)
    assert wrong / 200 < 0.12  # pairing by seed, with 2 degrees of freedom, comes to 0.2


def test_holm_by_hand() -> None:
    # 4 x 0.005 = 0.02; 3 x 0.01 = 0.03; 2 x 0.03 = 0.06; 1 x 0.04 may not be less than 0.06
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.6, 0.9])) == pytest.approx([1.0, 1.0])
    assert holm(np.array([])).shape == (0,)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.999))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float], alpha: float) -> None:
    rejected = set()
    for step, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[i] * (len(p) - step) >= alpha:
            break
        rejected.add(i)
    assert set(np.flatnonzero(holm(np.array(p)) < alpha)) == rejected


@pytest.mark.parametrize(
    ("ranked", "different", "expected"),
    [
        ("xyz", ["xz"], ["a", "ab", "b"]),
        ("xyz", [], ["a", "a", "a"]),
        ("xyz", ["xy", "xz", "yz"], ["a", "b", "c"]),
        ("xyz", ["xy"], ["a", "b", "ab"]),  # a noisy third row is like both
        ("wxyz", ["wy", "wz", "xz"], ["a", "ab", "bc", "c"]),
        ("wxyz", ["wx", "yz"], ["ab", "cd", "ac", "bd"]),  # a ring of four
        # cliques uvy, uwx, uwy, vz, found in another order than that of their rows
        ("uvwxyz", ["uz", "vw", "vx", "wz", "xy", "xz", "yz"], ["abc", "ad", "bc", "b", "ac", "d"]),
        # x is like u and v, y like v and w, z like u and w: that u, v, w are alike needs no letter of its own
        ("uvwxyz", ["uy", "vz", "wx", "xy", "xz", "yz"], ["ab", "ac", "bc", "a", "c", "b"]),
    ],
)
def test_letters_by_hand(ranked: str, different: list[str], expected: list[str]) -> None:
    found = letters(ranked, [(pair[0], pair[1]) for pair in different])
    assert list(found.values()) == expected


@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.booleans(), min_size=66, max_size=66))))
def test_rows_share_a_letter_if_and_only_if_they_are_not_different(case: tuple[int, list[bool]]) -> None:
    rows = [f"row {i}" for i in range(case[0])]
    pairs = list(combinations(rows, 2))
    different = {pair for pair, apart in zip(pairs, case[1], strict=False) if apart}
    found = letters(rows, different)
    tokens = {row: set(re.findall(r"[a-z]\d*", text)) for row, text in found.items()}
    assert list(found) == rows
    assert all(tokens.values()) and "a" in tokens[rows[0]]
    for a, b in pairs:
        assert bool(tokens[a] & tokens[b]) == ((a, b) not in different)


def test_letters_go_on_after_z_and_take_no_exponential_time() -> None:
    rows = [f"row {i}" for i in range(40)]
    found = letters(rows, {(a, b) for a, b in combinations(rows, 2)})
    assert list(found.values())[24:28] == ["y", "z", "a1", "b1"]
    partners = {(rows[i], rows[i + 1]) for i in range(0, 40, 2)}  # 2^20 maximal cliques
    tokens = {row: set(re.findall(r"[a-z]\d*", text)) for row, text in letters(rows, partners).items()}
    assert all(bool(tokens[a] & tokens[b]) == ((a, b) not in partners) for a, b in combinations(rows, 2))


def test_letters_of_a_comparison_follow_its_corrected_p() -> None:
    values = {"low": 0.75, "high": 0.80, "middle": 0.775}
    rows = {label: over_seeds(value - 0.01, value, value + 0.01) for label, value in values.items()}
    comparison = compare_rows(rows, np.array([0, 0, 1, 1]))
    assert comparison.letters == {"high": "a", "middle": "ab", "low": "b"}
    assert [(d.better, d.worse) for d in comparison.differences] == [
        ("high", "middle"),
        ("high", "low"),
        ("middle", "low"),
    ]
    near, far = (float(2 * stats.t.sf(lead / (0.01 * (2 / 3) ** 0.5), 4)) for lead in (0.025, 0.05))
    assert near < 0.05 < 2 * near  # so that alone each would be told apart
    assert [d.p for d in comparison.differences] == pytest.approx([near, far, near])
    assert [d.corrected for d in comparison.differences] == pytest.approx([2 * near, 3 * far, 2 * near])
