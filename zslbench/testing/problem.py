"""The problem that methods are checked on: small, separable through its class embeddings, the same each time."""

from __future__ import annotations

import atexit
import itertools
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench.api.cards import Setting
from zslbench.api.dataset import ZSLData
from zslbench.api.images import Pixels, square_side

Array = NDArray[np.float64]

SEEN, UNSEEN, IMAGES = 30, 10, 10
ATTRIBUTES, FEATURES = 12, 24
APART = 4
"""In how many attributes any two classes differ, at least."""
_NUMBERS = itertools.count()


@cache
def separable(
    *,
    seen: int = SEEN,
    unseen: int = UNSEEN,
    attributes: int = ATTRIBUTES,
    features: int = FEATURES,
    apart: int = APART,
    signed: bool = False,
    shared: bool = False,
) -> ZSLData:
    """Makes a problem that whoever has learnt what the attributes look like can solve.

    Each class has half of the attributes strongly and the others weakly; features are a non-negative linear map of the
    class embedding plus little noise, not below 0, as those of a network behind its last rectifier. `signed` turns the
    class embeddings in their space, which keeps all distances between them: as vectors of words, they are no strengths.
    With `shared`, features are of the space of the class embeddings, as many numbers, and near that of their class.
    """
    random = np.random.default_rng(0)
    classes = seen + unseen
    strength = 0.1 + 0.8 * _codes(classes, attributes, apart, random) + random.uniform(-0.1, 0.1, (classes, attributes))
    semantics = strength / np.linalg.norm(strength, axis=1, keepdims=True)
    looks = random.exponential(size=(attributes, features)) * (random.random((attributes, features)) < 0.4)
    labels = np.repeat(np.arange(classes), IMAGES)
    x = semantics[labels] @ looks + 0.05 * random.normal(size=(len(labels), features))
    if signed:
        semantics = semantics @ np.linalg.qr(random.normal(size=(attributes, attributes)))[0]
    x = x.clip(min=0)
    if shared:
        x = semantics[labels] + 0.05 * random.normal(size=(len(labels), attributes))
    is_unseen, fifth = labels >= seen, np.arange(len(labels)) % 5 == 4
    return ZSLData(
        name="separable",
        features_name="vectors",
        features=x.astype(np.float32),
        labels=labels,
        semantics=semantics.astype(np.float32),
        class_names=tuple(f"class {c + 1}" for c in range(classes)),
        train=np.flatnonzero(~is_unseen & ~fifth),
        test_seen=np.flatnonzero(~is_unseen & fifth),
        test_unseen=np.flatnonzero(is_unseen),
        attributes=not signed,
    )


@cache
def painted(size: int, crops: int, **options: Any) -> ZSLData:
    """Makes the separable problem with images: stripes, one above the other, whose colours are the class embedding.

    Red, green and blue of the first stripe are the first three attributes, and so on, with a little noise. Stripes look
    the same in a mirror and shifted a little, so that all crops of an image tell the same.

    Args:
        size: side of the crops, in pixels.
        crops: how many there are of each image, each with a row of features.
        options: those of `separable`.
    """
    data, random = separable(**options), np.random.default_rng(1)
    assert data.features is not None
    side, attributes = square_side(size), data.semantics.shape[1]
    stripes = -(-attributes // 3)
    colours = np.full((len(data.semantics), 3 * stripes), 0.5)
    colours[:, :attributes] += data.semantics
    rows = np.arange(side) * stripes // side

    images = len(data.labels)
    noise = 0.01 * random.normal(size=(images, crops, data.features.shape[1]))
    x = (data.features[:, None] + noise).clip(min=0).astype(np.float32)
    paintings = (colours[c].reshape(stripes, 3)[rows].T[:, :, None] for c in data.labels)
    noisy = (painting + 0.05 * random.normal(size=(3, side, side)) for painting in paintings)
    file = _written((255 * square.clip(0, 1)).astype(np.uint8) for square in noisy)
    return replace(data, features=x, pixels=Pixels(file, np.arange(images), size, crops))


def _written(squares: Iterable[NDArray[np.uint8]]) -> Path:
    """Writes a file of squares, which lasts as long as the process."""
    path = _folder() / str(next(_NUMBERS))
    with path.open("wb") as file:
        file.writelines(square.tobytes() for square in squares)
    return path


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="zslbench-check-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _codes(count: int, length: int, apart: int, random: np.random.Generator) -> Array:
    """Draws rows of as many ones as zeros, any two of which differ in some places."""
    codes: list[Array] = []
    while len(codes) < count:
        code = random.permutation(np.arange(length) % 2).astype(np.float64)
        if all((code != other).sum() >= apart for other in codes):
            codes.append(code)
    return np.stack(codes)


def with_canaries(data: ZSLData, setting: Setting, seed: int) -> ZSLData:
    """Replaces all test images that a method of this setting may not see, and shuffles the labels of test images.

    Pixels of test images are for no setting.
    """
    assert data.features is not None
    random = np.random.default_rng(seed)
    features, labels = data.features.copy(), data.labels.copy()
    hidden = data.test_seen if setting == "transductive" else np.concatenate([data.test_seen, data.test_unseen])
    features[hidden] = 1000 * random.random((len(hidden), *features.shape[1:]))
    for part in (data.test_seen, data.test_unseen):
        labels[part] = random.permutation(labels[part])
    pixels = data.pixels
    if pixels is not None:
        tested = set(np.concatenate([data.test_seen, data.test_unseen]).tolist())
        squares = np.memmap(pixels.file, np.uint8, "r").reshape(len(labels), 3, pixels.side, pixels.side)
        others = (
            random.integers(0, 256, own.shape, dtype=np.uint8) if image in tested else own
            for image, own in enumerate(squares)
        )
        pixels = replace(pixels, file=_written(others))
    return replace(data, features=features, labels=labels, pixels=pixels)


def with_other_unseen(data: ZSLData, seed: int) -> ZSLData:
    """Replaces the class embeddings of unseen classes, by others of length 1."""
    semantics = data.semantics.copy()
    other = np.random.default_rng(seed).random((len(data.split.unseen), semantics.shape[1]))
    semantics[data.split.unseen] = other / np.linalg.norm(other, axis=1, keepdims=True)
    return replace(data, semantics=semantics)
