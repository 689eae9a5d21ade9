"""Class embeddings from texts, the file they are written to, and the command; values are worked by hand."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import inside, store
from synthetic import toy_files

from zslbench import Registry, TextEncoder, TextEncoderCard, XLSA17Dataset
from zslbench.data.catalogue import find_dataset
from zslbench.data.matfile import read_strings
from zslbench.data.semantics import origin_of, with_semantics
from zslbench.errors import DataError, Hint, PluginError, UsageError
from zslbench.preparation.semantics import embed, read_names, read_texts, spoken, write

__all__ = ["inside", "store"]

NAMES = ("polar bear", "grizzly+bear")
TEXTS = 'class,text\npolar bear,it is white\ngrizzly+bear,"brown, and large"\npolar bear,ice\n'


class Counting(TextEncoder):
    """Number of characters and number of words."""

    def encode(self, texts: Sequence[str]) -> Any:
        return np.array([[len(text), len(text.split())] for text in texts], dtype=np.float32)


class Returning(TextEncoder):
    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def encode(self, texts: Sequence[str]) -> Any:
        return self.vectors


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


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ([[1.0]], "list, not a float32 array"),
        (np.ones((3, 2)), "float64, not a float32 array"),
        (np.ones((2, 2), dtype=np.float32), r"shape \(2, 2\) for 3 texts"),
        (np.ones((3, 0), dtype=np.float32), r"shape \(3, 0\) for 3 texts"),
        (np.full((3, 2), np.nan, dtype=np.float32), "NaN or infinite"),
    ],
)
def test_an_encoder_that_breaks_its_word_is_named(vectors: Any, said: str) -> None:
    with pytest.raises(PluginError, match=f"text encoder 'mine' returned .*{said}"):
        embed({"bear": ["white", "brown"], "seal": ["grey"]}, Returning(vectors), "mine")


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


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_a_file_and_prints_the_command_that_uses_it(here: Path, inside: Any) -> None:
    digits = "".join(f"{digit} {digit - 4.5} {digit % 2} 1\n" for digit in range(10))
    (here / "glove.txt").write_text(digits)
    answer = inside("data", "semantics", "digits", "--from", "glove.txt")
    assert (answer.status, answer.err) == (0, "")
    first, second = answer.out.splitlines()
    assert first == (
        "digits-glove.csv: 10 classes, 3 values each; 10 names have an entry, 0 are means over words (written)"
    )
    assert second == "use it: zslbench run eszsl --dataset digits --semantics digits-glove.csv"
    again = inside("data", "semantics", "digits", "--from", "glove.txt")
    assert "(there already, the same)" in again.out
    run = inside(*second.removeprefix("use it: zslbench ").split(), "--on", "validation", "--seeds", "1")
    assert run.status == 0, run.err


@pytest.mark.parametrize("method", ["dap", "iap"])
def test_methods_that_need_attributes_are_refused_on_word_vectors(here: Path, inside: Any, method: str) -> None:
    (here / "glove.txt").write_text("".join(f"{digit} {digit + 1} 1\n" for digit in range(10)))
    assert inside("data", "semantics", "digits", "--from", "glove.txt", "--out", "mine.csv").status == 0
    answer = inside("run", method, "--dataset", "digits", "--semantics", "mine.csv")
    assert answer.status != 0
    assert f"{method.upper()} needs attributes" in answer.err


def test_words_say_what_to_look_up_instead(here: Path, make_xlsa17: Any, inside: Any) -> None:
    folder = make_xlsa17()
    names = toy_files()["att_splits"]["allclasses_names"]
    (here / "glove.txt").write_text("a 1 2\nclass 3 4\n")
    answer = inside("data", "semantics", folder, "--from", "glove.txt", "--words", f"{names[0]}=a class")
    assert answer.status == 0, answer.err
    lines = Path(answer.out.partition(":")[0]).read_text().splitlines()
    assert lines[1:3] == [f"{names[0]},2.0,3.0", f"{names[1]},3.0,4.0"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--from", "glove.txt", "--encoder", "mine"], "glove.txt holds no texts"),
        (["--from", "texts.csv", "--words", "a=b"], "--words says what to look up among word vectors"),
        (["--from", "glove.txt", "--words", "a"], "--words 'a' is not CLASS=WORDS"),
        (["--from", "digits.txt", "--out", "x.npy"], "--out x.npy: it is written as text; name it .csv"),
        (["--from", "glove.txt", "--words", "a="], "--words 'a=' is not CLASS=WORDS"),
    ],
)
def test_wrong_options_are_one_line(here: Path, inside: Any, arguments: list[str], said: str) -> None:
    (here / "digits.txt").write_text("".join(f"{digit} 1 2\n" for digit in range(10)))
    answer = inside("data", "semantics", "digits", *arguments)
    assert answer.status == 2
    assert said in answer.error()


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


def test_texts_may_go_by_the_number_of_their_class(tmp_path: Path) -> None:
    path = tmp_path / "texts.csv"
    path.write_text("class,text\n2,the second\n1,the first\n2,again\n")
    with pytest.warns(Hint, match="its classes are taken for their numbers, from 1"):
        texts = read_texts(path, ["class 1", "class 2"])
    assert texts == {"class 1": ["the first"], "class 2": ["the second", "again"]}


def test_classes_without_names_are_looked_up_by_those_of_a_file(real_data: Path, here: Path, inside: Any) -> None:
    """Those of FLO, whose classes are called class 1 to class 102; the file keeps these names."""
    (here / "names.txt").write_text("".join(f"flower{number}\n" for number in range(102)))
    (here / "glove.txt").write_text("".join(f"flower{number} {number} 1\n" for number in range(102)))
    arguments = ("data", "semantics", "flo", "--data-root", real_data, "--from", "glove.txt")
    assert "give them with --names FILE" in inside(*arguments).error()
    assert "there is no such file" in inside(*arguments, "--names", "nowhere.txt").error()
    answer = inside(*arguments, "--names", "names.txt", "--words", "class 102=flower7", "--out", "f.csv", "--plain")
    assert (answer.status, answer.err) == (0, "")
    lines = (here / "f.csv").read_text().splitlines()
    assert (lines[1], lines[101], lines[102]) == ("class 1,0.0,1.0", "class 101,100.0,1.0", "class 102,7.0,1.0")


ENCODERS = """
import numpy as np
from zslbench import Family, TextEncoder

