"""A page of results, written from records: tables, seen-unseen curves, and the hyper-parameters that were chosen."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from textwrap import fill
from typing import Any
from urllib.parse import quote

import matplotlib
import numpy as np
from tabulate import tabulate

from zslbench.evaluation.curve import seen_unseen_curve
from zslbench.plan import Row
from zslbench.report.field import TESTED, decisions_of, field_tables, name_of, with_area
from zslbench.report.formats import escaped_markdown, markdown
from zslbench.report.summary import spreads
from zslbench.search import TITLES
from zslbench.store import Store

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by colour-blind readers (Okabe & Ito, 2008); the rows with the largest areas are solid lines."""
DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1)))
"""For the next rows in the same colours."""
POINTS = 400
"""Of a curve in the figure; the exact one has thousands."""
WIDTH, HEIGHT, LEGEND_LINE = 6.3, 4.2, 0.16
"""Of the figure, in inches: 16 cm, as wide as a page; and of a line of its legend."""
MARKS: dict[str, dict[str, Any]] = {
    "": {"marker": "x", "markersize": 5, "linestyle": "none"},
    "_cal": {"marker": "o", "markersize": 4.5, "linestyle": "none", "markeredgecolor": "white", "markeredgewidth": 0.6},
}
"""At a point of the curve, by the suffix of its metrics."""
MEANINGS = ("gamma = 0", "gamma chosen on validation classes")
"""Of the marks, for the legend."""
LABEL = 40
"""Characters in a line of the legend, which has two columns."""


def write_page(path: Path, command: str, rows: list[Row], store: Store) -> list[Path]:
    """Writes a Markdown page and beside it a figure for each data set; returns what was written.

    Raises:
        OSError: a file cannot be written.
    """
    parts = ["# Results", f"Written from run records by\n\n    {command}"]
    written: list[Path] = []
    sources = groupby(rows, key=lambda row: row.source)
    for (source, members), table in zip(sources, field_tables(rows, store), strict=True):
        group = list(members)
        parts.append(markdown([table]).replace("### ", "## ", 1).strip())
        if drawn := with_area(group):
            figure = path.with_name(f"{path.stem}-{_file_name(source)}.svg")
            if figure in written:  # two folders of one name
                figure = figure.with_stem(f"{figure.stem}-{len(written) + 1}")
            write_curves(figure, drawn, store)
            written.append(figure)
            parts.append(
                f"![Seen-unseen curves on {group[0].dataset_title}]({quote(figure.name)})\n\n"
                "Seen-unseen curves of the first seed, beside the AUSUC over all seeds; a cross marks gamma = 0, a dot "
                "the gamma that validation classes chose."
            )
        if chosen := _chosen(group):
            parts.append(chosen)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return [path, *written]


def _file_name(source: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", Path(source).name.lower()).strip("-")


def write_curves(path: Path, rows: list[Row], store: Store) -> None:
    """Draws the seen-unseen curve of each row's first seed; the rows must have an AUSUC."""
    with matplotlib.rc_context({"svg.hashsalt": "zslbench", "svg.fonttype": "none", "font.size": 9}):
        from matplotlib.figure import Figure

        areas = {row.label: 100 * spreads(row)[TESTED].mean for row in rows}
        ranked = sorted(rows, key=lambda row: -areas[row.label])
        labels = [fill(f"{areas[row.label]:.1f}  {name_of(row)}", LABEL).replace("$", r"\$") for row in ranked]
        legend_lines = sum(label.count("\n") + 1 for label in labels) / 2 + 1
        figure = Figure(figsize=(WIDTH, HEIGHT + LEGEND_LINE * legend_lines), layout="constrained")
        axes = figure.subplots()
        lines = []
        for rank, row in enumerate(ranked):
            curve = seen_unseen_curve(decisions_of(row, store)[0])
            kept = np.unique(np.linspace(0, curve.acc_ut.shape[1] - 1, POINTS).round().astype(int))
            look: dict[str, Any] = {"color": COLOURS[rank % len(COLOURS)], "zorder": 100 - rank}
            dashes = DASHES[rank // len(COLOURS) % len(DASHES)]
            lines += axes.plot(
                100 * curve.acc_ut[0, kept], 100 * curve.acc_st[0, kept], linestyle=dashes, linewidth=1.3, **look
            )
            metrics = row.records[0].metrics
            for suffix, mark in MARKS.items():
                if f"acc_ut{suffix}" in metrics:
                    point = 100 * metrics[f"acc_ut{suffix}"], 100 * metrics[f"acc_st{suffix}"]
                    axes.plot(*point, **mark, **(look | {"zorder": 200 - rank}))  # no line hides a mark
        axes.set(xlabel="U->T, per-class top-1 in percent", ylabel="S->T, per-class top-1 in percent")
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.grid(color="#E5E5E5", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        small: dict[str, Any] = {"frameon": False, "fontsize": 8, "borderaxespad": 0.2}
        marks = [axes.plot([], [], color="#444444", **mark)[0] for mark in MARKS.values()]
        axes.legend(marks, MEANINGS, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, **small)
        below: dict[str, Any] = {"loc": "outside lower center", "ncols": 2, "handlelength": 2.6, "alignment": "left"}
        figure.legend(lines, labels, title="AUSUC", title_fontsize=8, **below, **small)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _chosen(rows: list[Row]) -> str:
    lines = []
    for row in rows:
        if row.search is not None:
            best, metric = row.search.best, row.search.metric
            values = " ".join(f"{k}={_short(v)}" for k, v in row.search.tuned.items())
            test = spreads(row).get(metric)
            on_test = f"{100 * test.mean:.1f}" if test else ""
            counts = f"{len(row.search.trials)}, {sum(t.state == 'pruned' for t in row.search.trials)} pruned"
            lines.append([escaped_markdown(name_of(row)), values, counts, f"{100 * best.value:.1f}", on_test])
            title = TITLES[metric]
    if not lines:
        return ""
    head = ["method", "chosen on validation classes", "trials", f"{title}, validation", f"{title}, test"]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
