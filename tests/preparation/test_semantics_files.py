"""Class embeddings from texts: the files of texts and names that are read, and the file that is written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zslbench import TextEncoder, XLSA17Dataset
from zslbench.data.matfile import read_strings
from zslbench.data.semantics import with_semantics
from zslbench.errors import DataError, Hint, UsageError
from zslbench.preparation.semantics import embed, read_names, spoken, write
from zslbench.preparation.texts import read_texts

NAMES = ("polar bear", "grizzly+bear")
TEXTS = 'class,text\npolar bear,it is white\ngrizzly+bear,"brown, and large"\npolar bear,ice\n'


class Counting(TextEncoder):
    """Number of characters and number of words."""

    def encode(self, texts: Sequence[str]) -> Any:
        return np.array([[len(text), len(text.split())] for text in texts], dtype=np.float32)


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "texts.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_class_embedding_is_the_mean_over_its_texts(tmp_path: Path) -> None:
    rows = embed(read_texts(written(tmp_path, TEXTS), NAMES), Counting(), "counting")
    np.testing.assert_allclose(rows, [[(11 + 3) / 2, (3 + 1) / 2], [16, 3]])


def test_a_mark_of_utf_8_and_further_columns_do_not_matter(tmp_path: Path) -> None:
    content = "\ufeffsource,class,text\nme,grizzly+bear,abc\nme,polar bear,a b\n"
    assert read_texts(written(tmp_path, content), NAMES) == {"polar bear": ["a b"], "grizzly+bear": ["abc"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read as CSV (it is empty)"),
        ("polar bear,white\nb,c\n", "must name the columns class and text"),
        ("class,text\n", "rows below it are needed"),
        (
            "class,text\nbrown bear,black\n",
            "2 classes ('polar bear', 'grizzly+bear') are missing",
        ),
        ("class,text\npolar bear,white\n", "class 'grizzly+bear' is missing"),
        ("class,text\npolar baer,white\n", "it has 'polar baer' instead; did you mean 'polar baer' for 'polar bear'?"),
        ("class,text\npolar bear,\n", "row 2: its class or its text is empty"),
        ("class,text\npolar bear\n", "row 2: its class or its text is empty"),
        (
            "class,text\npolar bear,white, large\n",
            "row 2 has 3 cells, the head 2; a cell with separators in it must be in double quotes",
        ),
        ('class,text\npolar bear,"white\n', "the double quote in row 2 is not closed"),
        ("class,text\npolar bear,é\n".encode() + b"\xe9", "cannot be read as text"),
        ("class,text\nPolar Bear,x\npolar bear,white\ngrizzly+bear,brown\n", "differs from 'polar bear' only in case"),
    ],
)
def test_a_bad_file_of_texts_is_one_line_that_says_where(tmp_path: Path, content: str | bytes, said: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_texts(path, NAMES)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


WAYS: dict[str, tuple[str, bytes, str]] = {
    "Latin-1": ("a.csv", "class,text\npolar bear,été\ngrizzly+bear,x\n".encode("latin-1"), "Windows-1252"),
    "UTF-16": ("a.csv", "class,text\npolar bear,été\ngrizzly+bear,x\n".encode("utf-16"), "UTF-16"),
    "semicolons": ("a.csv", "Class;Text\npolar bear;été\ngrizzly+bear;x\n".encode(), "';' between cells"),
    "JSON": ("a.json", '{"grizzly bear": "x", "polar bear": [" été "]}'.encode(), "blanks, '_', '+' and '-'"),
    "JSON with a mark": ("a.json", '{"grizzly+bear": "x", "polar bear": "été"}'.encode("utf-8-sig"), ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_texts_are_read_as_people_have_them(tmp_path: Path, way: str) -> None:
    name, content, said = WAYS[way]
    (tmp_path / name).write_bytes(content)
    with warnings.catch_warnings(record=True, action="always") as hints:
        assert read_texts(tmp_path / name, NAMES) == {"polar bear": ["été"], "grizzly+bear": ["x"]}
    assert len(hints) == bool(said) and said in "".join(str(hint.message) for hint in hints)


def test_a_folder_has_a_file_for_each_class_and_a_text_a_line(tmp_path: Path) -> None:
    for name, content in {
        "polar bear.txt": "white\n\n ice \n",
        "grizzly+bear.TXT": "brown",
        "._polar bear.txt": "?",
    }.items():
        (tmp_path / name).write_text(content)
    assert read_texts(tmp_path, NAMES) == {"polar bear": ["white", "ice"], "grizzly+bear": ["brown"]}
    (tmp_path / "grizzly+bear.TXT").write_text("\n")
    with pytest.raises(DataError, match="TXT: its class or its text is empty"):
        read_texts(tmp_path, NAMES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"it has no file CLASS\.txt"):
        read_texts(tmp_path / "empty", NAMES)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read as JSON"),
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON (RecursionError"),
        ("[1]", "it must map each class to a text"),
        ('{"polar bear": {"a": "b"}}', "'polar bear' has no text or list of texts"),
        ('{"polar bear": []}', "'polar bear' has no text or list of texts"),
        ('{"polar bear": "a", "polar bear": "b"}', "'polar bear' is there twice"),
        ('{"polar bear": ""}', "'polar bear': its class or its text is empty"),
        ('{"polar bear": "a"}', "class 'grizzly+bear' is missing"),
    ],
)
def test_bad_json_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "texts.json"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_texts(path, NAMES)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cub_sentences", "cub_short_phrases"])
def test_descriptions_of_the_field_match_cubs_class_names(real_data: Path, name: str) -> None:
    path = real_data.parents[1] / "cases" / "descriptions" / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"no descriptions {path}")
    names = read_strings(real_data / "CUB" / "att_splits.mat", "allclasses_names")
    assert names
    with pytest.warns(Hint, match="without regard to .* and numbers before names"):
        texts = read_texts(path, names)
    content = json.loads(path.read_text())
    assert texts["001.Black_footed_Albatross"] == [text.strip() for text in content["Black-footed Albatross"]]
    assert len(texts) == 200


def test_texts_may_go_by_the_number_of_their_class(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("class,text\n2,the second\n1,the first\n2,again\n")
    with pytest.warns(Hint, match="its classes are taken for their numbers, from 1"):
        texts = read_texts(path, ["class 1", "class 2"])
    assert texts == {"class 1": ["the first"], "class 2": ["the second", "again"]}


FLOWERS = ("pink primrose", "canterbury bell", "sweet pea", "king protein")


@pytest.mark.parametrize(
    "content",
    [
        "\n".join(FLOWERS),
        "name\n" + "\n".join(FLOWERS),
        "".join(f"{number} {name}\n" for number, name in enumerate(FLOWERS, 1)),
        "".join(f"{number},{name}\n" for number, name in reversed(list(enumerate(FLOWERS)))),
        "class;name\n" + "".join(f"class {number};{name}\n" for number, name in enumerate(FLOWERS, 1)),
    ],
    ids=["lines", "head", "numbered", "table from 0", "old names"],
)
def test_real_names_stand_in_lines_or_beside_numbers_or_old_names(tmp_path: Path, content: str) -> None:
    path = tmp_path / "names.csv"
    path.write_text(content)
    classes = [f"class {number}" for number in range(1, 5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Hint)
        assert read_names(path, classes) == dict(zip(classes, FLOWERS, strict=True))


def test_names_and_texts_of_further_classes_are_left_out_and_named(tmp_path: Path) -> None:
    names, texts = tmp_path / "names.csv", tmp_path / "texts.csv"
    names.write_text("class,called\nowl,Owl\nfox,Fox\nelk,Elk\ncat,Cat\n")
    texts.write_text("class,text\nowl,hoots\nfox,barks\nelk,bugles\n")
    with pytest.warns(UserWarning, match=r"2 classes \('owl', 'elk'\) are not in the data; they are left out"):
        assert read_names(names, ["cat", "fox"]) == {"cat": "Cat", "fox": "Fox"}
    with pytest.warns(UserWarning, match="class 'elk' is not in the data; it is left out"):
        assert read_texts(texts, ["owl", "fox"]) == {"owl": ["hoots"], "fox": ["barks"]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\nb\n", "it has 2 names; the data set has 3 classes"),
        ("a\nb\nc\nd\n", "it has 4 names; the data set has 3 classes"),
        ("a\nb\na\n", "the name 'a' is there twice"),
        ("1,a\n2,\n3,c\n", "the name of class '2' is empty"),
        ("1,a\n2,b\n4,c\n", "class 3') are missing"),
        ("1,a,x\n2,b,x\n3,c,x\n", "it has 3 columns; a name a line, or two columns, class and name, are needed"),
    ],
)
def test_a_bad_file_of_names_is_one_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "names.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_names(path, ["class 1", "class 2", "class 3"])
    assert str(caught.value).startswith(f"{path}: ") and said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("001.Black_footed_Albatross", "002.Red-winged+Bird"), ["Black footed Albatross", "Red-winged Bird"]),
        (("3_toed_sloth", "grizzly+bear"), ["3 toed sloth", "grizzly bear"]),
        (("Brewer's blackbird", " cafe\u0301 "), ["Brewer's blackbird", "caf\u00e9"]),
    ],
)
def test_names_are_said_as_people_say_them(names: tuple[str, ...], said: list[str]) -> None:
    assert spoken(names) == said


def test_what_is_written_is_what_semantics_reads_and_no_attributes_even_without_a_negative_value(
    make_xlsa17: Any, tmp_path: Path
) -> None:
    data = XLSA17Dataset.at(make_xlsa17()).load_labels(tmp_path)
    rows = np.random.default_rng(0).random((11, 5))
    assert write(tmp_path / "made.csv", data.class_names, rows, "somewhere")
    read = with_semantics(data, str(tmp_path / "made.csv"))
    np.testing.assert_allclose(read.semantics, rows / np.linalg.norm(rows, axis=1, keepdims=True), rtol=1e-6)
    assert not read.attributes
    assert not list(tmp_path.glob("*.part"))


def test_the_same_content_is_left_alone_and_another_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "made.csv"
    assert write(path, NAMES, np.eye(2), "somewhere")
    before = path.stat().st_mtime_ns
    assert not write(path, NAMES, np.eye(2), "somewhere")
    with pytest.raises(UsageError, match="there already and differs; remove it, or name another file with --out"):
        write(path, NAMES, 2 * np.eye(2), "somewhere")
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(("name", "row"), [("bear, polar", [1, 0]), ("bear\n", [1, 0]), ("bear", [0, 0])])
def test_what_cannot_be_read_back_is_not_written(tmp_path: Path, name: str, row: list[int]) -> None:
    with pytest.raises(DataError, match=r"cannot be written to|is zero"):
        write(tmp_path / "made.csv", [name], np.array([row]), "somewhere")
    assert not list(tmp_path.iterdir())
