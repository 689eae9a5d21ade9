"""Extraction of features: what is computed, what is skipped, and how it goes on where it was."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from pictures import Corners, Greedy, write_folder
from PIL import Image
from torch import Tensor

from zslbench.data.imagefiles import FileImages
from zslbench.errors import DataError, RunError, UsageError
from zslbench.preparation.extract import extract

CPU = torch.device("cpu")
SOURCE = {"images": "these"}


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    write_folder(tmp_path / "images", {"a": 11})
    return [tmp_path / "images" / "a" / f"{i}.png" for i in range(11)]


def files(paths: list[Path]) -> FileImages:
    return FileImages([path.name for path in paths], paths)


def corners(path: Path) -> list[float]:
    """Reads the corner pixels without the code under test, in the order of `Corners`."""
    pixels = np.asarray(Image.open(path), dtype=np.float32)
    return [float(pixels[row, column, channel]) for channel in range(3) for row in (0, -1) for column in (0, -1)]


def corner_rows(paths: list[Path]) -> np.ndarray:
    return np.array([corners(path) for path in paths], dtype=np.float32).reshape(len(paths), 3, 2, 2)


class Interrupted(Corners):
    """Is killed in its third batch, as it were."""

    calls = 0

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 3:
            raise KeyboardInterrupt
        return super().forward(images)


def test_features_are_those_of_each_image_in_order(paths: list[Path], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    features, unreadable = extract(files(paths), Corners(), tmp_path / "w", SOURCE, CPU, 4, lambda *at: told.append(at))
    np.testing.assert_array_equal(features.reshape(-1, 3, 2, 2), corner_rows(paths))
    assert unreadable == {}
    assert told == [(0, 11), (4, 11), (8, 11), (11, 11)]


def test_unreadable_images_are_left_out_and_say_why(paths: list[Path], tmp_path: Path) -> None:
    paths[0].write_text("text")
    paths[7].write_bytes(paths[7].read_bytes()[:60])
    features, unreadable = extract(files(paths), Corners(), tmp_path / "w", SOURCE, CPU, 3)
    good = [path for i, path in enumerate(paths) if i not in (0, 7)]
    np.testing.assert_array_equal(features.reshape(-1, 3, 2, 2), corner_rows(good))
    assert sorted(unreadable) == [0, 7]
    assert unreadable[0] == "not an image that can be identified"


def test_a_batch_without_any_readable_image_is_no_end(paths: list[Path], tmp_path: Path) -> None:
    for path in paths[:4]:
        path.write_text("text")
    features, unreadable = extract(files(paths), Corners(), tmp_path / "w", SOURCE, CPU, 2)
    assert len(features) == 7
    assert sorted(unreadable) == [0, 1, 2, 3]


def test_no_readable_image_at_all_is_one_line(paths: list[Path], tmp_path: Path) -> None:
    for path in paths:
        path.write_text("text")
    with pytest.raises(DataError, match=r"none of 11 images can be read; .*0\.png: not an image"):
        extract(files(paths), Corners(), tmp_path / "w", SOURCE, CPU)


def test_the_batch_is_halved_until_memory_suffices(paths: list[Path], tmp_path: Path) -> None:
    backbone = Greedy()
    features, _ = extract(files(paths), backbone, tmp_path / "w", SOURCE, CPU, 8)
    np.testing.assert_array_equal(features.reshape(-1, 3, 2, 2), corner_rows(paths))
    assert backbone.batches == [2, 2, 2, 2, 2, 1]


def test_memory_for_not_even_one_image_is_one_line(paths: list[Path], tmp_path: Path) -> None:
    class Glutton(Corners):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RunError, match="memory does not suffice for one image on cpu"):
        extract(files(paths), Glutton(), tmp_path / "w", SOURCE, CPU)


def test_it_goes_on_where_it_was_interrupted(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        extract(files(paths), Interrupted(), tmp_path / "w", SOURCE, CPU, 2)
    with (tmp_path / "w" / "rows").open("ab") as rows:
        rows.write(b"half a batch that no state counts")
    backbone = Greedy()
    features, _ = extract(files(paths), backbone, tmp_path / "w", SOURCE, CPU, 3)
    np.testing.assert_array_equal(features.reshape(-1, 3, 2, 2), corner_rows(paths))
    assert backbone.batches == [2, 2, 2, 1]  # the batch size it began with: another would change the last bits


def damage(folder: Path, kind: str) -> None:
    state, rows = folder / "state.json", folder / "rows"
    if kind == "state":
        state.write_text('{"source"')
    if kind == "done":
        state.write_text(state.read_text().replace('"done": 4', '"done": 3'))
    if kind == "rows":
        rows.write_bytes(b"")
    if kind == "bit":
        content = bytearray(rows.read_bytes())
        content[77] ^= 4
        rows.write_bytes(content)


@pytest.mark.parametrize("kind", ["source", "state", "done", "rows", "bit"])
def test_work_that_cannot_be_gone_on_with_begins_anew(paths: list[Path], tmp_path: Path, kind: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        extract(files(paths), Interrupted(), tmp_path / "w", SOURCE, CPU, 2)
    source = {"images": "others"} if kind == "source" else SOURCE
    damage(tmp_path / "w", kind)
    backbone = Greedy()
    with nullcontext() if kind == "source" else pytest.warns(UserWarning, match=r"w: damaged .*; it is begun anew"):
        features, _ = extract(files(paths), backbone, tmp_path / "w", source, CPU, 3)
    np.testing.assert_array_equal(features.reshape(-1, 3, 2, 2), corner_rows(paths))
    assert sum(backbone.batches) == 11


def test_what_is_done_is_not_done_again(paths: list[Path], tmp_path: Path) -> None:
    extract(files(paths), Corners(), tmp_path / "w", SOURCE, CPU)
    backbone = Greedy()
    extract(files(paths), backbone, tmp_path / "w", SOURCE, CPU)
    assert backbone.batches == []
    assert json.loads((tmp_path / "w" / "state.json").read_text())["done"] == 11


def test_two_processes_do_not_write_the_same_rows(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    with FileLock(tmp_path / "w" / "lock"), pytest.raises(UsageError, match="another process is making these"):
        extract(files(paths), Corners(), tmp_path / "w", SOURCE, CPU)


class Wrong(Corners):
    """A backbone with a fault."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def prepare(self, image: Image.Image) -> Tensor:
        if self.fault == "prepare":
            raise ValueError("too small")
        return super().prepare(image)

    def forward(self, images: Tensor) -> Tensor:
        if self.fault == "maps":
            return images
        if self.fault == "raises":
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied\nmore")
        return super().forward(images) * float("nan")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("prepare", r"0\.png: Wrong cannot prepare it \(ValueError: too small\)"),
        ("maps", r"features of shape \(11, 3, 2, 2\) for 11 images; \(B, D\) is needed"),
        ("raises", r"fails from .*0\.png on: RuntimeError: mat1 and mat2 shapes cannot be multiplied$"),
        ("nan", r"features are NaN or infinite in the batch from .*0\.png on"),
    ],
)
def test_a_faulty_backbone_is_one_line(paths: list[Path], tmp_path: Path, fault: str, message: str) -> None:
    with pytest.raises(RunError, match=message):
        extract(files(paths), Wrong(fault), tmp_path / "w", SOURCE, CPU, 11)


def test_a_folder_that_cannot_be_written_is_one_line(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "w").write_text("a file")
    with pytest.raises(DataError, match="cannot be written"):
        extract(files(paths), Corners(), tmp_path / "w", SOURCE, CPU)
