"""Classes of ImageNet-1k by name: a network that was trained on them has seen their images and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from zslbench.api.cards import Pretraining
from zslbench.data.names import CLASS_WAYS

LABELLED: frozenset[Pretraining] = frozenset({"imagenet-1k", "imagenet-21k"})
"""What has the labels of its classes; of other pretraining nobody knows, but of none."""


@cache
def _synonyms() -> dict[str, str]:
    """Returns the synset of each name that WordNet has for one of the 1,000 classes; the names are normalised."""
    from timm.data.imagenet_info import ImageNetInfo

    info: Any = ImageNetInfo("imagenet-1k")
    found: dict[str, str] = {}
    for number in range(info.num_classes()):
        synset = info.index_to_description(number, detailed=False)
        for name in synset.split(","):
            found.setdefault(_normal(name), synset)
    return found


def _normal(name: str) -> str:
    for way in CLASS_WAYS.values():
        name = way(name)
    return name.strip()


def in_imagenet(names: Sequence[str]) -> dict[str, str]:
    """Returns the classes that ImageNet-1k has by one of its names, each with the names that it has there.

    A class that ImageNet has by a name of its own, a part of the class or a larger class is not found: names tell no
    more than that they are equal, without regard to case, `_`, `+`, `-` and numbers before them.
    """
    known = _synonyms()
    return {name: known[key] for name in names if (key := _normal(name)) in known}
