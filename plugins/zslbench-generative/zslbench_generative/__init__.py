"""Generative methods: each registers with the card in `papers/NAME.toml`. Importing this imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zslbench import MethodCard

if TYPE_CHECKING:
    from zslbench import Registry

HERE = Path(__file__).parent
METHODS = {
    "f-clswgan": "clswgan:FCLSWGAN",
    "cada-vae": "cada_vae:CADAVAE",
    "f-vaegan": "vaegan:FVAEGAN",
    "tf-vaegan": "vaegan:TFVAEGAN",
}


def zslbench_register(registry: Registry) -> None:
    """Registers the methods; what they stand for is imported on first use."""
    for name, target in METHODS.items():
        registry.method(name, f"zslbench_generative.{target}", MethodCard.read(HERE / "papers" / f"{name}.toml"))
