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
    for stray in ("a/notes.txt", "a/.hidden.png", "top.png"):
        (tmp_path / stray).write_text("")
    (tmp_path / ".cache").mkdir()
    found = ImageFolder.read(tmp_path)
    assert found.class_names == ("a", "b")
    assert found.names == ("a/0.png", "a/1.png", "a/more/5.PNG", "b/0.png", "b/1.png")
    assert found.labels.tolist() == [0, 0, 0, 1, 1]


def test_a_folder_without_classes_is_one_line(tmp_path: Path) -> None:
    Image.new("L", (1, 1)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match="no images; each class is a sub-folder"):
        ImageFolder.read(tmp_path)
    with pytest.raises(UsageError, match=r"--images .*nowhere: there is no such folder"):
        ImageFolder.read(tmp_path / "nowhere")


def test_two_folders_of_one_name_are_one_line(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 2, "cat ": 2, "dog": 2})
    with pytest.raises(DataError, match="two classes are called 'cat'"):
        ImageFolder.read(tmp_path)


@pytest.mark.parametrize("count", [0, 1])
def test_a_class_with_fewer_than_two_images_is_one_line(tmp_path: Path, count: int) -> None:
    write_folder(tmp_path, {"cat": count, "dog": 2})
    with pytest.raises(DataError, match=f"class 'cat' has {count} images; each class needs two"):
        ImageFolder.read(tmp_path)


def test_two_forms_of_an_accent_are_one_class_and_what_a_mac_leaves_is_none(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {"caf\u00e9": 2, "dog": 2, "__MACOSX": 1, ".hidden": 1})
    assert ImageFolder.read(folder).class_names == ("caf\u00e9", "dog")
    write_folder(tmp_path, {"cafe\u0301": 2})
    with pytest.raises(DataError, match="several classes have one name: name 'caf\u00e9'"):
        ImageFolder.read(folder)
