"""Texts of classes in the files that people have: lines of a .txt, pooled vectors, names that only people can match."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zslbench import TextEncoder
from zslbench.errors import DataError
from zslbench.preparation.semantics import embed
from zslbench.preparation.texts import is_texts, named_texts, read_renames, read_texts

NAMES = ("001.Polar_bear", "002.Grizzly+bear")


class Counting(TextEncoder):
    """Length of a text, and minus its number of blanks."""

    def encode(self, texts: Sequence[str]) -> Any:
        return np.array([[len(text), -text.count(" ")] for text in texts], dtype=np.float32)


def written(folder: Path, content: str, name: str = "texts.txt") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.filterwarnings("ignore::zslbench.errors.Hint")
def test_a_line_of_a_txt_is_a_class_and_a_text(tmp_path: Path) -> None:
    path = written(tmp_path, "polar bear: white: like snow\n\npolar bear\tlives on ice\nGrizzly Bear : brown\n")
    assert is_texts(path)
    assert read_texts(path, NAMES) == {NAMES[0]: ["white: like snow", "lives on ice"], NAMES[1]: ["brown"]}
    with pytest.raises(DataError, match="line 2 is not `CLASS: TEXT`"):
        read_texts(written(tmp_path, "polar bear: white\nbrown\n"))


@pytest.mark.parametrize("line", ["the 0.418 0.24968", "the\t0.418\t0.24968", "400000 50", ": 0.1 0.2", "a b"])
def test_word_vectors_are_no_texts(tmp_path: Path, line: str) -> None:
    assert not is_texts(written(tmp_path, f"{line}\n"))


def test_max_is_the_largest_of_each_value_over_the_texts_of_a_class() -> None:
    texts = {"a": ["one two", "three"], "b": ["x y z"]}
    assert embed(texts, Counting(), "counting").tolist() == [[6, -0.5], [5, -2]]
    assert embed(texts, Counting(), "counting", "max").tolist() == [[7, 0], [5, -2]]


@pytest.mark.filterwarnings("ignore::zslbench.errors.Hint")
def test_a_file_of_renames_says_what_no_rule_matches(tmp_path: Path) -> None:
    texts = written(tmp_path, '{"Ursus maritimus": "white", "grizzly bear": ["brown", "large"]}', "texts.json")
    with pytest.raises(DataError, match=r"'001\.Polar_bear'"):
        named_texts(texts, NAMES)
    renames = read_renames(written(tmp_path, "name,class\nUrsus maritimus,polar bear\n", "r.csv"), NAMES)
    assert renames == {"Ursus maritimus": NAMES[0]}
    assert named_texts(texts, NAMES, renames) == {
        NAMES[0]: ("Ursus maritimus", ["white"]),
        NAMES[1]: ("grizzly bear", ["brown", "large"]),
    }
    with pytest.raises(DataError, match=r"it has no class 'Ursus', which --rename names"):
        named_texts(texts, NAMES, {"Ursus": NAMES[0]})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,wolf", "class 'wolf' is not in the data"),
        ("a\nb", "two columns are needed"),
        ("a,polar bear\nb,polar bear", "'polar bear' is there twice"),
    ],
)
def test_wrong_renames_are_one_line(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said) as error:
        read_renames(written(tmp_path, content, "r.csv"), NAMES)
    assert "\n" not in str(error.value)
