"""The built-in data sets: the GBU benchmarks, read from disk, `digits` and `shapes`, embedded; and layouts of files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zslbench import LayoutCard
from zslbench_datasets.cards import CARDS, DIGITS, LAYOUTS, SHAPES

if TYPE_CHECKING:
    from zslbench import Registry


def zslbench_register(registry: Registry) -> None:
    """Registers names and cards; what they stand for is imported on first use."""
    for name, card in CARDS.items():
        registry.dataset(name, f"zslbench_datasets.gbu:{name.upper()}", card)
    registry.dataset("digits", "zslbench_datasets.digits:digits", DIGITS)
    registry.dataset("shapes", "zslbench_datasets.shapes:shapes", SHAPES)
    for name, (target, summary) in LAYOUTS.items():
        registry.layout(name, f"zslbench_datasets.layouts:{target}", LayoutCard(summary))
