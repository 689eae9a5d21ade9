"""A small problem on images in memory and on disk, without any decoding, for tests of what happens after it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from toy import toy_data

from zslbench.api.dataset import ZSLData
from zslbench.api.images import Pixels, square_side


def random_squares(path: Path, images: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Writes the file that crops are read from, and returns what is in it, `(images, 3, side, side)`."""
    side = square_side(size)
    squares = np.random.default_rng(seed).integers(0, 256, (images, 3, side, side), dtype=np.uint8)
    squares.tofile(path)
    return squares


def toy_image_data(folder: Path, size: int = 16, crops: int = 2, **options: int) -> ZSLData:
    """The toy problem with a row of features for each crop; its images are noise."""
    data = toy_data(**options)
    assert data.features is not None
    random_squares(folder / "squares", len(data.labels), size)
    noise = np.random.default_rng(1).normal(scale=0.01, size=(len(data.labels), crops, data.features.shape[1]))
    features = data.features[:, None] + noise.astype(np.float32)
    pixels = Pixels(folder / "squares", np.arange(len(data.labels)), size, crops)
    return replace(data, features=features, pixels=pixels)
