"""`clip:NAME` as a backbone: the image side of a model of open_clip, with its own preprocessing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Literal, cast

from open_clip.transform import image_transform_v2
from PIL.Image import Image
from torch import Tensor

from zslbench import Backbone, Family
from zslbench_clip.models import Meant, known_names, load_model, meaning, own_files, preprocessing


class CLIPBackbone(Family, Backbone):
    """Image features in the space that images and texts share, as the model projects them, not yet of unit length.

    The text side stays in the network, so that the hash of its weights tells models apart that differ only there.
    """

    def __init__(self, name: str, weights: Path | None = None, pretrained: bool = True) -> None:
        super().__init__()
        self.network = load_model(name, weights, pretrained)
        prepared = preprocessing(self.network)
        self.transform = image_transform_v2(prepared, is_train=False)
        self.crop_transform = image_transform_v2(replace(prepared, resize_mode="squash"), is_train=False)

    @classmethod
    def names(cls) -> Collection[str]:
        """Returns `MODEL/PRETRAINED` for all that open_clip knows, and its models."""
        return known_names()

    @classmethod
    def pretraining(cls, name: str) -> Literal["unknown"] | None:
        """Returns `unknown` for weights that open_clip has no name for; the card speaks for all that it has."""
        meant = meaning(name)
        return None if isinstance(meant, Meant) and meant.tag else "unknown"

    @classmethod
    def files(cls, name: str) -> list[Path]:
        """Returns the file, or those of the folder, that a name means."""
        return own_files(name)

    @classmethod
    def wrong(cls, name: str) -> str:
        """Knows files and folders too."""
        meant = meaning(name)
        return meant if isinstance(meant, str) else ""

    def prepare(self, image: Image) -> Tensor:
        """Resizes, crops and normalises as open_clip does where it evaluates the model."""
        return cast("Tensor", self.transform(image))

    def prepare_crop(self, image: Image) -> Tensor:
        """Resizes to the model's input without cutting, and normalises."""
        return cast("Tensor", self.crop_transform(image))

    def forward(self, images: Tensor) -> Tensor:
        """Returns the projected image features, `(B, D)`."""
        return cast("Tensor", self.network.encode_image(images, normalize=False))
