"""A page of results, written from records: tables, seen-unseen curves, and the hyper-parameters that were chosen."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

import matplotlib
import numpy as np
from tabulate import tabulate

from zslbench.evaluation.curve import seen_unseen_curve
from zslbench.plan import Row
from zslbench.report.field import decisions_of, field_tables
from zslbench.report.formats import markdown
from zslbench.report.summary import spreads
from zslbench.search import TITLES
from zslbench.store import Store

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by colour-blind readers (Okabe & Ito, 2008); the rows with the largest areas get one each."""
POINTS = 400
"""Of a curve in the figure; the exact one has thousands."""


def write_page(path: Path, command: str, rows: list[Row], store: Store) -> list[Path]:
    """Writes a Markdown page and beside it a figure for each data set; returns what was written.

    Raises:
        OSError: a file cannot be written.
    """
    parts = ["# Results", f"Written from run records by\n\n    {command}"]
    written = []
    for (_, members), table in zip(groupby(rows, key=lambda row: row.source), field_tables(rows, store), strict=True):
        group = list(members)
        name = re.sub(r"[^a-z0-9]+", "-", group[0].dataset_title.lower()).strip("-")
        figure = path.with_name(f"{path.stem}-{name}.svg")
        parts.append(markdown([table]).replace("### ", "## ", 1).strip())
        if any(row.records for row in group):
            write_curves(figure, group, store)
            written.append(figure)
            parts.append(
                f"![Seen-unseen curves on {group[0].dataset_title}]({figure.name})\n\n"
                "Seen-unseen curves of the first seed; a cross marks gamma = 0, a dot the gamma that validation "
                "classes chose. Rows with smaller areas are grey."
            )
        if chosen := _chosen(group):
            parts.append(chosen)
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return [path, *written]


def write_curves(path: Path, rows: list[Row], store: Store) -> None:
    """Draws the seen-unseen curve of each row's first seed."""
    with matplotlib.rc_context({"svg.hashsalt": "zslbench", "svg.fonttype": "none", "font.size": 9}):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.5, 4.5), layout="constrained")
        axes = figure.subplots()
        ranked = sorted((row for row in rows if row.records), key=lambda row: -spreads(row)["ausuc"].mean)
        for rank, row in reversed(list(enumerate(ranked))):
            colour = COLOURS[rank] if rank < len(COLOURS) else "#BBBBBB"
            decisions, record = decisions_of(row, store)[0], row.records[0]
            curve = seen_unseen_curve(decisions)
            ut, st = curve.acc_ut[0], curve.acc_st[0]
            kept = np.unique(np.linspace(0, len(ut) - 1, POINTS).round().astype(int))
            label = f"{' '.join(filter(None, [row.title, row.settings]))}, {100 * spreads(row)['ausuc'].mean:.1f}"
            axes.plot(100 * ut[kept], 100 * st[kept], color=colour, linewidth=1.4, label=label, zorder=100 - rank)
            m = record.metrics
            axes.plot(100 * m["acc_ut"], 100 * m["acc_st"], "x", color=colour, markersize=5, zorder=100 - rank)
            if "acc_ut_cal" in m:
                point = 100 * m["acc_ut_cal"], 100 * m["acc_st_cal"]
                axes.plot(*point, "o", color=colour, markersize=4, zorder=100 - rank)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], title="AUSUC", frameon=False, fontsize=8, loc="upper right")
        axes.set(xlabel="U->T, per-class top-1 in percent", ylabel="S->T, per-class top-1 in percent")
        axes.set(xlim=(0, None), ylim=(0, None))
        axes.spines[["top", "right"]].set_visible(False)
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
            lines.append([row.title, values, counts, f"{100 * best.value:.1f}", on_test])
            title = TITLES[metric]
    if not lines:
        return ""
    head = ["method", "chosen on validation classes", "trials", f"{title}, validation", f"{title}, test"]
    return tabulate(lines, head, tablefmt="github", disable_numparse=True)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
