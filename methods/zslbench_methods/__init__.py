"""The built-in methods, registered like any third party's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zslbench import MethodCard

if TYPE_CHECKING:
    from zslbench import Registry

HERE = Path(__file__).parent
METHODS = {
    "eszsl": "eszsl:ESZSL",
    "sae": "sae:SAE",
    "devise": "devise:DeViSE",
    "ale": "ale:ALE",
    "spaen": "spaen:SPAEN",
    "cmt": "cmt:CMT",
    "cmt-star": "cmt:CMTStar",
    "sse": "sse:SSE",
}


def zslbench_register(registry: Registry) -> None:
    """Registers each method with the card in `papers/NAME.toml`."""
    for name, target in METHODS.items():
        registry.method(name, f"zslbench_methods.{target}", MethodCard.read(HERE / "papers" / f"{name}.toml"))
    registry.published(HERE / "published.csv")
