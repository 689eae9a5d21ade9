"""`zslbench data semantics`: class embeddings from word vectors and by text encoders; values are worked by hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import inside, store
from synthetic import toy_files

from zslbench import Registry, TextEncoder, TextEncoderCard
from zslbench.data.catalogue import find_dataset
from zslbench.data.semantics import origin_of, with_semantics
from zslbench.errors import PluginError
from zslbench.preparation.semantics import embed

__all__ = ["inside", "store"]


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


class Returning(TextEncoder):
    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def encode(self, texts: Sequence[str]) -> Any:
        return self.vectors


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
