"""`zslbench predict`: kept models on images, features and parts of data sets, among own classes and new ones."""

from __future__ import annotations

import csv
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from outside import Inside, command, distribution, start
from PIL import Image

import zslbench
from zslbench.records.store import Store

COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "pink": (1, 0, 1),
    "aqua": (0, 1, 1),
}
EACH = 6
UNSEEN = ("pink", "aqua")


@pytest.fixture
def coloured(tmp_path: Path, inside: Inside) -> Path:
    """A data set built from plain images of six colours, described by red, green and blue; two are unseen."""
    random = np.random.default_rng(0)
    for name, rgb in COLOURS.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(EACH):
            pixels = 200 * np.array(rgb) + random.integers(0, 50, (40, 40, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
    table = [["class", "r", "g", "b"], *([name, *map(str, rgb)] for name, rgb in COLOURS.items())]
    write(tmp_path / "attributes.csv", table)
    made = inside(
        *("data", "build", tmp_path / "colours", "--images", tmp_path / "images"),
        *("--attributes", tmp_path / "attributes.csv", "--backbone", "pixels", "--unseen-classes", ",".join(UNSEEN)),
        "--plain",
    )
    assert made.status == 0, made.err
    return tmp_path / "colours"


def write(path: Path, rows: list[list[str]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(coloured: Path, inside: Inside, store: Path) -> str:
    answer = inside("run", "eszsl", "-d", coloured, "--uncalibrated", "--json")
    assert answer.status == 0, answer.err
    return str(json.loads(answer.out)["runs"][0]["id"])


def test_photographs_of_unseen_classes_are_recognised_as_in_the_run(
    run: str, coloured: Path, inside: Inside, tmp_path: Path, store: Path
) -> None:
    folders = [tmp_path / "images" / name for name in UNSEEN]
    answer = inside("predict", run, *folders, "--classes", "unseen", "--json")
    assert answer.status == 0, answer.err
    given = json.loads(answer.out)
    assert [Path(one["image"]).parent.name for one in given] == [name for name in UNSEEN for _ in range(6)]
    right = [np.mean([one["class"] == name for one in given if f"/{name}/" in one["image"]]) for name in UNSEEN]
    [record] = Store(store).records()
    assert np.mean(right) == record.metrics["acc_uu"]
    of_data = inside("predict", run, "-d", f"{coloured}:test_unseen", "--classes", "unseen")
    assert f"per-class top-1: {100 * record.metrics['acc_uu']:.1f} percent, the mean over 2 classes" in of_data.out


def test_a_class_that_is_in_no_data_set_is_recognised_by_its_attributes(
    run: str, inside: Inside, tmp_path: Path
) -> None:
    Image.new("RGB", (40, 40), (255, 120, 0)).save(tmp_path / "fruit.png")
    table = write(
        tmp_path / "new.csv", [["class", "b", "r", "g"], ["orange", "0", "1", "0.5"], ["blue", "1", "0", "0"]]
    )
    answer = inside("predict", run, tmp_path / "fruit.png", "--classes", table, "--top", 2, "--json")
    assert answer.status == 0, answer.err
    [given] = json.loads(answer.out)
    assert (given["class"], given["side"], given["class_2"]) == ("orange", "new", "blue")
    assert given["margin"] == pytest.approx(given["score"] - given["score_2"])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([["class", "r"], ["x", "1"]], "2 attributes ('g', 'b') are missing"),
        ([["class", "r", "R", "g", "b"], ["x", "1", "0", "0", "1"]], "'R' differs from 'r' only in case; keep one"),
        ([["class", "r", "g", "b"], ["x", "1", "nan", "0"]], "row 2 ('x'), column 'g'"),
        ([["class", "r", "g", "b"], ["x", "0", "0", "0"]], "the embedding of class 'x' is zero or not finite"),
        ([["class", "r", "g", "b"], ["x", "1", "0", "0"], ["x", "1", "0", "0"]], "class 'x' is there twice"),
        (
            [["x", "1", "0", "0"], ["y", "1", "0", "1"]],
            "('r', 'g', 'b') are missing; it has '1', '2', '3' instead (read with no head line)",
        ),
    ],
)
def test_a_table_of_classes_that_does_not_fit_is_one_line(
    run: str, inside: Inside, tmp_path: Path, rows: list[list[str]], reason: str
) -> None:
    answer = inside("predict", run, tmp_path / "images", "--classes", write(tmp_path / "new.csv", rows))
    assert answer.status != 0 and reason in answer.error()


NEW = "class,r,g,b\norange,1,0.5,0\nsky,0.25,0.5,1\n"
WAYS = {
    "semicolons": (NEW.replace(",", ";").replace(".", ",").encode(), "';' between cells and decimal commas"),
    "UTF-16": (NEW.replace(",", "\t").encode("utf-16"), "read with UTF-16 and tabs between cells"),
    "transposed": (b"class,orange,sky\nr,1,0.25\ng,0.5,0.5\nb,0,1\n", "rows and columns exchanged"),
    "row numbers": (b",class,r,g,b\n0,orange,1,0.5,0\n1,sky,0.25,0.5,1\n", "row numbers left out"),
    "further columns": (
        b"class,note,b,g,r,size\norange,?,0,0.5,1,3\nsky,,1,0.5,0.25,7\n",
        "2 attributes ('note', 'size') are not in the data; they are left out",
    ),
    "case": (b"class,R,G,B\norange,1,0.5,0\nsky,0.25,0.5,1\n", "without regard to case: 'R' is taken for 'r'"),
}


@pytest.mark.parametrize("way", WAYS)
def test_answers_are_the_same_however_the_table_of_classes_is_written(
    run: str, inside: Inside, tmp_path: Path, way: str
) -> None:
    def answer(content: bytes) -> tuple[list[dict[str, object]], str]:
        (tmp_path / "new.csv").write_bytes(content)
        given = inside("predict", run, tmp_path / "images", "--classes", tmp_path / "new.csv", "--top", 2, "--json")
        assert given.status == 0, given.err
        return json.loads(given.out), given.err

    usual, quiet = answer(NEW.encode())
    assert quiet == ""
    content, said = WAYS[way]
    answers, told = answer(content)
    assert answers == usual
    assert said in told and len(told.splitlines()) == 1


def test_a_folder_of_pictures_that_are_not_read_says_so(run: str, inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "phone").mkdir()
    (tmp_path / "phone" / "a.heic").write_bytes(b"x")
    line = inside("predict", run, tmp_path / "phone").error()
    assert line.endswith(
        "there are no images in this folder; not read: 1 .heic file; convert such files to JPEG or PNG"
    )
    Image.new("RGB", (40, 40)).save(tmp_path / "phone" / "b.png")
    answer = inside("predict", run, tmp_path / "phone", "--json")
    assert "warning" in answer.err and "not read: 1 .heic file" in answer.err
    assert len(json.loads(answer.out)) == 1


def test_wrong_input_is_one_line_each(run: str, coloured: Path, inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    np.save(tmp_path / "narrow.npy", np.ones((3, 5)))
    (tmp_path / "gone").mkdir()
    for arguments, reason in {
        (tmp_path / "nowhere",): "there is no such file or folder",
        (tmp_path / "empty",): "there are no images in this folder",
        (tmp_path / "narrow.npy",): "one matrix of features is needed, with the 768 columns of the run",
        (): "give images or features to recognise, or --dataset, and not both",
        ("-d", "no-such-data"): "unknown data set 'no-such-data'",
        (tmp_path / "images", "--classes", "no.csv"): "--classes no.csv: there is no such file",
        (tmp_path / "images", "--gamma", "much"): "--gamma much: give auto, or a number",
        (tmp_path / "images", "--gamma", "nan"): "--gamma nan: give auto, or a number",
        (tmp_path / "images", "--csv", "a.csv", "--json"): "--csv and --json: give one of them",
    }.items():
        answer = inside("predict", run, *arguments)
        assert answer.status != 0 and reason in answer.error(), (arguments, answer)
    assert "no run 'zzz'" in inside("predict", "zzz", tmp_path / "images").error()


def test_features_without_a_known_backbone_ask_for_its_name(inside: Inside, tmp_path: Path) -> None:
    run = json.loads(inside("run", "eszsl", "-d", "digits", "--uncalibrated", "--json").out)["runs"][0]["id"]
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    line = inside("predict", run, tmp_path / "a.png").error()
    assert line.endswith("does not say which backbone made its features 'pixels'; name it by --backbone")
    line = inside("predict", run, tmp_path / "a.png", "--backbone", "pixels").error()  # colours on a grid of 16 x 16
    assert line == "the features have shape (1, 768); the run was trained on 64 columns"


def test_a_backbone_that_is_gone_is_named(run: str, inside: Inside, tmp_path: Path, store: Path) -> None:
    opened = Store(store)
    [record] = opened.records()
    provenance = record.provenance | {"features_from": {"backbone": "gone-net", "weights": "0"}}
    opened.save(record.model_copy(update={"provenance": provenance}), opened.arrays(record))
    line = inside("predict", run, tmp_path / "images").error()
    assert "has features of backbone 'gone-net', which is not installed; install the plugin that has it" in line
    line = inside("predict", run, tmp_path / "images", "--backbone", "pixels").error()
    assert "its weights are not those of the training features, which are from gone-net" in line


def test_an_image_that_cannot_be_read_is_listed_and_costs_no_other(run: str, inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "images" / "pink" / "broken.png").write_bytes(b"no image")
    answer = inside("predict", run, tmp_path / "images" / "pink", "--csv", tmp_path / "out.csv")
    assert answer.status == 0
    assert "pink/broken.png: " in next(line for line in answer.out.splitlines() if line.startswith("unreadable"))
    rows = read(tmp_path / "out.csv")
    assert [bool(row["class"]) for row in rows] == [True] * 6 + [False]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "broken.png").write_bytes(b"no image")
    answer = inside("predict", run, tmp_path / "only", "--json")
    assert [one["class"] for one in json.loads(answer.out)] == [None]


def test_a_file_that_a_killed_command_left_is_gone_on_with(run: str, inside: Inside, tmp_path: Path) -> None:
    out, images = tmp_path / "out.csv", tmp_path / "images"
    whole = inside("predict", run, images, "--csv", tmp_path / "whole.csv")
    assert whole.status == 0
    lines = (tmp_path / "whole.csv").read_text().splitlines(keepends=True)
    out.write_text("".join(lines[:9]) + lines[9][:20])  # it was killed while it wrote a line
    answer = inside("predict", run, images, "--csv", out)
    assert "28 images written, 36 in all" in answer.out
    assert out.read_text() == "".join(lines)
    assert "0 images written" in inside("predict", run, images, "--csv", out).out
    other = inside("predict", run, images, "--csv", out, "--classes", "seen").error()
    assert other.endswith("it holds answers of another model, or among other classes; name another file")
    out.write_text("precious,notes\n1,2\n")
    assert "it is there already and holds something else" in inside("predict", run, images, "--csv", out).error()
    assert out.read_text() == "precious,notes\n1,2\n"


@pytest.mark.slow
def test_killed_for_real_it_loses_nothing_and_repeats_nothing(run: str, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(3000):
        Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(many / f"{number:04}.png")
    out = tmp_path / "out.csv"
    process = start("predict", run, many, "--csv", out)
    while not out.exists() or out.read_text().count("\n") < 600:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, 9)
    process.communicate()
    assert out.read_text().count("\n") < 3001
    assert command("predict", run, many, "--csv", out).status == 0
    assert [row["image"] for row in read(out)] == [str(path) for path in sorted(many.iterdir())]


def test_a_grid_shows_images_classes_and_attributes(run: str, inside: Inside, tmp_path: Path) -> None:
    answer = inside("predict", run, tmp_path / "images", "--grid", tmp_path / "grid.png")
    assert answer.status == 0, answer.err
    with Image.open(tmp_path / "grid.png") as picture:
        colours = picture.convert("RGB").resize((64, 64)).getcolors(4096)
    assert colours is not None and len(colours) > 20
    refused = inside("predict", run, "-d", "digits", "--grid", tmp_path / "no.png")
    assert refused.status != 0 and not (tmp_path / "no.png").exists()


ENCODER = """
import numpy as np
from zslbench import TextEncoder, TextEncoderCard

class Colours(TextEncoder):
    def encode(self, texts):
        words = ("red", "green", "blue")
        return np.array([[float(word in text) for word in words] for text in texts], np.float32) + 0.01

def zslbench_register(registry):
    registry.text_encoder("colours", "{module}:Colours", TextEncoderCard("colours", "none"))
"""


@pytest.fixture
def described(coloured: Path, tmp_path: Path) -> tuple[str, Path]:
    """A run whose class embeddings are of words, by an encoder in the folder that is returned too."""
    site = distribution(tmp_path, "colour-words", ENCODER.replace("{module}", "colour_words"))
    words = {"yellow": "red and green", "pink": "red and blue", "aqua": "green and blue"}
    write(tmp_path / "texts.csv", [["class", "text"], *([name, words.get(name, name)] for name in COLOURS)])
    out = tmp_path / "words.csv"
    made = command("data", "semantics", coloured, "--from", tmp_path / "texts.csv", "--out", out, path=site)
    assert made.status == 0, made.err
    answer = command("run", "eszsl", "-d", coloured, "--semantics", out, "--uncalibrated", "--json", path=site)
    return str(json.loads(answer.out)["runs"][0]["id"]), site


def test_sentences_and_names_describe_new_classes_where_those_of_the_run_came_from_an_encoder(
    described: tuple[str, Path], tmp_path: Path
) -> None:
    run, site = described
    table = write(
        tmp_path / "t.csv", [["class", "text"], ["rose", "it is red"], ["sky", "it is blue"], ["sky", "blue"]]
    )
    (tmp_path / "names.txt").write_text("blue thing\nred thing\n")
    for classes, wanted in ((table, "rose"), (tmp_path / "names.txt", "red thing")):
        answer = command("predict", run, tmp_path / "images" / "red", "--classes", classes, "--json", path=site)
        assert answer.status == 0, answer.err
        assert {one["class"] for one in json.loads(answer.out)} == {wanted}
    images = tmp_path / "images"
    other = command("predict", run, images, "--classes", table, "--encoder", "another", path=site)
    assert other.error() == f"--encoder another: the class embeddings of run {run} are by colours"
    gone = command("predict", run, images, "--classes", table)
    assert "no text encoder is installed" in gone.error()


def test_names_of_new_classes_stand_in_the_templates_of_the_run(coloured: Path, tmp_path: Path) -> None:
    """The encoder sees no colour but in the template, and no template in a table of texts."""
    code = ENCODER.replace("{module}", "colour_names").replace("word in text", '"so " + word + " it is" in text')
    site = distribution(tmp_path, "colour-names", code)
    out = tmp_path / "names.csv"
    template = ("--template", "so {} it is")
    made = command("data", "semantics", coloured, *template, "--out", out, path=site)
    assert made.status == 0, made.err
    run = command("run", "sae", "-d", coloured, "--semantics", out, "--uncalibrated", "--json", path=site)
    assert run.status == 0, run.err
    name = str(json.loads(run.out)["runs"][0]["id"])
    (tmp_path / "new.txt").write_text("blue\nred\n")
    answer = command(
        "predict", name, tmp_path / "images" / "red", "--classes", tmp_path / "new.txt", "--json", path=site
    )
    assert answer.status == 0, answer.err
    assert {one["class"] for one in json.loads(answer.out)} == {"red"}


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_several_texts_of_a_new_class_are_pooled_as_those_of_the_run_were(
    coloured: Path, tmp_path: Path, pool: str
) -> None:
    """The largest values of "red", "red" and "blue" are those of "red and blue"; their means are not."""
    site = distribution(tmp_path, "colour-words", ENCODER.replace("{module}", "colour_words"))
    words = {"yellow": "red and green", "pink": "red and blue", "aqua": "green and blue"}
    texts = write(tmp_path / "texts.csv", [["class", "text"], *([name, words.get(name, name)] for name in COLOURS)])
    out = tmp_path / "words.csv"
    made = command("data", "semantics", coloured, "--from", texts, "--pool", pool, "--out", out, path=site)
    assert made.status == 0, made.err
    run = command("run", "eszsl", "-d", coloured, "--semantics", out, "--uncalibrated", "--json", path=site)
    told = [["several", "red"], ["several", "red"], ["several", "blue"], ["one", "red and blue"]]
    table = write(tmp_path / "new.csv", [["class", "text"], *told])
    name, images = json.loads(run.out)["runs"][0]["id"], tmp_path / "images" / "red"
    answer = command("predict", name, images, "--classes", table, "--top", 2, "--json", path=site)
    assert answer.status == 0, answer.err
    rows = json.loads(answer.out)
    assert rows and {row["margin"] == 0 for row in rows} == {pool == "max"}


def test_texts_that_cannot_be_read_are_one_line(described: tuple[str, Path], tmp_path: Path) -> None:
    run, site = described
    (tmp_path / "texts.json").write_text('{"rose": ')
    (tmp_path / "empty").mkdir()
    for name, reason in (("texts.json", "cannot be read as JSON"), ("empty", "it has no file CLASS.txt")):
        answer = command("predict", run, tmp_path / "images", "--classes", tmp_path / name, path=site)
        assert answer.status == 1 and reason in answer.error()


def test_texts_are_refused_where_the_run_was_trained_on_attributes(run: str, inside: Inside, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", [["class", "text"], ["rose", "it is red"]])
    line = inside("predict", run, tmp_path / "images", "--classes", table).error()
    assert line.endswith(f"the class embeddings of run {run} are from no text encoder; give a table of their values")


def test_from_python_a_model_is_found_by_the_beginning_of_its_id(run: str, coloured: Path) -> None:
    model = zslbench.load_model(run[:6])
    assert repr(model) == "TrainedModel(eszsl on colours, seed 0: 768 features, 6 classes)"
    assert model.attributes == ("r", "g", "b")
