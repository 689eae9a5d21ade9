"""`zslbench data extract`: further features for a data set whose images are there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from outside import Answer, Inside
from PIL import Image
from synthetic import Files

from zslbench.data.xlsa17 import XLSA17Dataset

COMMAND, FAILED = 2, 1


def paths_of(folder: Path) -> list[str]:
    return [str(cell[0][0]) for cell in scipy.io.loadmat(folder / "res101.mat")["image_files"]]


@pytest.fixture
def folder(make_xlsa17, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    """A data set whose image files are absolute paths on another disk, and its images under other parents."""

    def elsewhere(files: Files) -> None:
        files["res101"]["image_files"] = [f"/BS/xian//work/{name}" for name in files["res101"]["image_files"]]

    folder: Path = make_xlsa17(edit=elsewhere)
    random = np.random.default_rng(0)
    for name in paths_of(folder):
        path = tmp_path / "pictures" / Path(*Path(name).parts[-2:])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path, format="PNG")
    return folder


@pytest.fixture
def extract(inside: Inside, corners: None, folder: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    def run(*options: object, images: Path = tmp_path / "pictures") -> Answer:
        return inside("data", "extract", folder, "--backbone", "corners", "--images", images, *options)

    return run


def test_each_column_is_the_image_that_the_data_set_names(extract, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    answer = extract()
    assert answer.status == 0
    assert answer.out.splitlines() == [
        f"added {folder / 'corners.mat'}",
        f"next: zslbench run eszsl --dataset {folder} --features corners",
    ]
    found = scipy.io.loadmat(folder / "corners.mat")
    names = paths_of(folder)
    assert [str(cell[0][0]) for cell in found["image_files"]] == names
    for i in (0, 57, 109):
        pixels = np.asarray(Image.open(tmp_path / "pictures" / Path(*Path(names[i]).parts[-2:])))
        assert found["features"][:4, i].tolist() == pixels[[0, 0, -1, -1], [0, -1, 0, -1], 0].tolist()
    data = XLSA17Dataset.at(folder).load(tmp_path, "corners")
    assert data.features is not None
    assert data.features.shape == (110, 12)


def test_the_same_command_again_finds_nothing_to_do(extract, folder: Path) -> None:  # type: ignore[no-untyped-def]
    assert extract().status == 0
    before = (folder / "corners.mat").stat().st_mtime_ns
    answer = extract()
    assert answer.status == 0
    assert "nothing to do, it was there already" in answer.out
    assert (folder / "corners.mat").stat().st_mtime_ns == before


def test_features_of_that_name_made_otherwise_are_kept(extract, folder: Path) -> None:  # type: ignore[no-untyped-def]
    (folder / "res101.mat").rename(folder / "labels.mat")
    (folder / "corners.mat").write_bytes((folder / "labels.mat").read_bytes())
    answer = extract()
    assert answer.status == COMMAND
    assert "it is there already, and was made from other images or weights; move it away" in answer.err


def test_another_folder_becomes_a_data_set_with_the_same_splits(  # type: ignore[no-untyped-def]
    extract, inside: Inside, folder: Path, tmp_path: Path
) -> None:
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555)
    out = tmp_path / "out"
    answer = extract("--out", out)
    folder.chmod(0o755)
    assert answer.status == 0
    assert answer.out.splitlines()[-1] == f"next: zslbench run eszsl --dataset {out}"
    assert (out / "att_splits.mat").read_bytes() == (folder / "att_splits.mat").read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["att_splits.mat", "res101.mat"]
    [run] = json.loads(inside("run", "eszsl", "--dataset", out, "--json").out)["runs"]
    assert (run["spec"]["dataset"], run["spec"]["features"]) == ("TOY", "corners")
    assert extract("--out", out).status == 0


def test_another_folder_with_other_splits_is_refused(extract, make_xlsa17) -> None:  # type: ignore[no-untyped-def]
    answer = extract("--out", make_xlsa17(name="other", seed=1))
    assert answer.status == COMMAND
    assert "it differs from" in answer.error()


def test_missing_images_are_an_error_because_columns_would_shift(extract, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for path in sorted((tmp_path / "pictures").rglob("*.jpg"))[:4]:
        path.unlink()
    answer = extract()
    assert answer.status == FAILED
    assert "4 of 110 images are missing, for instance /BS/xian//work/images/001/" in answer.error()
    assert not (folder / "corners.mat").exists()


def test_damaged_images_are_an_error_that_names_them(extract, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    damaged = sorted((tmp_path / "pictures").rglob("*.jpg"))[7]
    damaged.write_text("no image")
    answer = extract()
    assert answer.status == FAILED
    line = answer.error()
    assert f"1 of 110 images cannot be read, for instance {damaged}: not an image" in line
    assert not (folder / "corners.mat").exists()


def test_objects_whose_boxes_are_unknown_cannot_be_cut_out(  # type: ignore[no-untyped-def]
    inside: Inside, corners: None, real_data: Path, tmp_path: Path
) -> None:
    answer = inside(
        "data", "extract", "apy", "--data-root", real_data, "--images", tmp_path, "--backbone", "corners", "--out", "o"
    )
    assert answer.status == FAILED
    assert "put the folder attribute_data of the attributes' authors into" in answer.error()


def test_a_data_set_without_files_is_a_wrong_command(inside: Inside, corners: None) -> None:
    answer = inside("data", "extract", "digits", "--backbone", "corners")
    assert answer.status == COMMAND
    assert "has no files" in answer.error()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--weights", "w.pth"], "--weights w.pth: backbone corners uses no file of weights; leave it out"),
        (["--no-pretrained"], "--no-pretrained: backbone corners has no weights; leave it out"),
        (["--weights", "w.pth", "--no-pretrained"], "--weights and --no-pretrained contradict each other"),
    ],
)
def test_options_that_would_change_nothing_are_wrong_commands(  # type: ignore[no-untyped-def]
    extract, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(torch.nn.Linear(2, 3).state_dict(), "w.pth")
    answer = extract(*options)
    assert answer.status == COMMAND
    assert said in answer.error()
    assert not list(folder.glob("corners*"))
