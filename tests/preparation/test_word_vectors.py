"""Class names looked up among word vectors; values are worked by hand."""

from __future__ import annotations

import gzip
import tracemalloc
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from zslbench.data.matfile import read_strings
from zslbench.errors import DataError, UsageError
from zslbench.preparation.word_vectors import from_word_vectors, words_of

GLOVE = """the 9 9
black 1 0
footed 0 4
albatross 2 2
grizzly 1 1
bear 3 5
polar -1 0.5
field 0 1e-1
Sooty 7 -7
killer 1 2
whale 3 4
"""


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    return written(tmp_path, GLOVE)


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "vectors.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def error(path: Path, *names: str, **instead: str) -> str:
    with pytest.raises((DataError, UsageError)) as caught:
        from_word_vectors(path, names, instead)
    message = str(caught.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("001.Black_footed_Albatross", ["Black", "footed", "Albatross"]),
        ("grizzly+bear", ["grizzly", "bear"]),
        ("polar bear", ["polar", "bear"]),
        ("airfield", ["airfield"]),
        ("volleyball_court_outdoor", ["volleyball", "court", "outdoor"]),
        ("lean-to", ["lean-to"]),
        ("Heermann's gull", ["Heermann", "gull"]),
        ("7", ["7"]),
    ],
)
def test_a_class_name_is_split_into_words(name: str, words: list[str]) -> None:
    assert words_of(name) == words


def test_the_embedding_is_the_mean_of_the_words_vectors(glove: Path) -> None:
    names = ["001.Black_footed_Albatross", "grizzly+bear", "polar bear", "field"]
    found = from_word_vectors(glove, names)
    np.testing.assert_allclose(found.rows, [[1, 2], [2, 3], [1, 2.75], [0, 0.1]])
    assert found.whole == ("field",)


@pytest.mark.parametrize("entry", ["grizzly_bear", "Grizzly_Bear", "grizzly-bear", "grizzly+bear", "grizzly bear"])
def test_an_entry_of_the_whole_name_wins(tmp_path: Path, entry: str) -> None:
    path = written(tmp_path, f"{GLOVE}{entry} 8 9\n")
    found = from_word_vectors(path, ["grizzly+bear", "polar bear"])
    np.testing.assert_allclose(found.rows, [[8, 9], [1, 2.75]])
    assert found.whole == ("grizzly+bear",)


def test_lower_case_comes_first_then_as_written_then_with_a_capital(tmp_path: Path) -> None:
    path = written(tmp_path, "brewer 1 0\nBrewer 0 1\nAsia 2 0\nUSA 0 2\nUsa 5 5\n")
    found = from_word_vectors(path, ["Brewer", "asia", "USA"])
    np.testing.assert_allclose(found.rows, [[1, 0], [2, 0], [0, 2]])


def test_a_word_with_hyphens_is_divided_only_where_it_has_no_entry(tmp_path: Path) -> None:
    path = written(tmp_path, "black 1 0\nfooted 0 4\nlean-to 5 6\nlean 0 0\nto 0 0\ncat 1 1\n")
    found = from_word_vectors(path, ["black-footed_cat", "lean-to"])
    np.testing.assert_allclose(found.rows, [[2 / 3, 5 / 3], [5, 6]])


def test_word2vecs_line_of_sizes_and_a_space_at_the_end_of_lines_do_not_matter(tmp_path: Path, glove: Path) -> None:
    names = ["polar bear", "killer+whale"]
    plain = from_word_vectors(glove, names).rows
    with_sizes = written(tmp_path, "11 2\n" + GLOVE.replace("\n", " \n"))
    np.testing.assert_array_equal(from_word_vectors(with_sizes, names).rows, plain)


def test_accents_are_composed_before_words_are_divided(tmp_path: Path) -> None:
    path = written(tmp_path, "cafe 9 9\ncafé 1 2\nnoir 3 4\n")
    decomposed = unicodedata.normalize("NFD", "café_noir")
    assert decomposed != "café_noir"
    np.testing.assert_allclose(from_word_vectors(path, [decomposed]).rows, [[2, 3]])


def test_a_mark_of_utf_8_and_gzip_do_not_matter(tmp_path: Path) -> None:
    for content in (b"\xef\xbb\xbf" + GLOVE[8:].encode(), gzip.compress(GLOVE.encode())):
        found = from_word_vectors(written(tmp_path, content), ["black", "polar bear"])
        np.testing.assert_allclose(found.rows, [[1, 0], [1, 2.75]])


def test_the_first_of_two_entries_counts_and_words_with_blanks_are_not_mistaken(tmp_path: Path) -> None:
    path = written(tmp_path, "the 0 0\nbear 1 2\nbear 5 6\nbear name@x.org 7 7\nseal 3 4\n")
    np.testing.assert_allclose(from_word_vectors(path, ["bear", "seal"]).rows, [[1, 2], [3, 4]])


def test_lines_that_nobody_wants_may_hold_anything(tmp_path: Path) -> None:
    path = written(tmp_path, b"the 0 0\n\xff\xfe 1 2\nbroken x\nbear 1 2\n")
    np.testing.assert_allclose(from_word_vectors(path, ["bear"]).rows, [[1, 2]])


