"""What weights were trained on, by the names that torchvision and timm give them; unknown where they tell nothing."""

from __future__ import annotations

import re

from zslbench.api.cards import Pretraining

_OTHER = "aimv2,bamboo,beit3,eupe,ig1b,jft,m30m,m38m,mim,ns,seer,ssld,swag,wsl,swsl,ssl,yfcc100m,6m,radio,pe"
OTHER = frozenset(_OTHER.split(","))
"""Of timm's names: data or teachers that no value of `Pretraining` stands for."""
_TEXTS = "clip,siglip,siglip2,mobileclip,metaclip,tinyclip,openai,webli,datacompxl,dfn2b,dfn5b"
TEXTS = frozenset(_TEXTS.split(","))
"""Of timm's names: images of the web with their texts, whatever came after."""
UNLABELLED = frozenset({"dino", "dinov2", "dinov3", "fcmae", "ijepa", "lvd142m", "lvd1689m", "mae", "sat493m"})
"""Of timm's names: images alone, unless `ft` says that labels came after."""
LARGE, SMALL = frozenset({"in12k", "in21k", "in22k"}), frozenset({"in1k"})
"""The larger ImageNets, of some 21,000 classes or subsets of them, and the one of 1,000."""


def of_torchvision(model: str) -> Pretraining:
    """Reads the name of the weights that are taken, the first: `IMAGENET1K_V1`, but `IMAGENET1K_SWAG_E2E_V1`."""
    import torchvision

    first = next(iter(torchvision.models.get_model_weights(model)))
    return "imagenet-1k" if re.fullmatch(r"IMAGENET1K_V\d+", first.name) else "unknown"


def of_timm(model: str) -> Pretraining:
    """Reads the words of a model's name and the tag of its weights, `augreg_in21k_ft_in1k` for instance."""
    import timm

    configuration = timm.get_pretrained_cfg(model, allow_unregistered=False)
    tag = (configuration.tag or "") if configuration else ""
    words = set(re.split(r"[_.]", f"{model.partition('.')[0]}.{tag}"))
    found: list[tuple[bool, Pretraining]] = [
        (not words.isdisjoint(OTHER), "unknown"),
        (not words.isdisjoint(TEXTS), "web image-text"),
        ("ft" not in words and not words.isdisjoint(UNLABELLED), "self-supervised"),
        (not words.isdisjoint(LARGE), "imagenet-21k"),
        (not words.isdisjoint(SMALL), "imagenet-1k"),
    ]
    return next((value for there, value in found if there), "unknown")