class Length(TextEncoder):
    def encode(self, texts):
        return np.array([[len(text), -1.0] for text in texts], dtype=np.float32)

class Prompted(Length):
    template = "one {}"
    fingerprint = "abc"

class Named(Family, Length):
    def __init__(self, name):
        self.name = name

    def encode(self, texts):
        return np.array([[len(self.name), float(len(text))] for text in texts], dtype=np.float32)

    @classmethod
    def names(cls):
        return ["small", "large"]

class Broken(Length):
    def __init__(self):
        raise OSError("its weights are gone")

class Failing(TextEncoder):
    def encode(self, texts):
        raise ValueError("too long")
"""


@pytest.fixture
def texts_command(here: Path, inside: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command on texts of 1 to 10 characters where only the named text encoders are installed."""
    (here / "texts.csv").write_text("class,text\n" + "".join(f"{digit},{'x' * (digit + 1)}\n" for digit in range(10)))
    (here / "encoders_of_this_test.py").write_text(ENCODERS)
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "encoders_of_this_test", raising=False)

    def run(names: Sequence[str], *options: str, source: Sequence[str] = ("--from", "texts.csv")) -> Any:
        installed, staged = Registry(), Registry()
        for name in names:
            card = TextEncoderCard(title=name, paper="none")
            staged.text_encoder(name.lower(), f"encoders_of_this_test:{name.removesuffix(':')}", card)
        installed.adopt(staged, "lengths")
        monkeypatch.setattr("zslbench.preparation.semantics.registry", lambda: installed)
        return inside("data", "semantics", "digits", *source, *options)

    return run


def test_the_only_encoder_that_is_installed_is_used(here: Path, texts_command: Any) -> None:
    answer = texts_command(["Length"])
    assert answer.status == 0, answer.err
    assert "10 classes, 2 values each; texts embedded by length (written)" in answer.out
    lines = (here / "digits-texts-length.csv").read_text().splitlines()
    assert lines[0] == "# vectors of words or sentences, from texts.csv by length"
    assert lines[1:] == [f"{digit},{digit + 1}.0,-1.0" for digit in range(10)]


@pytest.mark.parametrize(
    ("names", "options", "said"),
    [
        ([], [], "no text encoder is installed; the plugin zslbench-text has one"),
        (["Length", "Broken"], [], "several text encoders are installed; choose one with --encoder: length, broken"),
        (["Length"], ["--encoder", "lenght"], "unknown text encoder 'lenght'; did you mean 'length'?"),
        (["Broken"], [], "text encoder 'broken' of plugin 'lengths' cannot be loaded (OSError: its weights are gone)"),
        (["Failing"], [], "text encoder 'failing' failed (ValueError: too long)"),
    ],
)
def test_no_usable_encoder_is_one_line(
    here: Path, texts_command: Any, names: list[str], options: list[str], said: str
) -> None:
    answer = texts_command(names, *options)
    assert answer.status in (1, 2)
    assert said in answer.error()
    assert not list(here.glob("digits-*"))


