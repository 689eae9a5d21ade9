"""What a run on images needs: squares to cut crops from, and features of the crops, both made once and kept on disk."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zslbench.api.backbone import Backbone
from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import ImageParams
from zslbench.api.images import CROPS, Images, Pixels, corner, square_side, which_crop
from zslbench.data.decoding import central_square, walk
from zslbench.data.imagefiles import NAMED
from zslbench.data.made import FILE, Progress, finished, kept_folder, made_once, rows_of
from zslbench.errors import DataError
from zslbench.preparation.backbones import Loaded, load_backbone
from zslbench.preparation.extract import extract

FORMAT = "1"
"""Raised whenever squares are made otherwise; older ones are then left alone."""
CHUNK_BYTES, CHUNK_IMAGES = 2**22, 64
"""What is written at a time, at most."""


def with_images(
    data: ZSLData,
    params: ImageParams,
    weights: Path | None,
    pretrained: bool,
    device: torch.device,
    progress: Progress | None = None,
) -> ZSLData:
    """Adds to a data set of images their crops, and the features of these; images that cannot be read are left out.

    `weights` and `pretrained` are those of `load_backbone`; `progress` is told how many images are done, twice:
    decoded, and their features computed.

    Returns:
        The data with `pixels`, and with features `(N, crops, D)` float32 on disk. Its fingerprint is that of `data`:
        what is added follows from it and the parameters.

    Raises:
        UsageError: there is no such backbone.
        DataError: no image can be read, or none of a class or of a part of the split; or the cache cannot be written.
        RunError: the backbone fails.
    """
    assert data.images is not None
    loaded = load_backbone(params.backbone, weights, pretrained)
    file, unreadable = squares(data.images, square_side(params.image_size), progress)
    train, test_seen, test_unseen = _readable_parts(data, data.images, unreadable)
    result = replace(
        data,
        features=crop_features(data.images, loaded, params.crops, unreadable, device, progress),
        features_name=loaded.features,
        features_fingerprint=data.images.fingerprint,  # which spares a second look for values that are not finite
        backbone={"backbone": loaded.name, "weights": loaded.fingerprint},
        pixels=Pixels(file, np.arange(len(data.images)), params.image_size, params.crops),
        train=train,
        test_seen=test_seen,
        test_unseen=test_unseen,
    )
    vars(result)["fingerprint"] = data.fingerprint
    return result


def squares(images: Images, side: int, progress: Progress | None = None) -> tuple[Path, dict[int, str]]:
    """Makes the central square of each image, unless they are in the cache; `side` is in pixels.

    Returns:
        A file of `(images, 3, side, side)` uint8 without a header, and of each image that cannot be read, whose square
        is black, position -> reason; `state.json` beside the file lists them too.

    Raises:
        NotWritten: the cache cannot be written.
        RunError: reading an image failed otherwise than by its being unreadable.
    """
    source = {"images": images.fingerprint, "side": str(side), "format": FORMAT}

    def square(image: Image.Image) -> bytes:
        return b"".join(band.tobytes() for band in central_square(image, side).convert("RGB").split())

    def read(folder: Path) -> tuple[Path, dict[int, str]] | None:
        state = finished(folder, source, len(images))
        if state is None:
            return None
        with walk(images, state.unreadable, square) as made:
            return (folder / FILE, state.unreadable) if all(isinstance(why, str) for why in made) else None

    def make(folder: Path) -> None:
        step = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // (3 * side * side)))
        with rows_of(folder, source, len(images), progress) as rows:
            black = bytes(3 * side * side)
            with walk(images, range(rows.state.done, len(images)), square) as made:
                while chunk := list(islice(made, step)):
                    rows.append(b"".join(black if isinstance(found, str) else found for found in chunk), chunk)

    return made_once(kept_folder("squares", source), read, make)


def crop_features(
    images: Images,
    loaded: Loaded,
    crops: int,
    unreadable: dict[int, str],
    device: torch.device,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Computes a backbone's features of each crop of each image, unless they are in the cache.

    The crops are those of `Pixels`, cut from images of full resolution in the size that the backbone takes.

    Returns:
        `(images, crops, D)` float32 on disk; the rows of images known to be unreadable are those of a black image.

    Raises:
        DataError: an image cannot be read after all, or the cache cannot be written.
        RunError: the backbone fails.
    """
    source = {
        "images": images.fingerprint,
        "backbone": loaded.name,
        "weights": loaded.fingerprint,
        "crops": str(crops),
        "unreadable": hashlib.sha256(repr(sorted(unreadable)).encode()).hexdigest(),
    }
    inputs, blank = crop_inputs(loaded.backbone, crops)

    def make(folder: Path) -> None:
        _, found = extract(images, loaded.backbone, folder, source, device, None, progress, inputs, crops, blank)
        for row in found.keys() - unreadable:
            raise DataError(f"{images.name(row)}: it could be read before, and cannot now ({found[row]})")

    def read(folder: Path) -> NDArray[np.float32] | None:
        if finished(folder, source, len(images)) is None:
            return None
        return np.memmap(folder / FILE, np.float32, "r").reshape(len(images), crops, -1)

    return made_once(kept_folder("crops", source), read, make)


def crop_inputs(backbone: Backbone, crops: int) -> tuple[Callable[[Image.Image], Tensor], Image.Image]:
    """Returns what gives a backbone's inputs for the crops of an image, `(crops, 3, H, W)`, and a black image."""
    size = int(max(backbone.prepare(Image.new("RGB", (64, 64))).shape[1:]))  # only the backbone knows

    def inputs(image: Image.Image) -> Tensor:
        return torch.stack([backbone.prepare_crop(crop) for crop in cut_crops(image, size, crops)])

    return inputs, Image.new("RGB", (size, size))


def cut_crops(image: Image.Image, size: int, crops: int) -> list[Image.Image]:
    """Returns the crops of an image, each `size` pixels wide and high, in the order of `CROPS`."""
    side = square_side(size)
    square, result = central_square(image, side), []
    for number in range(len(CROPS[crops])):
        position, mirrored = which_crop(number, crops)
        left, top = corner(side, size, position)
        crop = square.crop((left, top, left + size, top + size))
        result.append(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else crop)
    return result


def _readable_parts(data: ZSLData, images: Images, unreadable: dict[int, str]) -> list[NDArray[np.int64]]:
    """Returns trainval, test_seen and test_unseen without unreadable images, about which it warns."""
    parts = {"trainval": data.train, "test_seen": data.test_seen, "test_unseen": data.test_unseen}
    if not unreadable:
        return list(parts.values())
    readable = np.ones(len(images), dtype=bool)
    readable[list(unreadable)] = False
    left = {name: rows[readable[rows]] for name, rows in parts.items()}
    examples = "; ".join(f"{images.name(row)}: {why}" for row, why in list(unreadable.items())[:NAMED])
    what = f"data set {data.name}: {len(unreadable)} of {len(images)} images cannot be read ({examples})"
    for name, rows in left.items():
        if not len(rows):
            raise DataError(f"{what}, which leaves nothing of {name}; `zslbench data images` looks for them")
    for name in ("trainval", "test_unseen"):
        if gone := np.setdiff1d(data.labels[parts[name]], data.labels[left[name]]).tolist():
            others = f", and {len(gone) - 1} more classes" if len(gone) > 1 else ""
            raise DataError(f"{what}, which leaves class {data.class_names[gone[0]]!r} none in {name}{others}")
    counts = ", ".join(f"{len(rows) - len(left[name])} of {name}" for name, rows in parts.items())
    warnings.warn(f"{what}; they are left out: {counts}", stacklevel=3)
    return list(left.values())
