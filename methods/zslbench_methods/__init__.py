"""The built-in methods, registered like any third party's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zslbench import MethodCard

if TYPE_CHECKING:
    from zslbench import Registry

HERE = Path(__file__).parent
METHODS = {
    "dap": "dap:DAP",
    "iap": "iap:IAP",
    "conse": "conse:CONSE",
    "cmt": "cmt:CMT",
    "cmt-star": "cmt:CMTStar",
    "sse": "sse:SSE",
    "latem": "latem:LATEM",
    "ale": "ale:ALE",
    "devise": "devise:DeViSE",
    "sje": "sje:SJE",
    "eszsl": "eszsl:ESZSL",
    "sync": "sync:SYNC",
    "sae": "sae:SAE",
    "spaen": "spaen:SPAEN",
    "directmap": "reconstruction_baselines:DirectMap",
    "sae-image": "reconstruction_baselines:SAEImage",
    "splitbranch": "reconstruction_baselines:SplitBranch",
}

FORMS_FOR_IMAGES = {"spaen": "spaen_images:SPAENImages"}
"""Of methods that have one beside that for features."""


def zslbench_register(registry: Registry) -> None:
    """Registers each method with the card in `papers/NAME.toml`."""
    for name, target in METHODS.items():
        images = f"zslbench_methods.{FORMS_FOR_IMAGES[name]}" if name in FORMS_FOR_IMAGES else ""
        card = MethodCard.read(HERE / "papers" / f"{name}.toml")
        registry.method(name, f"zslbench_methods.{target}", card, images)
    registry.published(HERE / "published.csv")
