"""Image files found by the names of a list, and joined to boxes, in the layouts in which authors publish them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from outside import Answer, Inside, inside, store
from pictures import write_folder
from PIL import Image
from synthetic import Files

from zslbench.data.audit import audit_dataset
from zslbench.data.catalogue import find_dataset
from zslbench.data.foldercard import images_folder, remember_images
from zslbench.data.imagefiles import IMAGE_PARTS, FileImages, find_images, images_below
from zslbench.data.imagelists import ANNOTATIONS, check_folders, read_boxes
from zslbench.data.xlsa17 import XLSA17Dataset
from zslbench.errors import DataError, Hint
from zslbench.files import is_clutter

__all__ = ["inside", "store"]

FAILED = 1
LAYOUTS = {
    "CUB": "CUB_200_2011/images",
    "SUN": "SUNAttributeDB_Images/images",
    "AWA2": "Animals_with_Attributes2/JPEGImages",
}
"""Where the archives of the authors have what GBU's names have below `images` or `JPEGImages`."""


def listed(folder: Path) -> tuple[list[str], list[str]]:
    """Reads a list and the class name of each row, without the code under test."""
    found = scipy.io.loadmat(folder / "labels.mat")
    cells = scipy.io.loadmat(folder / "att_splits.mat", variable_names=["allclasses_names"]).get("allclasses_names", [])
    classes = [str(cell[0][0]) for cell in cells] or ["?"] * 200
    labels = found["labels"].ravel().astype(int)
    return [str(cell[0][0]) for cell in found["image_files"]], [classes[label - 1] for label in labels]