def test_unknown_words_are_named_with_their_class_and_what_to_write_instead(tmp_path: Path) -> None:
    path = written(tmp_path, "dining 1 0\ntable 0 1\ntv 1 1\nmonitor 2 2\ndini 0 0\narchaeological 1 1\nsite 0 2\n")
    message = error(path, "diningtable", "tvmonitor", "archaelogical_site")
    for word, name in [
        ("diningtable", "diningtable"),
        ("tvmonitor", "tvmonitor"),
        ("archaelogical", "archaelogical_site"),
    ]:
        assert f"{word!r} (class {name!r})" in message
    assert message.endswith(
        "did you mean --words 'diningtable=dining table' --words 'tvmonitor=tv monitor' "
        "--words 'archaelogical_site=archaeological site'?"
    )
    instead = {
        "diningtable": "dining table",
        "tvmonitor": "tv monitor",
        "archaelogical_site": "archaeological site",
    }
    rows = from_word_vectors(path, list(instead), instead).rows
    np.testing.assert_allclose(rows, [[0.5, 0.5], [1.5, 1.5], [0.5, 1.5]])


def test_many_unknown_words_are_counted_and_words_without_a_near_one_are_still_answered(glove: Path) -> None:
    message = error(glove, *(f"zz{letter}{letter}" for letter in "abcdefg"))
    assert message.count("(class") == 5
    assert "and 2 more words" in message
    assert "--words 'CLASS=OTHER WORDS'" in message


def test_other_words_for_a_class_that_does_not_exist_are_refused(glove: Path) -> None:
    assert "did you mean 'polar bear'?" in error(glove, "polar bear", "killer+whale", polarbear="bear")


def test_classes_that_only_have_numbers_are_refused(glove: Path) -> None:
    assert "has no class names to look up" in error(glove, "class 1", "class 2")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it has no word"),
        ("\n\n", "it has no word"),
        ("3 2\n", "it has no word"),
        ("bear\n", "line 1 is no word with its values"),
        ("bear one two\n", "line 1 is no word with its values"),
        ("2 2\nbear 1 \x00\x01\n", "it is word2vec's binary format"),
        (
            b"2 300\n" + b"bear " + b"\x00" * 2**21,
            "line 2 is longer than 1048576 bytes, as in word2vec's binary format",
        ),
        ("bear 1 2\n".encode("utf-16"), "it is text in UTF-16; save it in UTF-8; a text file is needed"),
        (b"PK\x03\x04...", "it is a zip archive, as GloVe comes or torch.save writes; unpack it"),
        (b"\x80\x04\x95...", "it is a pickle, which is never read"),
        (b"\x93NUMPY...", "it is a NumPy array, which has no words"),
        (b"\xba\x16\x4f\x2f...", "it is fastText's binary model; take the file .vec beside it"),
        (b"2 3\nbear " + np.array([1, -2, 0.1], "<f4").tobytes() + b"\n", "it is word2vec's binary format; gensim"),
        (b"\x00" * 2**21, "line 1 is longer than 1048576 bytes"),
        (b"\x1f\x8b\x08 cut", "cannot be read"),
        (gzip.compress(GLOVE.encode())[:-12], "cannot be read"),
        ("the 1 2\nbear 1\n", "line 2: 'bear' has 1 values, the first word has 2"),
        ("the 1 2\nbear 1 2 3\n", "line 2: 'bear' has 3 values, the first word has 2"),
        ("the 1 2\nbear 1 x\n", "line 2: a value of 'bear' is no finite number"),
        ("the 1 2\nbear 1 nan\n", "line 2: a value of 'bear' is no finite number"),
    ],
)
def test_a_bad_file_is_one_line_that_says_where(tmp_path: Path, content: str | bytes, said: str) -> None:
    assert said in error(written(tmp_path, content), "bear")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "there is no such file" in error(tmp_path / "nowhere.txt", "bear")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """20 MB of word vectors, of which one line is wanted, are read within 1 MB."""
    values = " ".join(["0.125"] * 100)
    path = written(tmp_path, "".join(f"word{n} {values}\n" for n in range(33_000)) + "bear " + values + "\n")
    assert path.stat().st_size > 2e7
    tracemalloc.start()
    try:
        rows = from_word_vectors(path, ["bear"]).rows
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(rows, [[0.125] * 100])
    assert peak < 1e6


@pytest.mark.parametrize(
    ("dataset", "name", "words"),
    [
        ("CUB", "022.Chuck_will_Widow", ["Chuck", "will", "Widow"]),
        ("AWA1", "german+shepherd", ["german", "shepherd"]),
        ("SUN", "volleyball_court_outdoor", ["volleyball", "court", "outdoor"]),
        ("APY", "pottedplant", ["pottedplant"]),
    ],
)
def test_every_real_class_name_falls_into_words_of_letters(
    real_data: Path, dataset: str, name: str, words: list[str]
) -> None:
    names = read_strings(real_data / dataset / "att_splits.mat", "allclasses_names")
    assert names and name in names
    assert words_of(name) == words
    assert all(word.replace("-", "").isalpha() for each in names for word in words_of(each))
