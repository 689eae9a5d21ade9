"""Splits by GBU's rules, as properties that hold for any labels, and the files that override them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zslbench.errors import DataError, Hint, UsageError
from zslbench.preparation.splits import Roles, draw_unseen, make_split, named_unseen, read_roles

PARTS = ("trainval_loc", "test_seen_loc", "test_unseen_loc")

counts_of_images = st.lists(st.integers(2, 40), min_size=6, max_size=12)
seeds = st.integers(0, 5)


def names_of(counts: list[int]) -> tuple[str, ...]:
    return tuple(f"class {c}" for c in range(len(counts)))


def split_of(counts: list[int], roles: Roles, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    labels = np.repeat(np.arange(len(counts)), counts)
    return labels, make_split(labels, names_of(counts), [""] * len(labels), roles, seed, "here")


@given(counts_of_images, seeds, st.floats(0.05, 0.3))
def test_parts_keep_the_rules_of_the_gbu_split(counts: list[int], seed: int, share: float) -> None:
    roles = draw_unseen(names_of(counts), share, seed)
    labels, split = split_of(counts, roles, seed)
    trainval, test_seen, test_unseen = (split[part] for part in PARTS)

    assert sorted(np.concatenate([trainval, test_seen, test_unseen])) == list(range(len(labels)))
    unseen = {int(name.removeprefix("class ")) for name in roles.unseen}
    assert len(unseen) == max(2, round(share * len(counts)))
    assert set(labels[test_unseen]) == unseen
    assert sum(counts[c] for c in unseen) == len(test_unseen)
    for c in set(range(len(counts))) - unseen:
        held_out = int((labels[test_seen] == c).sum())
        assert 1 <= held_out < counts[c]
        assert held_out == 1 or abs(held_out - counts[c] / 5) <= 0.5  # GBU: about 20 %

    train, validation = split["train_loc"], split["val_loc"]
    assert sorted([*train, *validation]) == sorted(trainval)
    assert not set(labels[train]) & set(labels[validation])
    assert len(set(labels[validation])) >= 2
    assert len(set(labels[train])) >= 2


@given(counts_of_images, seeds)
def test_the_same_seed_gives_the_same_split(counts: list[int], seed: int) -> None:
    first, second = (split_of(counts, draw_unseen(names_of(counts), 0.3, seed), seed)[1] for _ in range(2))
    assert all(np.array_equal(first[part], second[part]) for part in first)


def test_another_seed_draws_other_classes_and_images() -> None:
    counts = [20] * 30
    drawn = {draw_unseen(names_of(counts), 0.2, seed).unseen for seed in range(5)}
    assert len(drawn) == 5
    held_out = {tuple(split_of(counts, Roles(("class 0", "class 1")), seed)[1]["test_seen_loc"]) for seed in range(5)}
    assert len(held_out) == 5


@given(counts_of_images, seeds)
def test_validation_classes_of_a_file_are_val_loc(counts: list[int], seed: int) -> None:
    labels, split = split_of(counts, Roles(("class 0", "class 1"), ("class 2", "class 3")), seed)
    assert set(labels[split["val_loc"]]) == {2, 3}


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, 0.9])
def test_a_share_that_leaves_no_problem_is_a_wrong_command(share: float) -> None:
    with pytest.raises(UsageError, match="--random-unseen"):
        draw_unseen(names_of([2] * 10), share, 0)


def test_an_unknown_unseen_class_is_a_wrong_command() -> None:
    with pytest.raises(UsageError, match="no images of 'clas 1'; did you mean 'class 1'"):
        named_unseen(names_of([2] * 8), "class 0, clas 1")
    with pytest.raises(UsageError, match=r"no images of 'unicorn'; nor of 'clas 7'; did you mean 'class 7'"):
        named_unseen(names_of([2] * 8), "unicorn, class 0, clas 7")


def test_unseen_classes_may_be_written_as_people_write_them() -> None:
    with pytest.warns(Hint, match="'Class_3' is taken for 'class 3', and likewise 1 more"):
        assert named_unseen(names_of([2] * 8), "Class_3, class-1").unseen == ("class 3", "class 1")


def test_too_few_classes_are_named() -> None:
    with pytest.raises(DataError, match="7 seen and 1 unseen classes; at least 4 and 2 are needed"):
        named_unseen(names_of([2] * 8), "class 0")


CLASSES = tuple("abcdefg")
IMAGES = [f"{c}/{i}.png" for c in CLASSES for i in range(2)]
LABELS = np.repeat(np.arange(7), 2)


def roles_from(path: Path, lines: list[str]) -> Roles:
    path.write_text("\n".join(lines) + "\n")
    return read_roles(path, CLASSES, IMAGES)


def test_a_file_of_roles_says_which_classes_are_what(tmp_path: Path) -> None:
    lines = ["class,role", *(f"{c},seen" for c in "abc"), "d,validation", "e,validation", "f,unseen", "g,unseen"]
    assert roles_from(tmp_path / "s.csv", lines) == Roles(("f", "g"), ("d", "e"))


def test_a_file_of_parts_says_which_images_are_what(tmp_path: Path) -> None:
    lines = ["image,part"]
    for c in CLASSES:
        parts = ("test_unseen", "test_unseen") if c in "fg" else ("trainval", "test_seen")
        lines += [f"{c}/{i}.png,{part}" for i, part in enumerate(parts)]
    lines.remove("g/1.png,test_unseen")
    roles = roles_from(tmp_path / "s.csv", lines)
    split = make_split(LABELS, CLASSES, IMAGES, roles, 0, "here")
    assert split["trainval_loc"].tolist() == [0, 2, 4, 6, 8]
    assert split["test_seen_loc"].tolist() == [1, 3, 5, 7, 9]
    assert split["test_unseen_loc"].tolist() == [10, 11, 12]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["name,role", "a,seen"], "its columns are name,role; class,role or image,part is needed"),
        (
            ["class,role", "a,seeen", "b,un"],
            "class 'a' has the role 'seeen' (and 1 more); seen, validation, unseen are known",
        ),
        (["class,role", *(f"{c},seen" for c in "abcdef")], "class 'g' is missing"),
        (["class,role", *(f"{c},seen" for c in "abcdefH")], "class 'g' is missing; it has 'H' instead"),
        (["class,role", *(f"{c},seen" for c in "abcdefgG")], "'G' differs from 'g' only in case"),
        (["class,role", *(f"{c},seen" for c in "abcdefgg")], "class 'g' is there twice"),
        (["class,role", *(f"{c},seen" for c in CLASSES)], "7 seen and 0 unseen classes"),
        (
            ["class,role", *(f"{c},validation" for c in "abcd"), *(f"{c},unseen" for c in "efg")],
            "at least 2 seen classes that are not for validation",
        ),
        (["image,part", "a/0.png,train"], "image 'a/0.png' has the part 'train'"),
        (["image,part", "a/9.png,trainval"], "not among the images: image 'a/9.png'; did you mean 'a/1.png' or"),
        (["image,part", "a/0.png,trainval", "a/0.png,trainval"], "the image 'a/0.png' is there twice"),
    ],
)
def test_each_fault_of_a_split_file_is_one_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError) as error:
        roles_from(tmp_path / "s.csv", lines)
    assert message in str(error.value)
    assert str(tmp_path / "s.csv") in str(error.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"f/0.png": "trainval"}, "in test_unseen and in trainval: class 'f'"),
        ({"f/0.png": "test_seen"}, "in test_unseen and in test_seen: class 'f'"),
        ({"a/0.png": "test_seen"}, "in test_seen, and without a trainval image: class 'a'"),
        ({f"{c}/0.png": "test_seen" for c in "ac"}, r"without a trainval image: 2 classes \('a', 'c'\)"),
        (dict.fromkeys(IMAGES, "trainval"), "no readable image has the part test_seen"),
    ],
)
def test_parts_that_are_no_zero_shot_split_are_one_line(changed: dict[str, str], message: str) -> None:
    parts = {}
    for c in CLASSES:
        of = ("test_unseen", "test_unseen") if c in "fg" else ("trainval", "test_seen")
        parts |= {f"{c}/{i}.png": part for i, part in enumerate(of)}
    with pytest.raises(DataError, match=message):
        make_split(LABELS, CLASSES, IMAGES, Roles(parts={**parts, **changed}), 0, "here")
