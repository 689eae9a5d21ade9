"""What the figures of a report share: colours, widths, and files that are identical each time they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

from zslbench.files import whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by colour-blind readers (Okabe & Ito, 2008)."""
COLUMN, PAGE = 3.3, 6.9
"""Widths of a column and of a page of two columns, in inches."""
DPI = 300
STYLE: dict[str, Any] = {
    "svg.hashsalt": "zslbench",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
}
"""Text of a size that is read at column width, in the PDF as letters and not as outlines."""


@contextmanager
def style(points: float = 7.5) -> Iterator[type[Figure]]:
    """Gives the class of figures, drawn without a window, in the look of a paper, with text of this size."""
    look: Any = {**STYLE, "font.size": points, "axes.titlesize": points}  # matplotlib has a type of its own for keys
    with matplotlib.rc_context(look):
        from matplotlib.figure import Figure

        yield Figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes a figure as PNG and PDF, whole or not at all; call it within `style`.

    Raises:
        DataError: a file cannot be written.
    """
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in ("png", "pdf")]
    for path, metadata in zip(paths, ({"Software": None}, {"CreationDate": None}), strict=True):
        with whole(path) as part:
            figure.savefig(part, format=path.suffix[1:], dpi=DPI, metadata=metadata)
    return paths
