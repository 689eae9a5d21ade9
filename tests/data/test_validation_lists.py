"""GBU's lists of training and validation classes: folds follow them, and what does not fit is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zslbench import XLSA17Dataset, ZSLData
from zslbench.errors import DataError, Hint


@pytest.fixture
def folder(make_xlsa17: Callable[..., Path]) -> Path:
    return make_xlsa17()


def load(folder: Path) -> ZSLData:
    return XLSA17Dataset.at(folder).load(folder.parent)


def seen(folder: Path) -> list[str]:
    data = load(folder)
    return [data.class_names[c] for c in data.split.seen]


def write(folder: Path, fold: int, validation: list[str], train: list[str]) -> None:
    (folder / f"valclasses{fold}.txt").write_text("\n".join(validation) + "\n\n")
    (folder / f"trainclasses{fold}.txt").write_text("\r\n".join(reversed(train)))


def names(data: ZSLData, classes: Any) -> set[str]:
    return {data.class_names[c] for c in classes}


def test_folds_follow_the_lists_and_those_beyond_are_drawn(folder: Path) -> None:
    plain, known = load(folder), seen(folder)
    cuts = [known[:3], known[2:4], known[5:]]
    for fold, validation in enumerate(cuts, 1):
        write(folder, fold, validation, [name for name in known if name not in validation])
    data = load(folder)
    for fold, validation in enumerate(cuts):
        cut = data.split_for(fold)
        assert names(data, cut.unseen) == set(validation)
        assert names(data, cut.seen) == set(known) - set(validation)
    drawn, same = data.split_for(3), plain.split_for(3)  # without lists only fold 0 is suggested, by val_loc
    np.testing.assert_array_equal(drawn.unseen, same.unseen)
    assert len(data.validation_folds) == 3 and len(plain.validation_folds) == 1
    assert data.fingerprint != plain.fingerprint
    inside = data.split_for((1, 1))
    assert set(inside.unseen) <= set(data.split_for(1).seen)


def test_lists_that_name_the_classes_of_val_loc_change_nothing(folder: Path) -> None:
    plain, known = load(folder), seen(folder)
    suggested = names(plain, plain.validation_folds[0])
    write(folder, 1, sorted(suggested), [name for name in known if name not in suggested])
    assert load(folder).fingerprint == plain.fingerprint


MISMATCHES: dict[str, tuple[Callable[[list[str], str], tuple[list[str], list[str]]], str, str]] = {
    "unknown name": (
        lambda known, unseen: ([known[0].replace("class", "clas"), known[1]], known[2:]),
        "valclasses2.txt",
        "{clas} is no class of the data; did you mean {0}",
    ),
    "unknown training name": (
        lambda known, unseen: (known[:2], [*known[2:], "zebra"]),
        "trainclasses2.txt",
        "'zebra' is no class of the data; known: ",
    ),
    "overlap": (
        lambda known, unseen: (known[:2], known[1:]),
        "valclasses2.txt",
        "class {1} is in trainclasses2.txt too; a fold divides the seen classes",
    ),
    "unseen class": (
        lambda known, unseen: ([known[0], unseen], known[1:]),
        "valclasses2.txt",
        "class {unseen} has no trainval image",
    ),
    "unseen training class": (
        lambda known, unseen: (known[:1], [*known[1:], unseen]),
        "trainclasses2.txt",
        "class {unseen} has no trainval image",
    ),
    "missing seen class": (
        lambda known, unseen: (known[:2], known[3:]),
        "valclasses2.txt",
        "the seen class {2} is in neither",
    ),
    "no validation class": (lambda known, unseen: ([], known), "valclasses2.txt", "it names no class"),
    "no training class": (lambda known, unseen: (known, []), "trainclasses2.txt", "it names no class"),
}


@pytest.mark.parametrize("case", MISMATCHES)
def test_a_mismatch_is_one_line_that_names_file_and_class(folder: Path, case: str) -> None:
    data, known = load(folder), seen(folder)
    unseen = data.class_names[data.split.unseen[0]]
    change, file, message = MISMATCHES[case]
    write(folder, 1, known[:2], known[2:])
    write(folder, 2, *change(known, unseen))
    for reader in (load, lambda folder: XLSA17Dataset.at(folder).load_labels(folder.parent)):
        with pytest.raises(DataError) as error:
            reader(folder)
        said = str(error.value)
        message = message.replace("{clas}", repr(known[0].replace("class", "clas"))).replace("{unseen}", repr(unseen))
        for number in range(3):
            message = message.replace(f"{{{number}}}", repr(known[number]))
        assert str(folder) in said and file in said and message in said and "\n" not in said


def test_a_missing_training_list_is_named_with_what_to_do(folder: Path) -> None:
    known = seen(folder)
    write(folder, 1, known[:2], known[2:])
    (folder / "trainclasses1.txt").unlink()
    with pytest.raises(DataError) as error:
        load(folder)
    said = str(error.value)
    assert said.startswith(f"{folder / 'trainclasses1.txt'}: there is no such file")
    assert said.endswith("; add it, or remove the lists of its fold") and "\n" not in said


def test_a_list_that_is_no_text_is_named(folder: Path) -> None:
    known = seen(folder)
    write(folder, 1, known[:2], known[2:])
    (folder / "valclasses1.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"valclasses1\.txt: cannot be read as text \(UnicodeDecodeError"):
        load(folder)


def test_lists_from_elsewhere_are_matched_and_said(folder: Path) -> None:
    known = seen(folder)
    write(folder, 1, known[:3], known[3:])
    plain = load(folder)
    write(folder, 1, ["\ufeff" + known[0].upper(), *known[1:3]], known[3:])
    with pytest.warns(Hint, match=r"valclasses1\.txt: names are matched without regard to case"):
        assert load(folder).fingerprint == plain.fingerprint
