"""The figure of metrics against the number of training images: a line for each method, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from zslbench.api.evaluator import Metric
from zslbench.errors import DataError, UsageError
from zslbench.report.figures import COLOURS, COLUMN, PAGE, save, style
from zslbench.report.rows import spreads
from zslbench.runs.row import Row, words
from zslbench.runs.shots import ALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL, LEGEND_LINE = 2.3, 0.16
"""Heights of a panel and of a line of the legend, in inches."""
MARKERS = "osD^vPX"
COVERED = 0.95
SUFFIXES = (".png", ".pdf")


def write_shots(path: Path, rows: list[Row], chosen: Sequence[Metric]) -> list[Path]:
    """Draws each metric on each data set against the number of training images of a seen class, as PNG and PDF.

    A point is the mean over seeds, the band the 95 % interval of that mean by Student's t; small points are the seeds.
    On the axis is the mean number over classes, of which some may have fewer images than were asked for.

    Args:
        path: of the PNG or the PDF; the other one lies beside it.
        rows: of methods with several numbers of shots each.
        chosen: the metrics.

    Raises:
        UsageError: the path ends otherwise, or there are not several numbers of shots.
        DataError: no run has any of these metrics, or a file cannot be written.
    """
    check_figure(path)
    drawn = [row for row in rows if row.entrant is not None and row.records]
    if len({row.entrant.shots for row in drawn if row.entrant}) < 2:
        raise UsageError("a figure of shots needs runs of at least two numbers, such as --shots 1,2,4,8")
    groups = [list(own) for _, own in groupby(drawn, key=lambda row: row.source)]
    panels = [(own, metric) for own in groups for metric in chosen if any(metric.name in spreads(r) for r in own)]
    if not panels:
        raise DataError(f"none of these runs has {', '.join(metric.title for metric in chosen)}")
    across, names = min(len(panels), 2), list(dict.fromkeys(map(_name, drawn)))
    down, legend_lines = -(-len(panels) // across), 1 - (-len(names) // (2 * across))
    with style() as figure_of:
        size = COLUMN if across == 1 else PAGE, PANEL * down + LEGEND_LINE * legend_lines
        figure = figure_of(figsize=size, layout="constrained")
        every = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (own, metric) in zip(every, panels, strict=False):
            _panel(axes, own, metric, names)
        for axes in every[len(panels) :]:
            axes.remove()
        lines = [
            every[0].plot([], [], label=name.replace("$", r"\$"), **_look(rank))[0] for rank, name in enumerate(names)
        ]
        seeds = max(len(row.records) for row in drawn)
        title = f"mean of {seeds} seeds and its 95 % interval" if seeds > 1 else "one seed"
        figure.legend(handles=lines, title=title, loc="outside lower center", ncols=2 * across, borderaxespad=0.2)
        return save(figure, path.with_suffix(""))


def check_figure(path: Path) -> None:
    """Raises a UsageError unless the path is of a kind of file that is written."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"--figure {path}: end it with {' or '.join(SUFFIXES)}; both are written")


def _look(rank: int) -> dict[str, Any]:
    look = {"color": COLOURS[rank % len(COLOURS)], "marker": MARKERS[rank % len(MARKERS)]}
    return {**look, "markersize": 3.5, "linewidth": 1.2}


def _panel(axes: Axes, rows: list[Row], metric: Metric, names: list[str]) -> None:
    """Draws the lines of all methods on one data set, in the look of their place among the names."""
    unit, places = 100 if metric.percent else 1, dict[float, str]()
    lines: dict[str, list[Row]] = {}
    for row in rows:
        if metric.name in spreads(row):
            lines.setdefault(_name(row), []).append(row)
    for name, own in lines.items():
        own.sort(key=_images)
        x, look = [_images(row) for row in own], _look(names.index(name))
        values = [unit * np.array([record.metrics[metric.name] for record in row.records]) for row in own]
        means, half = np.array([v.mean() for v in values]), np.array([_half_width(v) for v in values])
        ends = (means - half, means + half)
        low, high = (np.clip(end, 0, 100) if metric.percent else end for end in ends)  # no accuracy is outside
        axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
        axes.plot(x, means, **look)
        for place, each in zip(x, values, strict=True):
            axes.plot([place] * len(each), each, ".", color=look["color"], markersize=2, alpha=0.6)
        places |= {place: _tick(row) for place, row in zip(x, own, strict=True)}
    axes.set_xscale("log")
    axes.set_xticks(list(places), list(places.values()))
    axes.minorticks_off()
    axes.set(xlabel="training images of a seen class", ylabel=metric.title + " in percent" * metric.percent)
    axes.set_title(f"{rows[0].dataset_title}, {rows[0].features}", loc="left")
    axes.grid(color="#E5E5E5", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _name(row: Row) -> str:
    return " ".join([row.title, *words(row.preset, row.given), *(["(tuned)"] if row.search else [])])


def _images(row: Row) -> float:
    """Returns how many training images a seen class has, in the mean over classes."""
    assert row.entrant is not None
    data = row.entrant.drawn(row.entrant.data, row.entrant.request.seeds[0])
    return len(data.train) / len(data.split.seen)


def _tick(row: Row) -> str:
    assert row.entrant is not None
    shots, images = row.entrant.shots, _images(row)
    number = f"{images:.0f}" if images >= 10 or images == int(images) else f"{images:.1f}"
    return f"{ALL}\n({number})" if shots is None else number


def _half_width(values: NDArray[np.float64]) -> float:
    """Returns half the width of the interval of the mean over seeds; 0 for one, which has none."""
    if len(values) < 2:
        return 0.0
    return float(stdtrit(len(values) - 1, (1 + COVERED) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
