"""`shapes`: drawn scenes with exact attributes, whose semantic loss can be dialled."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zslbench import DataError, Dataset, Images, Params, ZSLData, param
from zslbench_datasets.cards import SHAPES as CARD
from zslbench_datasets.scenes import BACKGROUNDS, HEIGHTS, HUES, RADII, SHAPES, TEXTURES, Scene, draw

if TYPE_CHECKING:
    from PIL.Image import Image

RECIPE = 1
"""Raised whenever the same options come to draw other images."""
SEED = 2018
GROUPS: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": tuple(HUES),
    "texture": TEXTURES,
    "size": tuple(RADII),
    "position": tuple(HEIGHTS),
    "background": tuple(BACKGROUNDS),
}
"""Values by group; a class has one value of each group."""
ATTRIBUTES = tuple(f"{group}: {value}" for group, values in GROUPS.items() for value in values)
"""What the dimensions of a class embedding stand for."""
LOST = ("texture", "background")
"""Groups that the semantic loss makes nearly constant over seen classes; their first values stay."""

SEEN = 40
OBJECTS = (
    {"shape": "circle", "colour": "red", "size": "large", "position": "top"},
    {"shape": "square", "colour": "blue", "size": "small", "position": "bottom"},
)
"""Each is the object of one seen class and of four unseen ones, which differ in texture and background alone."""
SCENERY = (
    (("striped", "white"), ("striped", "night"), ("dotted", "white"), ("dotted", "night")),
    (("plain", "sand"), ("plain", "sky"), ("checked", "sand"), ("checked", "sky")),
)
"""Texture and background of the unseen classes of each object: each value occurs twice."""
RARE = (("striped", "sand"), ("dotted", "sky"), ("checked", "night"))
"""Texture and background of the seen classes that keep them however large the semantic loss."""

FEATURE_SIDE = 16
OVERSAMPLING = 4
"""Features are images of 64 x 64 pixels, averaged over blocks of 4 x 4."""

Description = dict[str, str]


class ShapesOptions(Params):
    """Options of `shapes`."""

    semantic_loss: float = param(
        0.0, "how far texture and background are constant over seen classes: 0 balanced, 1 nearly constant", ge=0, le=1
    )
    size: int = param(64, "side of an image in pixels", ge=16, le=1024)
    images_per_class: int = param(60, "images of each class", ge=5, le=10000)


class Shapes(Dataset):
    """48 classes of scenes, 8 of them unseen; the unseen classes are the same whatever the semantic loss.

    Semantic loss is the motivating situation of SP-AEN (Chen et al., CVPR 2018, Fig. 1): attributes that hardly vary
    over seen classes are of no use to a classifier of them, although unseen classes differ in them.
    """

    card = CARD
    options: ShapesOptions = ShapesOptions()

    def load(self, root: Path, features: str | None = None, splits: str = "att_splits") -> ZSLData:
        """Draws the images and averages them to 16 x 16 pixels, RGB in [0, 1]; every fifth is in test_seen.

        Raises:
            DataError: other features or another split are asked for.
        """
        if problem := self.missing(root, features, splits):
            raise DataError(problem)
        return self._data(
            features_name=self.card.default_features,
            features=_features(self.options.semantic_loss, self.options.images_per_class),
        )

    def load_labels(self, root: Path, splits: str = "att_splits") -> ZSLData:
        """Makes everything but features, without drawing anything."""
        if problem := self.missing(root, splits=splits):
            raise DataError(problem)
        return self._data(features_name="")

    def load_images(self, root: Path, splits: str = "att_splits") -> ZSLData:
        """Makes everything but features, and the images, which are drawn when they are read."""
        if problem := self.missing(root, splits=splits):
            raise DataError(problem)
        return self._data(features_name="images", images=Drawn(self.options))

    def _data(
        self, features_name: str, features: NDArray[np.float32] | None = None, images: Images | None = None
    ) -> ZSLData:
        classes, count = descriptions(self.options.semantic_loss), self.options.images_per_class
        labels = np.repeat(np.arange(len(classes)), count)
        held_out = np.tile(np.arange(count) % 5 == 4, len(classes))
        unseen = labels >= SEEN
        exact = attributes(classes)
        return ZSLData(
            name=self.name,
            features_name=features_name,
            features=features,
            labels=labels,
            semantics=exact / np.linalg.norm(exact, axis=1, keepdims=True),
            class_names=tuple(map(_name, classes)),
            train=np.flatnonzero(~unseen & ~held_out),
            test_seen=np.flatnonzero(~unseen & held_out),
            test_unseen=np.flatnonzero(unseen),
            original_semantics=exact,
            images=images,
            pretraining="none",
        )


class Drawn(Images):
    """The images of `shapes`, drawn whenever they are read."""

    def __init__(self, options: ShapesOptions) -> None:
        self.options = options
        self.fingerprint = hashlib.sha256(f"shapes {RECIPE} {options.model_dump_json()}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(descriptions(self.options.semantic_loss)) * self.options.images_per_class

    def name(self, row: int) -> str:
        """Returns the class of an image, and its number in it."""
        c, number = divmod(row, self.options.images_per_class)
        return f"{_name(descriptions(self.options.semantic_loss)[c])}, image {number + 1}"

    def read(self, row: int) -> Image:
        """Draws an image; the same row is always the same image, and a larger one shows the same scene."""
        from PIL import Image

        c, number = divmod(row, self.options.images_per_class)
        return Image.fromarray(draw(scene(descriptions(self.options.semantic_loss)[c], c, number), self.options.size))


@cache
def descriptions(semantic_loss: float) -> tuple[Description, ...]:
    """Returns the value of each group for every class, the seen ones first.

    Of the seen classes 10 have the constant texture without semantic loss and 37 at its full, and in between as many
    as a straight line says, rounded; the same holds for the background.
    """
    seen, random = _balanced(), np.random.default_rng(SEED)
    for group in LOST:
        constant = GROUPS[group][0]
        varying = [c for c in range(len(OBJECTS) + len(RARE), SEEN) if seen[c][group] != constant]
        for c in random.permutation(varying)[: round(semantic_loss * len(varying))]:
            seen[c][group] = constant
    unseen = [
        {**thing, "texture": texture, "background": background}
        for thing, sceneries in zip(OBJECTS, SCENERY, strict=True)
        for texture, background in sceneries
    ]
    return tuple(seen + unseen)


def attributes(classes: tuple[Description, ...]) -> NDArray[np.float32]:
    """Returns 1 where a class has an attribute, else 0: `(C, 25)` in the order of `ATTRIBUTES`."""
    rows = [[own[group] == value for group, values in GROUPS.items() for value in values] for own in classes]
    return np.array(rows, dtype=np.float32)


def scene(description: Description, c: int, number: int) -> Scene:
    """Returns the scene of an image, by its class and its number in it."""
    return Scene.sample(np.random.default_rng([SEED, c, number]), **description)


def _balanced() -> list[Description]:
    """Returns seen classes with every value of a group equally often, and no two with the same object."""
    constant = {group: GROUPS[group][0] for group in LOST}
    first = [{**thing, **constant} for thing in OBJECTS]
    rare = [dict(zip(LOST, values, strict=True)) for values in RARE]
    random = np.random.default_rng(SEED)
    while True:
        columns = {}
        for group, values in GROUPS.items():
            fixed = [own[group] for own in first + rare if group in own]
            left = list(np.resize(values, SEEN))
            for value in fixed:
                left.remove(value)
            columns[group] = fixed + [str(value) for value in random.permutation(left)]
        classes = [{group: column[c] for group, column in columns.items()} for c in range(SEEN)]
        if len({tuple(own[group] for group in GROUPS if group not in LOST) for own in classes}) == SEEN:
            return classes


def _name(own: Description) -> str:
    thing = f"{own['size']} {own['texture']} {own['colour']} {own['shape']}"
    return f"{thing} at the {own['position']} on {own['background']}"


@lru_cache(maxsize=4)
def _features(semantic_loss: float, images_per_class: int) -> NDArray[np.float32]:
    """Returns the flattened small images, `(N, 768)`; drawn once in a process."""
    classes = descriptions(semantic_loss)
    rows = np.empty((len(classes) * images_per_class, FEATURE_SIDE * FEATURE_SIDE * 3), dtype=np.float32)
    for row in range(len(rows)):
        c, number = divmod(row, images_per_class)
        drawn = draw(scene(classes[c], c, number), FEATURE_SIDE * OVERSAMPLING)
        blocks = drawn.reshape(FEATURE_SIDE, OVERSAMPLING, FEATURE_SIDE, OVERSAMPLING, 3)
        rows[row] = blocks.mean(axis=(1, 3), dtype=np.float32).reshape(-1) / 255
    rows.flags.writeable = False
    return rows


shapes = Shapes()
