"""`zslbench data build`: from PNG files to a run, and one line for whatever may be wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from outside import Answer, Inside
from pictures import write_digits, write_folder, write_table
from PIL import Image

from zslbench.data.xlsa17 import XLSA17Dataset

CLASSES = "abcdefg"
COMMAND, FAILED = 2, 1


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images", dict.fromkeys(CLASSES, 5))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "table.csv", {c: [i, i * i + 1] for i, c in enumerate(CLASSES)})


@pytest.fixture
def build(inside: Inside, corners: None, tmp_path: Path, images: Path, table: Path):  # type: ignore[no-untyped-def]
    def run(*options: object, folder: Path = tmp_path / "set", backbone: str = "corners") -> Answer:
        given = ("--images", images, "--attributes", table, "--backbone", backbone)
        return inside("data", "build", folder, *given, *options)

    return run


def test_pictures_of_digits_become_a_data_set_that_runs(inside: Inside, tmp_path: Path) -> None:
    """With a real network of random weights: a data set is to be judged, not a network."""
    images, table = write_digits(tmp_path, each=21)
    (images / "digit 3" / "text.jpg").write_text("no image")
    unseen = "digit 2,digit 4,digit 5"
    how = ("--backbone", "torchvision:squeezenet1_1", "--no-pretrained", "--unseen-classes", unseen)
    folder = tmp_path / "figures"
    answer = inside("data", "build", folder, "--images", images, "--attributes", table, *how, "--plain")

    assert answer.status == 0
    assert "skipped 1 images" in answer.out
    assert "digit 3/text.jpg: not an image that can be identified" in answer.out
    assert "fail" not in answer.out
    # a fifth of 21 images is 4.2, so 4 of each of 7 seen classes are held out
    sizes = {"images": 210, "trainval": 7 * 17, "test_seen": 7 * 4, "test_unseen": 3 * 21}
    assert {f"ok    {part}: {count}" for part, count in sizes.items()} <= set(answer.out.splitlines())
    assert answer.out.splitlines()[-1] == f"next: zslbench run eszsl --dataset {folder}"
    assert inside("data", "audit", folder).status == 0

    [run] = json.loads(inside("run", "eszsl", "--dataset", folder, "--json").out)["runs"]
    assert run["spec"]["dataset"] == "figures"
    assert run["spec"]["features"] == "torchvision-squeezenet1_1-random"
    assert run["metrics"]["acc_uu"] > 0.4  # 0.333 is chance


def test_the_files_are_in_the_release_layout(build, tmp_path: Path, images: Path) -> None:  # type: ignore[no-untyped-def]
    assert build("--unseen-classes", "b, f").status == 0
    split = scipy.io.loadmat(tmp_path / "set" / "att_splits.mat")
    features = scipy.io.loadmat(tmp_path / "set" / "corners.mat")
    assert [str(name[0][0]) for name in split["allclasses_names"]] == list(CLASSES)
    att = np.array([[i, i * i + 1] for i in range(7)], dtype=float)
    np.testing.assert_array_equal(split["original_att"], att.T)
    np.testing.assert_allclose(split["att"], (att / np.hypot(*att.T)[:, None]).T)
    assert features["labels"].ravel().tolist() == [c for c in range(1, 8) for _ in range(5)]
    names = [str(name[0][0]) for name in features["image_files"]]
    assert names[:6] == ["a/0.png", "a/1.png", "a/2.png", "a/3.png", "a/4.png", "b/0.png"]
    pixels = np.asarray(Image.open(images / names[7]))
    assert features["features"][:4, 7].tolist() == pixels[[0, 0, -1, -1], [0, -1, 0, -1], 0].tolist()
    assert split["test_unseen_loc"].ravel().tolist() == [6, 7, 8, 9, 10, 26, 27, 28, 29, 30]
    there = sorted(path.name for path in (tmp_path / "set").iterdir())
    assert there == ["att_splits.mat", "card.toml", "corners.mat", "labels.mat"]


def test_the_command_to_run_next_means_the_folder_even_if_it_is_called_as_a_data_set_is(  # type: ignore[no-untyped-def]
    build, inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = build(folder=Path("digits"))
    assert answer.out.splitlines()[-1] == "next: zslbench run eszsl --dataset ./digits"
    [run] = json.loads(inside("run", "eszsl", "--dataset", "./digits", "--json").out)["runs"]
    assert run["spec"]["features"] == "corners"


def test_the_same_command_again_finds_nothing_to_do(build, tmp_path: Path, images: Path) -> None:  # type: ignore[no-untyped-def]
    (images / "c" / "9.png").write_text("no image")
    assert build().status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    answer = build()
    assert answer.status == 0
    assert "nothing to do, all of it was there already" in answer.out
    assert "  c/9.png: not an image" in answer.out
    assert {path: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before


def test_the_same_command_restores_features_that_are_gone(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert build().status == 0
    before = (tmp_path / "set" / "corners.mat").read_bytes()
    (tmp_path / "set" / "corners.mat").unlink()
    assert build().status == 0
    assert (tmp_path / "set" / "corners.mat").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [("--seed", "seed"), ("--unseen-classes", "roles"), ("image", "images"), ("table", "attributes")],
)
def test_another_data_set_is_not_overwritten(  # type: ignore[no-untyped-def]
    build, tmp_path: Path, images: Path, table: Path, change: str, named: str
) -> None:
    assert build("--unseen-classes", "a,b").status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "set").iterdir()}
    options = ["--unseen-classes", "a,b"]
    if change == "--seed":
        options += ["--seed", "1"]
    elif change == "--unseen-classes":
        options = ["--unseen-classes", "a,c"]
    elif change == "image":
        (images / "a" / "0.png").unlink()
    else:
        write_table(table, {c: [i, i] for i, c in enumerate(CLASSES, 1)})
    answer = build(*options)
    assert answer.status == COMMAND
    assert f"it holds a data set made from other {named}" in answer.error()
    assert {path: path.read_bytes() for path in (tmp_path / "set").iterdir()} == before


def test_a_data_set_of_other_origin_is_not_overwritten(build, make_xlsa17) -> None:  # type: ignore[no-untyped-def]
    answer = build(folder=make_xlsa17())
    assert answer.status == COMMAND
    assert "which `data build` did not make" in answer.error()


def test_files_of_other_origin_are_not_overwritten(build, make_xlsa17) -> None:  # type: ignore[no-untyped-def]
    folder = make_xlsa17()
    (folder / "att_splits.mat").unlink()
    answer = build(folder=folder)
    assert answer.status == COMMAND
    assert "res101.mat: it is there already, and `data build` did not finish it" in answer.err


def test_a_second_backbone_is_added_to_the_same_data_set(build, inside: Inside, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert build().status == 0
    before = (tmp_path / "set" / "att_splits.mat").read_bytes()
    answer = build("--no-pretrained", backbone="torchvision:squeezenet1_1")
    assert answer.status == 0
    assert answer.out.splitlines()[-1].endswith("--features torchvision-squeezenet1_1-random")
    assert (tmp_path / "set" / "att_splits.mat").read_bytes() == before
    assert XLSA17Dataset.at(tmp_path / "set").feature_files(tmp_path) == ["corners", "torchvision-squeezenet1_1-random"]


def test_the_card_is_its_owners_to_edit(build, inside: Inside, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert build().status == 0
    card = tmp_path / "set" / "card.toml"
    card.write_text(card.read_text().replace('title = "set"', 'title = "Größe \\"7\\""'))
    assert 'title                               Größe "7"' in inside("data", "describe", tmp_path / "set").out
    assert build().status == 0
    assert "Größe" in card.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "cannot be read as TOML"),
        ("titel = 'x'", "there is no field 'titel'; did you mean 'title'?"),
        ("title = 7", "title must be a text in quotes"),
        ("attributes = 'yes'", "attributes must be true or false"),
    ],
)
def test_a_damaged_card_is_one_line(inside: Inside, make_xlsa17, text: str, message: str) -> None:  # type: ignore[no-untyped-def]
    folder = make_xlsa17()
    (folder / "card.toml").write_text(text)
    answer = inside("data", "describe", folder)
    assert answer.status == FAILED
    assert answer.error().startswith(f"{folder / 'card.toml'}: {message}")


def test_a_list_of_roles_is_followed(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    roles = tmp_path / "roles.csv"
    of = dict.fromkeys("abc", "seen") | dict.fromkeys("de", "validation") | dict.fromkeys("fg", "unseen")
    roles.write_text("class,role\n" + "".join(f"{c},{role}\n" for c, role in of.items()))
    assert build("--splits", roles).status == 0
    data = XLSA17Dataset.at(tmp_path / "set").load_labels(tmp_path)
    assert data.split.unseen.tolist() == [5, 6]
    assert [fold.tolist() for fold in data.validation_folds] == [[3, 4]]


def test_a_class_that_damage_leaves_too_small_is_one_line_and_leaves_no_data_set(  # type: ignore[no-untyped-def]
    build, tmp_path: Path, images: Path
) -> None:
    for i in range(1, 5):
        (images / "e" / f"{i}.png").write_text("no image")
    answer = build()
    assert answer.status == FAILED
    assert "each class needs two readable images; 'e' has 1" in answer.err
    assert list((tmp_path / "set").glob("*.mat")) == []


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--unseen-classes", "a,b", "--random-unseen", "0.5"], COMMAND, "contradict each other; give one of them"),
        (["--unseen-classes", "a,z"], COMMAND, "--unseen-classes: no images of 'z'; known: a, b, c, d, e, f, g"),
        (["--random-unseen", "2"], COMMAND, "--random-unseen 2: a share of the classes between 0 and 1"),
        (["--splits", "nowhere.csv"], COMMAND, "--splits nowhere.csv: there is no such file"),
        (["--device", "tpu"], COMMAND, "--device tpu: choose auto, cpu, cuda or cuda:N"),
        (["--batch-size", "0"], COMMAND, "--batch-size"),
        (["--images", "nowhere"], COMMAND, "nowhere: there is no such folder"),
        (["--attributes", "nowhere.csv"], COMMAND, "--attributes nowhere.csv: there is no such file"),
    ],
)
def test_a_wrong_command_is_one_line(build, options: list[str], status: int, message: str) -> None:  # type: ignore[no-untyped-def]
    answer = build(*options)
    assert answer.status == status
    assert message in answer.error()


def test_a_wrong_backbone_is_told_before_anything_is_written(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    answer = build(backbone="cornrs")
    assert answer.status == COMMAND
    assert "did you mean 'corners'" in answer.error()
    assert not (tmp_path / "set").exists()


def test_an_empty_folder_of_images_is_one_line(build, images: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.rmtree(images)
    images.mkdir()
    answer = build()
    assert answer.status == FAILED
    assert f"{images}: no images; each class is a sub-folder" in answer.error()


def test_a_data_set_inside_the_folder_of_images_would_become_a_class(build, images: Path) -> None:  # type: ignore[no-untyped-def]
    answer = build(folder=images / "set")
    assert answer.status == COMMAND
    assert "it lies in the folder of images; name one beside it" in answer.error()
