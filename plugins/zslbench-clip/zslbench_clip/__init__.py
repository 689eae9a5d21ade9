"""A plugin: image-text models of open_clip as backbones and text encoders, and two methods. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zslbench import BackboneCard, MethodCard, TextEncoderCard

if TYPE_CHECKING:
    from zslbench import Registry

HERE = Path(__file__).parent
METHODS = {"clip": "methods:CLIP", "clip-adapter": "methods:CLIPAdapter"}
PAPER = "Radford et al.: Learning transferable visual models from natural language supervision. ICML 2021"
BACKBONE = BackboneCard(
    title="CLIP and its kin, image side",
    paper=PAPER,
    summary="image features of any model of open_clip: clip:MODEL/PRETRAINED, clip:MODEL/FILE, clip:FOLDER",
)
ENCODER = TextEncoderCard(
    title="CLIP and its kin, text side",
    paper=PAPER,
    summary="texts in the space of the image features of the same model; the same names as the backbones clip:",
)


def zslbench_register(registry: Registry) -> None:
    """Registers names and cards; what they stand for is imported on first use."""
    registry.backbone("clip:", "zslbench_clip.image:CLIPBackbone", BACKBONE)
    registry.text_encoder("clip:", "zslbench_clip.text:CLIPTextEncoder", ENCODER)
    for name, target in METHODS.items():
        registry.method(name, f"zslbench_clip.{target}", MethodCard.read(HERE / "papers" / f"{name}.toml"))
