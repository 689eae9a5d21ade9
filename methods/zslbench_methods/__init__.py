"""The built-in methods, registered like any third party's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zslbench import MethodCard

if TYPE_CHECKING:
    from zslbench import Registry

HERE = Path(__file__).parent
METHODS = {
    "dap": "attributes:DAP",
    "iap": "attributes:IAP",
    "conse": "conse:CONSE",
    "cmt": "cmt:CMT",
    "cmt-star": "cmt:CMTStar",
    "sse": "sse:SSE",
    "latem": "latem:LATEM",
    "ale": "ranking:ALE",
    "devise": "ranking:DeViSE",
    "sje": "ranking:SJE",
    "eszsl": "eszsl:ESZSL",
    "sync": "sync:SYNC",
    "sae": "sae:SAE",
    "spaen": "spaen:SPAEN",
    "directmap": "reconstruction_baselines:DirectMap",
    "sae-image": "reconstruction_baselines:SAEImage",
    "splitbranch": "reconstruction_baselines:SplitBranch",
    "spaen-image": "spaen_images:SPAENImages",
}


def zslbench_register(registry: Registry) -> None:
    """Registers each method with the card in `papers/NAME.toml`."""
    for name, target in METHODS.items():
        registry.method(name, f"zslbench_methods.{target}", MethodCard.read(HERE / "papers" / f"{name}.toml"))
    registry.published(HERE / "published.csv")
