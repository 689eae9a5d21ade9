"""A folder of images by class."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import write_folder
from PIL import Image

from zslbench.errors import DataError, UsageError
from zslbench.preparation.build import ImageFolder


def test_a_folder_lists_classes_and_images_in_order(tmp_path: Path) -> None:
    write_folder(tmp_path, {"b": 2, "a": 2})
    (tmp_path / "a" / "more").mkdir()
    Image.new("L", (1, 1)).save(tmp_path / "a" / "more" / "5.PNG")
    for stray in ("a/.hidden.png", "a/Thumbs.db", "top.png"):
        (tmp_path / stray).write_text("")
    (tmp_path / ".cache").mkdir()
    with pytest.warns(UserWarning, match="left out, because it is in no folder of a class: 'top.png'"):
        found = ImageFolder.read(tmp_path)
    assert found.class_names == ("a", "b")
    assert found.names == ("a/0.png", "a/1.png", "a/more/5.PNG", "b/0.png", "b/1.png")
    assert found.labels.tolist() == [0, 0, 0, 1, 1]


def test_a_folder_without_classes_is_one_line(tmp_path: Path) -> None:
    Image.new("L", (1, 1)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"its images are in no folder of a class \('x.png'\); each class is"):
        ImageFolder.read(tmp_path)
    with pytest.raises(UsageError, match=r"--images .*nowhere: there is no such folder"):
        ImageFolder.read(tmp_path / "nowhere")


def test_two_folders_of_one_name_are_one_line(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 2, "cat ": 2, "dog": 2})
    with pytest.raises(DataError, match="two folders are of class 'cat': 'cat', 'cat '; put their images into one"):
        ImageFolder.read(tmp_path)


def test_all_classes_with_fewer_than_two_images_are_one_line(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 1, "dog": 2, "owl": 1})
    with pytest.raises(DataError, match=r"each class needs two images; 'cat' has 1, 'owl' has 1$"):
        ImageFolder.read(tmp_path)


def test_a_folder_without_images_is_no_class_and_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"new folder": 0, "dog": 2, "lists": 0})
    (tmp_path / "lists" / "a.txt").write_text("")
    with pytest.warns(UserWarning) as said:
        assert ImageFolder.read(tmp_path).class_names == ("dog",)
    assert [str(one.message) for one in said] == [
        f"{tmp_path}: left out, because there are no images in it: 'lists', 'new folder'",
        f"{tmp_path}: no images, and passed over: 1 .txt file",
    ]


def test_two_forms_of_an_accent_are_one_class_and_what_a_mac_leaves_is_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"caf\u00e9": 2, "dog": 2, "__MACOSX": 1, ".hidden": 1})
    assert ImageFolder.read(folder).class_names == ("caf\u00e9", "dog")
    write_folder(tmp_path, {"cafe\u0301": 2})
    with pytest.raises(DataError, match="two folders are of class 'caf\u00e9'"):
        ImageFolder.read(folder)
