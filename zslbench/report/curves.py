"""Seen-unseen curves from stored decisions: one figure for a page, or panels of a figure."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zslbench.api.evaluator import Decisions
from zslbench.evaluation.accuracy import seen_unseen_curve
from zslbench.files import whole
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.report.figures import COLOURS, COLUMN, PAGE, save, style
from zslbench.report.rows import name_of, spreads
from zslbench.runs.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

AREA = "ausuc"
"""The area below a curve; a row without it is not drawn."""
DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1)))
"""Solid for the rows with the largest areas; the others for the next rows in the same colours."""
POINTS = 400
"""Of a curve in the figure; the exact one has thousands."""
WIDTH, HEIGHT, LEGEND_LINE, PANEL = 6.3, 4.2, 0.16, 2.5
"""Of the figure on a page, 16 cm wide; heights of a line of its legend and of a panel; in inches."""
MARKS: dict[str, dict[str, Any]] = {
    "": {"marker": "x", "markersize": 5, "linestyle": "none"},
    "_cal": {"marker": "o", "markersize": 4.5, "linestyle": "none", "markeredgecolor": "white", "markeredgewidth": 0.6},
}
"""At a point of the curve, by the suffix of its metrics."""
MEANINGS = ("gamma = 0", "gamma chosen on validation classes")
"""Of the marks, for the legend."""
LABEL = 40
"""Characters in a line of the legend, which has two columns."""


def with_area(rows: list[Row]) -> list[Row]:
    """Returns the rows that can be drawn: those whose records have an area."""
    return [row for row in rows if row.records and all(AREA in record.metrics for record in row.records)]


def write_curves(path: Path, rows: list[Row], store: Store) -> None:
    """Draws the curves of each row's seeds as SVG, those with the largest areas first; each must have an AUSUC."""
    with style(9) as figure_of:
        areas = {row.label: _area(row) for row in rows}
        ranked = sorted(rows, key=lambda row: -areas[row.label])
        labels = [fill(f"{areas[row.label]:.1f}  {name_of(row)}", LABEL).replace("$", r"\$") for row in ranked]
        legend_lines = sum(label.count("\n") + 1 for label in labels) / 2 + 1
        figure = figure_of(figsize=(WIDTH, HEIGHT + LEGEND_LINE * legend_lines), layout="constrained")
        axes = figure.subplots()
        lines = [_draw(axes, row, store, rank, MARKS) for rank, row in enumerate(ranked)]
        _finish(axes)
        small: dict[str, Any] = {"fontsize": 8, "borderaxespad": 0.2}
        marks = [axes.plot([], [], color="#444444", **mark)[0] for mark in MARKS.values()]
        axes.legend(marks, MEANINGS, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, **small)
        below: dict[str, Any] = {"loc": "outside lower center", "ncols": 2, "handlelength": 2.6, "alignment": "left"}
        figure.legend(lines, labels, title="AUSUC", title_fontsize=8, **below, **small)
        with whole(path) as part:
            figure.savefig(part, format="svg", metadata={"Date": None})


def write_panels(stem: Path, panels: list[list[Row]], store: Store, name: Callable[[Row], str]) -> list[Path]:
    """Draws a panel for each data set: the curves of its rows, all with an AUSUC, and a cross at gamma = 0.

    The files are `stem` with `.png` and `.pdf`; the legend calls a row by `name`.
    """
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    with style() as figure_of:
        figure = figure_of(figsize=(COLUMN if across == 1 else PAGE, PANEL * down), layout="constrained")
        every = figure.subplots(down, across, squeeze=False).ravel()
        for axes, rows in zip(every, panels, strict=False):
            for rank, row in enumerate(rows):
                line = _draw(axes, row, store, rank, {"": MARKS[""]})
                line.set_label(f"{name(row)} ({_area(row):.1f})".replace("$", r"\$"))
            _finish(axes)
            axes.plot([], [], color="#444444", label=MEANINGS[0], **MARKS[""])
            axes.set_title(f"{rows[0].dataset_title}, {rows[0].features}", loc="left")
            axes.legend(title="method (AUSUC)", alignment="left", loc="best", handlelength=1.6, borderaxespad=0.2)
        for axes in every[len(panels) :]:
            axes.remove()
        return save(figure, stem)


def _area(row: Row) -> float:
    return 100 * spreads(row)[AREA].mean


def _draw(axes: Axes, row: Row, store: Store, rank: int, marks: dict[str, dict[str, Any]]) -> Line2D:
    """Draws the curves of all seeds, of which the legend has the mean area; the first one is bold and has marks."""
    look: dict[str, Any] = {"color": COLOURS[rank % len(COLOURS)], "zorder": 100 - rank}
    look["linestyle"] = DASHES[rank // len(COLOURS) % len(DASHES)]
    for record in row.records[1:]:
        axes.plot(*_points(record, store), linewidth=0.6, alpha=0.5, **look)
    [line] = axes.plot(*_points(row.records[0], store), linewidth=1.3, **look)
    del look["linestyle"]
    metrics = row.records[0].metrics
    for suffix, mark in marks.items():
        if f"acc_ut{suffix}" in metrics:
            point = 100 * metrics[f"acc_ut{suffix}"], 100 * metrics[f"acc_st{suffix}"]
            axes.plot(*point, clip_on=False, **mark, **(look | {"zorder": 200 - rank}))  # no line hides a mark
    return line


def _points(record: RunRecord, store: Store) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns U->T and S->T in percent along a run's curve."""
    curve = seen_unseen_curve(Decisions.of(store.arrays(record)))
    kept = np.unique(np.linspace(0, curve.acc_ut.shape[1] - 1, POINTS).round().astype(int))
    return 100 * curve.acc_ut[0, kept], 100 * curve.acc_st[0, kept]


def _finish(axes: Axes) -> None:
    axes.set(xlabel="U->T, per-class top-1 in percent", ylabel="S->T, per-class top-1 in percent")
    axes.set(xlim=(0, None), ylim=(0, None))
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
