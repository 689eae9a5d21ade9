"""Families: backbones or text encoders that share a class and differ in a name, as `timm:resnet18` and `timm:vgg11`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from zslbench.errors import near_misses


class Family:
    """Mixin of a `Backbone` or `TextEncoder` of which there are many, called `PREFIX:NAME`.

    Register the class by its prefix with a colon, `timm:`. It is created with NAME as its first argument. A name alone
    is looked for in the families too, in the order of their registration.
    """

    @classmethod
    def names(cls) -> Collection[str]:
        """Returns the names that are known; there may be others, which `wrong` judges."""
        return ()

    @classmethod
    def files(cls, name: str) -> Collection[Path]:
        """Returns the files of one's own that a name stands for; runs on images with other content are other runs."""
        return ()

    @classmethod
    def wrong(cls, name: str) -> str:
        """Returns what is wrong with a name, for a message after a colon; an empty string if nothing is."""
        known = cls.names()
        return "" if name in known else f"there is no such name{near_misses(name, known, listed=False)}"
