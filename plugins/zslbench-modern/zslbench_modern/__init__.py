"""Methods that a comparison needs today: each registers with the card in `papers/NAME.toml`. Imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zslbench import MethodCard

if TYPE_CHECKING:
    from zslbench import Registry

HERE = Path(__file__).parent
METHODS = {
    "classnorm": "classnorm:ClassNorm",
    "dem": "dem:DEM",
    "cosine-softmax": "cosine:CosineSoftmax",
    "gate": "gate:Gate",
    "ce-gzsl": "ce_gzsl:CEGZSL",
}


def zslbench_register(registry: Registry) -> None:
    """Registers the methods; what they stand for is imported on first use."""
    for name, target in METHODS.items():
        registry.method(name, f"zslbench_modern.{target}", MethodCard.read(HERE / "papers" / f"{name}.toml"))
