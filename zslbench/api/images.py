"""The image interface: `Images` decodes a data set's images one at a time, `Pixels` reads crops of them from disk."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from zslbench.errors import DataError
from zslbench.files import reading

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

Crops = Annotated[Literal[1, 2, 5, 10], BeforeValidator(lambda value: int(value) if str(value).isdecimal() else value)]
"""How many crops of each image; the command line passes it as text."""
CROPS: dict[int, tuple[int, ...]] = {1: (0,), 2: (0, 5), 5: (0, 1, 2, 3, 4), 10: tuple(range(10))}
"""Which crops are used: 0 is the centre, 1 to 4 are the corners (top left, top right, bottom left, bottom right), and
5 to 9 are the mirror images of these five. All ten are the crops of Krizhevsky et al., NIPS 2012."""
SIDE, CROP = 256, 224
"""A crop of 224 is cut from the central square of an image whose shorter side is 256; other sizes keep this ratio."""


class UnreadableImage(Exception):
    """An image is missing or damaged, or the file is no image; the message is only the reason."""


class Images(ABC):
    """The images of a data set in the order of its labels."""

    fingerprint: str
    """A hash that changes whenever an image changes: of the files' names and contents, or of a recipe."""

    @abstractmethod
    def __len__(self) -> int:
        """How many images the data set has, unreadable ones included."""

    @abstractmethod
    def name(self, row: int) -> str:
        """Returns the name of an image in messages, such as its path."""

    @abstractmethod
    def read(self, row: int) -> Image:
        """Decodes an image to RGB, of any size; called from several threads at a time.

        Raises:
            UnreadableImage: it cannot be decoded.
        """


@dataclass(frozen=True)
class Pixels:
    """Crops of some images, read from disk on request, so that memory does not grow with their number.

    Attributes:
        file: the central square of each image of the data set, `(images, 3, side, side)` uint8 without a header.
        rows: which images of the file these are, `(N,)` int64.
        size: side of a crop in pixels.
        crops: how many crops each image has.
    """

    file: Path
    rows: NDArray[np.int64]
    size: int
    crops: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def side(self) -> int:
        """Side of the square that crops are cut from."""
        return square_side(self.size)

    def select(self, rows: NDArray[np.int64]) -> Pixels:
        """Returns some of the images, by position among these."""
        return replace(self, rows=self.rows[rows])

    def read(self, rows: Sequence[int] | NDArray[np.int64], crops: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """Reads one crop of each of some images, `(n, 3, size, size)` uint8, RGB.

        `rows` are positions among these images, `crops` says which crop of each, from 0; both `(n,)`.

        Raises:
            DataError: the file is gone, or was cut short since it was prepared.
        """
        import torch  # here, because commands that only list and describe do without it

        crop, side = self.size, self.side
        result = np.empty((len(rows), 3, crop, crop), dtype=np.uint8)
        places = self.rows[np.asarray(rows, dtype=np.int64)]
        with reading(self.file), self.file.open("rb") as file:
            for i, (place, which) in enumerate(zip(places, crops, strict=True)):
                content = os.pread(file.fileno(), 3 * side * side, int(place) * 3 * side * side)
                if len(content) < 3 * side * side:
                    raise DataError(f"{self.file}: it was cut short since it was read; issue the command again")
                square = np.frombuffer(content, dtype=np.uint8).reshape(3, side, side)
                position, mirrored = which_crop(int(which), self.crops)
                left, top = corner(side, crop, position)
                cut = square[:, top : top + crop, left : left + crop]
                result[i] = cut[:, :, ::-1] if mirrored else cut
        return torch.from_numpy(result)

    def centres(self, rows: NDArray[np.int64]) -> Tensor:
        """Reads the centre crop of some images, `(n, 3, size, size)` uint8."""
        return self.read(rows, np.zeros(len(rows), dtype=np.int64))


def square_side(size: int) -> int:
    """Returns the side of the square that crops of this size are cut from: 256 for 224."""
    return round(size * SIDE / CROP)


def which_crop(number: int, crops: int) -> tuple[int, bool]:
    """Returns the position (0 centre, 1 to 4 corners) of a crop, and whether it is mirrored."""
    kind = CROPS[crops][number]
    return kind % 5, kind >= 5


def corner(side: int, size: int, position: int) -> tuple[int, int]:
    """Returns the left and top edge of a crop in a square."""
    rest = side - size
    if position == 0:
        return rest // 2, rest // 2
    return rest * ((position - 1) % 2), rest * ((position - 1) // 2)