def photographs(folder: Path, names: Iterable[str]) -> None:
    """Makes files by their names alone, which is all that is looked at."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_names_match_the_longest_end_of_a_path(tmp_path: Path) -> None:
    write_folder(tmp_path, {"CUB/images/001.a": 2, "CUB/images/002.b": 2, "other": 1})
    names = ["/BS/xian//images/002.b/0.png", "/BS/xian/images/001.a/1.png", "other/0.png"]
    expected = ["CUB/images/002.b/0.png", "CUB/images/001.a/1.png", "other/0.png"]
    assert find_images(names, tmp_path) == [tmp_path / name for name in expected]


def test_a_name_of_its_own_folder_wins_over_a_deeper_copy(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "copy/a": 1})
    assert find_images(["a/0.png"], tmp_path) == [tmp_path / "a" / "0.png"]


def test_two_files_that_fit_equally_well_are_both_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(DataError, match=r"a/0\.png and .*b/0\.png both fit the image /disk/0\.png"):
        find_images(["/disk/0.png"], tmp_path)


def test_byte_identical_copies_that_fit_equally_well_are_taken_as_one(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "b": 1})
    shutil.copy(tmp_path / "a" / "0.png", tmp_path / "b" / "0.png")
    assert find_images(["/disk/0.png"], tmp_path) == [tmp_path / "a" / "0.png"]
    third = write_folder(tmp_path, {"c": 1}) / "c" / "0.png"
    third.write_bytes((tmp_path / "a" / "0.png").read_bytes() + b"x")
    with pytest.raises(DataError, match=r"c/0\.png both fit the image /disk/0\.png"):
        find_images(["/disk/0.png"], tmp_path)


def test_another_class_s_file_of_the_same_name_does_not_stand_in(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 1})
    names = ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]
    assert find_images(names, tmp_path) == [*(tmp_path / name for name in names[:3]), None]
    assert find_images(["/disk/c/1.png"], tmp_path) == [tmp_path / "a" / "1.png"]  # where nothing else is called so


def test_a_folder_that_is_linked_is_searched_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "disk", {"a": 1})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "back").symlink_to(tmp_path / "disk")
    assert find_images(["a/0.png"], tmp_path / "data") == [tmp_path / "data" / "linked" / "a" / "0.png"]


def test_the_fingerprint_changes_with_names_sizes_boxes_and_what_is_missing(tmp_path: Path) -> None:
    path = write_folder(tmp_path, {"a": 1}) / "a" / "0.png"
    boxes = np.array([[1, 1, 2, 2]])
    found = [
        FileImages(["x"], [path]),
        FileImages(["y"], [path]),
        FileImages(["x"], [None]),
        FileImages(["x"], [path], boxes),
    ]
    prints = [images.fingerprint for images in found]
    assert FileImages(["x"], [path]).fingerprint == prints[0]
    with path.open("ab") as file:
        file.write(b"more")
    assert len({*prints, FileImages(["x"], [path]).fingerprint}) == 5


def test_files_of_the_same_size_are_told_apart(tmp_path: Path) -> None:
    for name, colour in [("a", "red"), ("b", "blue")]:
        Image.new("RGB", (4, 4), colour).save(tmp_path / f"{name}.bmp")
    prints = [FileImages(["x"], [tmp_path / f"{name}.bmp"]).fingerprint for name in "ab"]
    assert len(set(prints)) == 2


def test_chosen_images_are_known_by_the_contents_that_were_hashed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"a": 3}) / "a"
    paths = [folder / f"{i}.png" for i in range(3)]
    expected = FileImages(["c", "a"], [paths[2], paths[0]], np.array([[3] * 4, [1] * 4])).fingerprint
    images = FileImages(["a", "b", "c"], paths, np.array([[1] * 4, [2] * 4, [3] * 4]))
    assert images.fingerprint
    Image.new("RGB", (2, 2)).save(paths[2])
    assert images.select(np.array([2, 0])).fingerprint == expected


def test_copies_are_those_of_the_same_content_and_box(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"a": 4}) / "a"
    paths = [folder / f"{i}.png" for i in range(4)]
    shutil.copy(paths[0], paths[2])
    everywhere = {f"{part}_loc": np.array(rows) for part, rows in zip(IMAGE_PARTS, ([0, 1], [3], [2]), strict=True)}
    tuning = {"train_loc": np.array([0]), "val_loc": np.array([1])}
    [same] = FileImages(list("abcd"), paths).copies(everywhere | tuning)
    assert same == ((0, 2), ("trainval", "test_unseen"))
    assert same.in_several_parts
    nowhere = dict.fromkeys(everywhere, np.empty(0, np.int64))
    assert FileImages(list("abcd"), [*paths[:2], None, None]).copies(nowhere) == []
    [same] = FileImages(list("abcd"), paths).copies(nowhere | {"trainval_loc": np.array([0, 2])})
    assert not same.in_several_parts
    boxes = np.array([[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 3, 3]])
    [same] = FileImages(list("abcd"), [*paths[:3], paths[0]], boxes).copies(nowhere)
    assert same.rows == (0, 2)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_releases_lists_find_the_authors_files(real_data: Path, tmp_path: Path, name: str) -> None:
    """Every 97th real name; empty files stand for images."""
    names, classes = listed(real_data / name)
    check_folders(names, classes, real_data)
    below = LAYOUTS[name].rsplit("/", 1)[1]
    paths = [tmp_path / LAYOUTS[name] / file.split(f"/{below}/", 1)[1] for file in names[::97]]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_images(names[::97], tmp_path) == paths
    paths[3].unlink()
    found = find_images(names, tmp_path)
    assert [row for row, path in enumerate(found) if path] == [row for row in range(0, len(names), 97) if row != 291]


def test_flowers_lie_in_one_folder(real_data: Path, tmp_path: Path) -> None:
    names = listed(real_data / "FLO")[0][::97]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_images(names, tmp_path) == [tmp_path / name for name in names]


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_moved_by_one_class_disagree_with_the_list(real_data: Path, name: str) -> None:
    names, classes = listed(real_data / name)
    with pytest.raises(DataError, match=r"image_files and labels disagree: \d+ of \d+ images .*, image \d+, /BS/"):
        check_folders(names, [*classes[1:], classes[0]], real_data)


@pytest.fixture
def apy(real_data: Path, tmp_path: Path) -> Path:
    """The real list of aPY, and a folder with annotation files of its rows and a few images, as their authors lay them.

    The boxes are made up: that of row n begins at column n % 7 + 1 and row n % 5 + 1 and is 4 wide and 3 high.
    """
    names, classes = listed(real_data / "APY")
    rows = [
        f"{Path(name).name} {classes[n]} {n % 7 + 1} {n % 5 + 1} {n % 7 + 4} {n % 5 + 3}"
        for n, name in enumerate(names)
    ]
    (tmp_path / "aPY" / "attribute_data").mkdir(parents=True)
    ends = [0, 6340, 12695, 15339]  # rows of GBU's list begin anew where the next file of names does
    for file, start, stop in zip(ANNOTATIONS, ends, ends[1:], strict=False):
        lines = [row + " 0" * 64 for row in rows[start:stop]]
        (tmp_path / "aPY" / "attribute_data" / file).write_text("\n".join(lines) + "\n")
    noise = np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    for folder, row in [("VOCdevkit/VOC2008/JPEGImages", 0), ("ayahoo_test_images", 12695)]:
        (tmp_path / "aPY" / folder).mkdir(parents=True)
        Image.fromarray(noise).save(tmp_path / "aPY" / folder / Path(names[row]).name, format="PNG")
    return tmp_path / "aPY"


def test_apy_s_rows_are_boxes_of_files(real_data: Path, apy: Path) -> None:
    dataset = find_dataset("apy")
    assert isinstance(dataset, XLSA17Dataset)
    images = dataset.file_images(real_data, images=apy)
    assert len(images) == 15339
    there = [row for row in range(len(images)) if images.paths[row]]
    assert there == [0, 1, 12695, 12696]  # a horse and its rider, two donkeys
    noise = np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    for row in there:
        left, top = row % 7, row % 5
        np.testing.assert_array_equal(np.asarray(images.read(row)), noise[top : top + 3, left : left + 4])


def test_apy_without_its_boxes_says_what_to_put_where(real_data: Path, apy: Path) -> None:
    (apy / "attribute_data").rename(apy.parent / "away")
    dataset = find_dataset("apy")
    assert isinstance(dataset, XLSA17Dataset)
    with pytest.raises(DataError, match=f"apascal_train.txt, .*: put the folder attribute_data of .* into {apy}"):
        dataset.file_images(real_data, images=apy)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.jpg cat 1 1 5 5 0", "a.jpg dog 1 1 5 5"], r"it lists 3 images, but the annotation has 2 boxes"),
        (["a.jpg cat 1 1 5 5", "a.jpg cat 1 1 5 5"], r"line 2 is a\.jpg, 'cat', but image 2 of .* is a\.jpg, 'dog'"),
        (["b.jpg cat 1 1 5 5"], r"line 1 is b\.jpg, 'cat', but image 1"),
        (["a.jpg cat 1 1 5"], r"line 1 does not begin with an image, a class and the four numbers"),
        (["a.jpg cat 1 1 x 5"], r"line 1 does not begin with"),
        (["a.jpg cat 1 1 inf 5"], r"line 1 does not begin with"),
        (
            ["a.jpg cat 1 1 5 5", "a.jpg dog 1 1 5 5", "b.jpg dog 1 1 5 5", "c.jpg dog 1 1 5 5"],
            r"3 images, but .* 4 boxes",
        ),
        (None, r"apascal_test\.txt: there is no such file"),
    ],
)
def test_boxes_of_another_list_are_refused(tmp_path: Path, lines: list[str] | None, message: str) -> None:
    for file in ANNOTATIONS:
        (tmp_path / file).write_text("")
    (tmp_path / ANNOTATIONS[0]).write_text("\n".join(lines or []))
    if lines is None:
        (tmp_path / ANNOTATIONS[1]).unlink()
    with pytest.raises(DataError, match=message):
        read_boxes(["/x/a.jpg", "/x/a.jpg", "/x/b.jpg"], ["cat", "dog", "dog"], tmp_path / "data", [tmp_path])


@pytest.fixture
def folder(make_xlsa17, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    """A data set whose 110 images lie elsewhere."""
    made: Path = make_xlsa17()
    found = scipy.io.loadmat(made / "res101.mat")["image_files"]
    for number, cell in enumerate(found):
        path = tmp_path / "disk" / str(cell[0][0])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), (number, 0, 0)).save(path, format="PNG")
    return made


def test_images_are_loaded_in_the_order_of_the_labels(folder: Path, tmp_path: Path) -> None:
    remember_images(folder, tmp_path / "disk")
    data = XLSA17Dataset.at(folder).load_images(Path())
    assert data.images is not None
    assert [data.images.read(row).getpixel((0, 0)) for row in (0, 55, 109)] == [(0, 0, 0), (55, 0, 0), (109, 0, 0)]
    assert data.features is None
    assert data.features_name == "images"
    assert data.fingerprint != XLSA17Dataset.at(folder).load_labels(Path()).fingerprint


def test_where_images_are_is_said_by_a_line_a_card_or_the_sub_folder(tmp_path: Path) -> None:
    assert images_folder(tmp_path) == tmp_path / "images"
    (tmp_path / "card.toml").write_text('[source]\nimages = "/from/card"\n')
    assert images_folder(tmp_path) == Path("/from/card")
    (tmp_path / "images.txt").write_text("beside\n")
    assert images_folder(tmp_path) == tmp_path / "beside"
    remember_images(tmp_path, Path("here"))
    assert images_folder(tmp_path) == Path.cwd() / "here"


@pytest.fixture
def look(inside: Inside, folder: Path):  # type: ignore[no-untyped-def]
    def run(*options: object) -> Answer:
        return inside("data", "images", folder, *options)

    return run


def test_the_folder_is_remembered(look, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert "is no folder, and its images are not in the GBU release" in look().error()
    answer = look("--from", tmp_path / "disk")
    assert answer.status == 0
    assert f"110 of 110 images found below {tmp_path / 'disk'}" in answer.out
    assert look("--decode", "--plain").out.splitlines()[1:] == [f"{folder}: 110 of 110 can be decoded"]


def test_images_of_one_content_are_named_those_in_several_parts_first(look, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = XLSA17Dataset.at(folder)
    names, split = data.image_files(Path()), data.read_split(Path()).parts
    rows = [*split["trainval_loc"][:3], split["test_unseen_loc"][0], split["trainval_loc"][5]]
    paths = [tmp_path / "disk" / names[row] for row in rows]
    shutil.copy(paths[0], paths[1])
    shutil.copy(paths[2], paths[3])
    twice, shared = sorted(paths[:2]), sorted(paths[2:4])
    answer = look("--from", tmp_path / "disk")
    assert answer.status == 0
    assert answer.out.splitlines()[1:] == [
        f"{folder}: 4 images are only 2, byte by byte, and 1 of these are in several parts",
        f"  {shared[0]} = {shared[1]} (trainval, test_unseen)",
        f"  {twice[0]} = {twice[1]} (trainval)",
    ]
    found = {finding.check: finding for finding in audit_dataset(data, Path())}
    for check, count in [("copies of image files", "2"), ("image files in several parts", "1")]:
        assert (found[check].value, found[check].verdict) == (count, "warn")


def test_missing_and_damaged_images_are_counted_and_named(look, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    paths = sorted((tmp_path / "disk").rglob("*.jpg"))
    for path in paths[:22]:
        path.unlink()
    paths[-1].write_bytes(b"GIF89a")
    answer = look("--from", tmp_path / "disk", "--decode", "--plain")
    assert answer.status == FAILED
    lines = answer.out.splitlines()
    assert "88 of 110 images found" in lines[0]
    assert lines[1] == f"  missing: {paths[0].relative_to(tmp_path / 'disk')}"
    assert lines[21] == "  and 2 more"
    assert "87 of 88 can be decoded" in lines[22]
    assert lines[23].startswith(f"  damaged: {paths[-1]}: ")


def test_a_folder_without_any_of_them_is_not_remembered(look, folder: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "empty").mkdir()
    assert look("--from", tmp_path / "empty").status == FAILED
    assert not (folder / "images.txt").exists()
    (folder / "images").symlink_to(tmp_path / "empty")
    with pytest.raises(DataError, match=r"none of the 110 images of TOY is there, images/001/00000\.jpg for one"):
        XLSA17Dataset.at(folder).load_images(Path())


def test_a_list_of_another_length_than_the_labels_is_one_line(make_xlsa17, inside: Inside) -> None:  # type: ignore[no-untyped-def]
    def shorten(files: Files) -> None:
        files["res101"]["image_files"].pop()

    folder = make_xlsa17(edit=shorten)
    (folder / "images").mkdir()
    answer = inside("data", "images", folder)
    assert answer.status == FAILED
    assert "it names 109 images, but has 110 labels" in answer.error()


def test_all_birds_are_found(real_data: Path) -> None:
    if not (real_data / "CUB50" / "images").is_dir():
        pytest.skip("no CUB50")
    data = find_dataset(real_data / "CUB50").load_images(real_data)
    assert isinstance(data.images, FileImages)
    assert len(data.images) == 2889
    assert data.images.missing == []
    for row in (0, 1500, 2888):
        name = data.class_names[data.labels[row]]
        assert name in data.images.name(row)
        assert min(data.images.read(row).size) == 256


@pytest.mark.parametrize(
    ("listed", "there"),
    [
        ("/disk/a/0.jpg", "a/0.JPG"),
        ("/disk/A/0.JPG", "a/0.jpg"),
        ("caf\u00e9/0.jpg", "cafe\u0301/0.jpg"),
        ("cafe\u0301/0.jpg", "caf\u00e9/0.JPG"),
    ],
)
def test_case_and_forms_of_accents_do_not_count_where_nothing_else_fits(
    tmp_path: Path, listed: str, there: str
) -> None:
    photographs(tmp_path, [there, "b/0.jpg"])
    with pytest.warns(Hint, match="1 images are matched without regard to case and Unicode forms: .* is taken for"):
        assert find_images([listed, "b/0.jpg"], tmp_path) == [tmp_path / there, tmp_path / "b/0.jpg"]


def test_a_name_that_is_equal_wins_and_is_taken_once(tmp_path: Path) -> None:
    photographs(tmp_path, ["a/0.jpg", "a/0.JPG", "A/1.jpg"])
    names = ["a/0.JPG", "a/0.jpg"]
    assert find_images(names, tmp_path) == [tmp_path / name for name in names]
    assert find_images(["a/0.JPG"], tmp_path) == [tmp_path / "a/0.JPG"]
    assert find_images(["A/1.JPG", "a/1.JPG"], tmp_path) == [None, None]  # which of the two is it?
    (tmp_path / "a/0.JPG").write_text("another image")
    with pytest.raises(DataError, match="both fit the image"):
        find_images(["/disk/A/0.Jpg"], tmp_path)


def test_a_file_that_another_name_has_does_not_stand_in(tmp_path: Path) -> None:
    photographs(tmp_path, ["a/0.jpg"])
    assert find_images(["a/0.jpg", "a/0.JPG"], tmp_path) == [tmp_path / "a/0.jpg", None]


def test_what_archivers_and_desktops_leave_is_no_image(tmp_path: Path) -> None:
    names = ["a/0.jpg", "a/._0.jpg", "__MACOSX/a/0.jpg", "a/.thumbnails/0.jpg", "@eaDir/a/0.jpg"]
    photographs(tmp_path, names)
    assert images_below(tmp_path) == [tmp_path / "a/0.jpg"]
    assert find_images(["/disk/a/0.jpg"], tmp_path) == [tmp_path / "a/0.jpg"]


def test_clutter_is_what_lies_below_and_not_above() -> None:
    assert [
        name
        for name in ("a/.DS_Store", "__macosx/a.jpg", "a/Thumbs.db", "._a", "a/desktop.ini")
        if not is_clutter(name)
    ] == []
    assert not any(map(is_clutter, ("a.jpg", "./a/b.jpg", "../a.jpg", "MACOSX/a.jpg", "a.b/c", "Thumbs/a.jpg")))


def test_windows_paths_find_their_images_and_are_said(make_xlsa17, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    def windows(files: Any) -> None:
        images = files["res101"]
        images["image_files"] = ["D:\\Data\\" + name.replace("/", "\\") for name in images["image_files"]]

    plain = XLSA17Dataset.at(make_xlsa17(name="PLAIN"))
    dataset = XLSA17Dataset.at(make_xlsa17(name="WINDOWS", edit=windows))
    photographs(tmp_path / "photos", plain.image_files(tmp_path))
    with pytest.warns(Hint, match=r"res101\.mat: image_files has Windows paths"):
        found = dataset.file_images(tmp_path, images=tmp_path / "photos")
    assert found.paths == plain.file_images(tmp_path, images=tmp_path / "photos").paths
    assert found.missing == []


@pytest.mark.parametrize(
    ("there", "cause"),
    [
        (["001/00000.png"], r"what lies there has other suffixes, as 001/00000\.png has"),
        (["x/y.jpg", "x/z.jpg"], r"there are 2 images of other names, x/y\.jpg for one"),
        (["notes.txt"], "there are no images below it"),
    ],
)
def test_where_no_image_is_there_the_likely_cause_is_named(
    make_xlsa17, tmp_path: Path, there: list[str], cause: str
) -> None:  # type: ignore[no-untyped-def]
    folder = make_xlsa17()
    photographs(folder / "images", there)
    with pytest.raises(DataError, match=f"none of the 110 images of TOY is there.*; {cause}"):
        XLSA17Dataset.at(folder).load_images(tmp_path)
