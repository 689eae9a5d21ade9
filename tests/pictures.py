"""Folders of images by class, and a backbone that needs no weights."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor

from zslbench import Backbone, BackboneCard, Registry
from zslbench.discovery import builtin

ATTRIBUTES = "abcdefg"
SEGMENTS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")
"""Lit segments of the digits 0 to 9 on a seven-segment display."""


class Corners(Backbone):
    """The colours of the four corner pixels, `(B, 12)`."""

    def prepare(self, image: Image.Image) -> Tensor:
        pixels = np.asarray(image, dtype=np.float32)[[0, 0, -1, -1], [0, -1, 0, -1]]
        return torch.from_numpy(pixels.T.copy()).reshape(3, 2, 2)

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)


class Greedy(Corners):
    """Memory suffices for three images at a time."""

    def __init__(self, weights: Path | None = None, pretrained: bool = True) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.batches.append(len(images))
        return super().forward(images)


class Deaf(Corners):
    """Has parameters, and no use for a file of weights."""

    def __init__(self, weights: Path | None = None, pretrained: bool = True) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)


class Attentive(Deaf):
    """Reads a file in its own way, and cannot do without one."""

    def __init__(self, weights: Path | None = None, pretrained: bool = True) -> None:
        super().__init__()
        assert weights is not None
        self.layer.load_state_dict(torch.load(weights, weights_only=True))


def backbones() -> Registry:
    """A registry that knows the backbone `corners`, and the built-in ones."""
    registry = Registry()
    builtin.zslbench_register(registry)
    registry.backbone("corners", "pictures:Corners", BackboneCard("Corners", "none"))
    return registry


def write_folder(folder: Path, counts: dict[str, int], size: int = 4) -> Path:
    """Writes noise images `0.png` onwards for each class, different ones each; returns the folder."""
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def write_table(path: Path, rows: dict[str, list[object]], head: str = "class,x,y") -> Path:
    """Writes a table of attributes."""
    lines = [",".join(map(str, [name, *values])) for name, values in rows.items()]
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return path


def write_digits(folder: Path, each: int) -> tuple[Path, Path]:
    """Writes the first images of each of scikit-learn's digits as PNG, and their segments as a table of attributes."""
    found = load_digits()
    for digit in range(10):
        below = folder / "images" / f"digit {digit}"
        below.mkdir(parents=True)
        for i in np.flatnonzero(found.target == digit)[:each]:
            pixels = np.round(found.images[i] * 255 / 16).astype(np.uint8)
            Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC).save(below / f"{i:04d}.png")
    table = folder / "attributes.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["class", *ATTRIBUTES])
        writer.writerows([f"digit {d}", *(int(a in SEGMENTS[d]) for a in ATTRIBUTES)] for d in range(10))
    return folder / "images", table
