"""Noise images in files, a small data set of them, and its crops in a cache of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import backbones, write_folder
from PIL import Image

from zslbench import ImageParams, ZSLData
from zslbench.data.imagefiles import FileImages
from zslbench.preparation import backbones as module
from zslbench.preparation.pixels import with_images

CPU = torch.device("cpu")
SIZE, SIDE = 28, 32
"""A crop and the square that it is cut from: 28 is to 32 as 224 to 256."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    filled = backbones()
    monkeypatch.setattr(module, "registry", lambda: filled)
    return tmp_path / "cache"


def in_files(folder: Path, count: int = 12, size: int = SIDE) -> FileImages:
    write_folder(folder, {"a": count}, size)
    names = [f"a/{i}.png" for i in range(count)]
    return FileImages(names, [folder / name for name in names])


def problem(images: FileImages) -> ZSLData:
    """Three classes of four images: two seen, with one image each held out, and an unseen one."""
    return ZSLData(
        name="toy",
        features_name="images",
        features=None,
        labels=np.repeat([0, 1, 2], 4),
        semantics=np.eye(3, dtype=np.float32),
        class_names=("one", "two", "three"),
        train=np.array([0, 1, 2, 4, 5, 6]),
        test_seen=np.array([3, 7]),
        test_unseen=np.array([8, 9, 10, 11]),
        images=images,
    )


def prepared(data: ZSLData, crops: int = 10, backbone: str = "corners") -> ZSLData:
    params = ImageParams(image_size=SIZE, crops=crops, backbone=backbone)
    return with_images(data, params, None, True, CPU)


def array(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1)


def again(images: FileImages) -> FileImages:
    """Returns the same files as a later command finds them."""
    return FileImages([f"a/{i}.png" for i in range(len(images))], images.paths)
