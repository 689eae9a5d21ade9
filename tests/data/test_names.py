"""Names of classes and files: matched only where that is one to one, with what was disregarded said once."""

from __future__ import annotations

import unicodedata
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zslbench.data.names import PATH_WAYS, match, match_all
from zslbench.errors import DataError, Hint

NAMES = ["001.Black_footed_Albatross", "grizzly+bear", "Café_noir", "zebra"]


@pytest.mark.parametrize(
    ("found", "assumed"),
    [
        (NAMES[::-1], ""),
        ([unicodedata.normalize("NFD", name) for name in NAMES], "Unicode forms"),
        ([name.replace("_", " ").replace("+", "-") for name in NAMES], "blanks, '_', '+' and '-'"),
        ([name.removeprefix("001.") for name in NAMES], "numbers before names"),
        ([f"{i}. {name.removeprefix('001.')}" for i, name in enumerate(NAMES, 8)], "numbers before names"),
        ([name.upper() for name in NAMES], "case"),
        (["black-footed albatross", "Grizzly Bear", "café noir", "Zebra"], "blanks, '_', '+' and '-' and numbers"),
    ],
)
def test_names_that_differ_in_trifles_match_and_it_is_said_which(found: list[str], assumed: str) -> None:
    matching = match(NAMES, found)
    assert [found.index(matching.found[name]) for name in NAMES] == (
        [3, 2, 1, 0] if found == NAMES[::-1] else [0, 1, 2, 3]
    )
    assert matching.assumed.startswith(assumed) and bool(matching.assumed) == bool(assumed)
    if assumed:
        with pytest.warns(Hint, match="names are matched without regard to") as said:
            match_all(NAMES, found, "table.csv")
        assert len(said) == 1
    else:
        with warnings.catch_warnings(action="error"):
            match_all(NAMES, found, "table.csv")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (["cat", "dog"], ["Cat", "CAT", "dog"]),  # which of the two?
        (["cat", "Cat"], ["CAT", "dog"]),  # for which of the two?
        (["1.cat", "2.cat"], ["cat", "dog"]),
        (["a_b", "a+b"], ["a b", "x"]),
    ],
)
def test_nothing_is_matched_where_two_names_would_become_one(wanted: list[str], found: list[str]) -> None:
    assert all(name == own for name, own in match(wanted, found).found.items())
    with pytest.raises(DataError, match=r"table.csv: .* missing"):
        match_all(wanted, found, "table.csv")


@settings(max_examples=60, deadline=None)
@given(
    wanted=st.lists(st.text("aA_ 1.é", min_size=1, max_size=4), unique=True, max_size=5),
    found=st.lists(st.text("aA_ 1.é", min_size=1, max_size=4), unique=True, max_size=5),
)
def test_every_matching_is_one_to_one_and_divides_all_names(wanted: list[str], found: list[str]) -> None:
    matching = match(wanted, found)
    assert len(set(matching.found.values())) == len(matching.found)
    assert sorted([*matching.found, *matching.missing]) == sorted(wanted)
    assert sorted([*matching.found.values(), *matching.others]) == sorted(found)
    if set(wanted) <= set(found):
        assert matching.found == {name: name for name in wanted}


def test_paths_match_across_systems() -> None:
    wanted = ["images\\cat\\01.JPG", "images\\dog\\02.JPG"]
    matching = match(wanted, ["images/cat/01.jpg", "images/dog/02.jpg", "images/dog/.DS_Store"], PATH_WAYS)
    assert list(matching.found.values()) == ["images/cat/01.jpg", "images/dog/02.jpg"]
    assert matching.others == ("images/dog/.DS_Store",)
    assert matching.assumed == "backslashes and slashes and case of suffixes"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (["cat"], "table.csv: 4 classes ('dog', 'cow', 'owl', 'bat') are missing"),
        (["cat", "dog", "cow", "owl", "bta"], "is missing; it has 'bta' instead; did you mean 'bta' for 'bat'?"),
        (["cat", "dog", "cow", "owl", "x"], "class 'bat' is missing; it has 'x' instead"),
        (["cat", "dog", "cow", "owl", "bat", "x"], "class 'x' is not in the data"),
        (["cat", "dog", "cow", "owl", "bat", "Bat"], "'Bat' is not in the data; 'Bat' differs from 'bat' only in case"),
        (["cat", "dog", "cow", "owl", "bat", "bat"], "class 'bat' is there twice"),
        (["Cat", "x", "owl", "bta", "cwo"], "for 'cow'?; did you mean 'bta' for 'bat'?"),
    ],
)
def test_all_mismatches_are_one_line_with_the_likely_cause(found: list[str], said: str) -> None:
    with pytest.raises(DataError) as error:
        match_all(["cat", "dog", "cow", "owl", "bat"], found, "table.csv")
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_file_may_have_others_where_they_are_allowed_which_are_named() -> None:
    with pytest.warns(UserWarning, match=r": 2 classes \('dog', 'owl'\) are not in the data; they are left out$"):
        assert match_all(["cat"], ["dog", "cat", "owl", "dog"], "table.csv", only=False) == {"cat": "cat"}
    with pytest.raises(DataError, match="'Cat' differs from 'cat' only in case; keep one of the two"):
        match_all(["cat"], ["dog", "cat", "Cat"], "table.csv", only=False)


def test_at_most_ten_names_of_each_kind_are_shown() -> None:
    with pytest.raises(DataError) as error:
        match_all([f"wanted {i:02}" for i in range(12)], [f"OTHER*{i}" for i in range(25)], "table.csv")
    assert str(error.value).startswith("table.csv: 12 classes ('wanted 00', ")
    assert "'wanted 09' and 2 more) are missing; it has 'OTHER*0', " in str(error.value)
    assert "'OTHER*9' and 15 more instead" in str(error.value)