def test_without_a_file_names_stand_in_the_encoder_s_template_and_the_file_says_so(
    here: Path, texts_command: Any
) -> None:
    (here / "names.txt").write_text("".join(f"00{digit}.{'x' * digit}_y\n" for digit in range(1, 10)) + "010.z+z\n")
    answer = texts_command(["Prompted"], "--names", "names.txt", source=())
    assert answer.status == 0, answer.err
    assert "10 classes, 2 values each; class names embedded by prompted, the first as 'one x y' (written)" in answer.out
    lines = (here / "digits-names-prompted.csv").read_text().splitlines()
    assert lines[0] == "# vectors of words or sentences, from names of classes by prompted"
    assert lines[1:3] == ["# templates: one {}", "# weights: abc"]
    lengths = [len("one ") + digit + len(" y") for digit in range(1, 10)] + [len("one z z")]
    assert lines[3:] == [f"{digit},{length}.0,-1.0" for digit, length in enumerate(lengths)]
    assert origin_of("digits-names-prompted.csv") == {
        "semantics_by": "prompted",
        "semantics_templates": ["one {}"],
        "semantics_weights": "abc",
    }


def test_the_mean_over_several_templates_counts_and_a_file_has_one_a_line(here: Path, texts_command: Any) -> None:
    (here / "templates.txt").write_text("\na {}, a type of bird\n{}\n")
    answer = texts_command(["Length"], "--template", "the {} {}", "--template", "templates.txt", source=())
    assert answer.status == 0, answer.err
    assert "the first as 'the 0 0' and 2 more templates" in answer.out
    lines = (here / "digits-names-length.csv").read_text().splitlines()
    assert lines[1] == "# templates: the {} {} | a {}, a type of bird | {}"
    mean = (len("the 0 0") + len("a 0, a type of bird") + len("0")) / 3
    assert lines[2:] == [f"{digit},{np.float32(mean)},-1.0" for digit in range(10)]
    assert origin_of("digits-names-length.csv")["semantics_templates"] == ["the {} {}", "a {}, a type of bird", "{}"]


def test_notes_above_the_values_change_none_of_them(here: Path, texts_command: Any) -> None:
    """As many templates as CLIP's authors use for ImageNet, with commas in them, above few classes."""
    (here / "many.txt").write_text("".join(f"a {number}, {number} photo of a {{}}, or two\n" for number in range(80)))
    (here / "names.txt").write_text("".join("x" * (digit + 1) + "\n" for digit in range(10)))
    options = ("--template", "many.txt", "--names", "names.txt")
    assert texts_command(["Length"], *options, source=()).status == 0
    found = with_semantics(find_dataset("digits").load(here), "digits-names-length.csv").semantics
    for digit, row in enumerate(found):
        length = np.mean([len(f"a {n}, {n} photo of a {'x' * (digit + 1)}, or two") for n in range(80)])
        np.testing.assert_allclose(row, [length, -1] / np.hypot(length, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (
            ["--template", "a bird"],
            2,
            "--template 'a bird': it has no {} where the name goes, and there is no such file",
        ),
        (["--template", "texts.csv"], 1, "texts.csv: the line 'class,text' has no {} where the name of a class goes"),
        (["--template", 'a "{}"'], 1, "double quotes, '|' and control characters cannot be used"),
        (["--template", "{}", "--from", "texts.csv"], 2, "--template is for names of classes, which --from replaces"),
        (["--words", "a=b"], 2, "--words says what to look up among word vectors"),
    ],
)
def test_wrong_templates_are_one_line(
    here: Path, texts_command: Any, options: list[str], status: int, said: str
) -> None:
    answer = texts_command(["Length"], *options, source=())
    assert answer.status == status
    assert said in answer.error()
    assert not list(here.glob("digits-*"))


def test_a_member_of_a_family_of_encoders_is_made_with_its_name(here: Path, texts_command: Any) -> None:
    answer = texts_command(["Named:"], "--encoder", "named:small")
    assert answer.status == 0, answer.err
    assert (here / "digits-texts-named-small.csv").read_text().splitlines()[1] == "0,5.0,1.0"
    none = texts_command(["Named:"])
    assert (none.status, "choose one with --encoder: named:NAME" in none.error()) == (2, True)
    wrong = texts_command(["Named:"], "--encoder", "named:smal")
    assert wrong.error() == "text encoder named:smal: there is no such name; did you mean 'small'?"


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
