"""`pixels`, a backbone without weights: the image itself, averaged over a grid."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zslbench.api.backbone import Backbone
from zslbench.api.images import square_side
from zslbench.preparation.squares import central_square

SIZE, GRID = 64, 16


class AveragePixels(Backbone):
    """Mean colour of each field of a 16 x 16 grid, `(B, 768)` in [0, 1]: for small drawn images, and for trying out."""

    def prepare(self, image: Image.Image) -> Tensor:
        """Scales the shorter side to 73 and crops the middle, `(3, 64, 64)`, as other backbones do 256 and 224."""
        side = square_side(SIZE)
        left = round((side - SIZE) / 2)
        return self.prepare_crop(central_square(image, side).crop((left, left, left + SIZE, left + SIZE)))

    def prepare_crop(self, image: Image.Image) -> Tensor:
        """Scales a crop to `(3, 64, 64)`."""
        pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float32) / 255
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def forward(self, images: Tensor) -> Tensor:
        """Averages over the grid, `(B, 768)`."""
        return torch.nn.functional.avg_pool2d(images, SIZE // GRID).flatten(1)
