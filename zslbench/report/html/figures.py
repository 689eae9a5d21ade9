"""What the figures of a report show, as JSON values: curves, classes, confusions, losses, searches; small enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from zslbench.evaluation.measuring import metrics
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.report.curves import AREA
from zslbench.report.figures import COLOURS
from zslbench.report.html.sections import Entry, Section
from zslbench.report.rows import spreads

if TYPE_CHECKING:
    from zslbench.report.results import Result

POINTS = 120
"""Of a curve on the page, evenly spaced along it; the exact one has thousands."""
EPOCHS = 150
"""Of the losses of a run on the page, evenly spaced."""
FEW, PAIRS = 20, 25
"""Classes up to which confusions are a matrix; with more, how many of the most confused pairs are listed."""
TASKS = {"U->T": "u->t", "U->U": "u->u", "S->T": "s->t"}
"""Of the tables of classes, as records call them; the first two are of unseen classes."""


def section_data(section: Section) -> dict[str, Any]:
    """Returns what the figures of a data set show; each names the runs that it is of."""
    return {
        "anchor": section.anchor,
        "curves": [_curves(entry, i) for i, entry in enumerate(section.drawn) if _has_area(entry)],
        "classes": [table for title, task in TASKS.items() if (table := _classes(section, title, task))],
        "confusions": [_confusion(entry, result) for entry in section.drawn for result in entry.results[:1]],
        "losses": [
            {**_of_run(entry, result), "series": series}
            for entry in section.drawn
            for result in entry.results
            if (series := _losses(result.record))
        ],
    }


def search_data(search: Search) -> dict[str, Any]:
    """Returns every trial of a search that was neither hopeless nor failed: what was tried, and how it did.

    That is the mean of its metric over folds; or the first fold, where only the best ran on the others, too.
    """
    metric = metrics()[search.metric]
    scale = 100 if metric.percent else 1
    able = search.ranked(1)
    first = len(able) > len(search.complete)
    shown = [search.trials[number] for number in sorted(able)] if first else search.complete
    names = [name for name in search.space if any(name in trial.params for trial in shown)]
    spaces = {name: search.space[name] for name in names}
    return {
        "id": search.id,
        "metric": metric.title + ", percent" * metric.percent + ", first fold" * first,
        "names": names,
        "log": [space.log for space in spaces.values()],
        "trials": [
            {
                "params": {name: trial.params.get(name) for name in {**dict.fromkeys(names), **trial.params}},
                "value": round(scale * (trial.means[0] if first else trial.value), 3),
                "folds": [round(scale * value, 3) for value in trial.values],
                "best": trial == search.best,
            }
            for trial in shown
        ],
    }


def _of_run(entry: Entry, result: Result) -> dict[str, Any]:
    return {"name": f"{entry.name}, seed {result.seed}", "run": result.id}


def _has_area(entry: Entry) -> bool:
    return all(AREA in result.metrics for result in entry.results)


def _curves(entry: Entry, place: int) -> dict[str, Any]:
    """Returns the curves of all runs of a row, beside the mean area of these same runs."""
    area, metric = spreads(entry.row)[AREA], metrics()[AREA]
    deviation = f" ± {metric.text(area.std)}" if area.n > 1 else ""
    return {
        "name": entry.name,
        "place": place,
        "colour": COLOURS[place % len(COLOURS)],
        "dash": place // len(COLOURS) % 3,
        "area": metric.text(area.mean) + deviation,
        "runs": [{"run": result.id, "seed": result.seed, **_points(result)} for result in entry.results],
    }


def _points(result: Result) -> dict[str, Any]:
    """Returns points of a curve with their gamma, None before the first, and the marks on it."""
    curve = result.curve()
    across, down = 100 * curve["acc_ut"].to_numpy(), 100 * curve["acc_st"].to_numpy()
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(across), np.diff(down)))])
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], POINTS)).clip(0, len(along) - 1))
    gammas = curve["gamma"].to_numpy()
    points = [
        [round(float(across[k]), 2), round(float(down[k]), 2), _number(float(gammas[k]))]
        for k in np.unique(np.concatenate([[0], kept]))
    ]
    marks = {
        name: [round(100 * result.metrics[f"acc_ut{end}"], 2), round(100 * result.metrics[f"acc_st{end}"], 2), gamma]
        for name, end, gamma in (("zero", "", 0.0), ("chosen", "_cal", _number(result.metrics.get("gamma", np.nan))))
        if f"acc_ut{end}" in result.metrics
    }
    return {"area": metrics()[AREA].text(result.metrics[AREA]), "points": points, **marks}


def _number(value: float) -> float | None:
    """Returns a number to four digits; JSON has none that is not finite."""
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _classes(section: Section, title: str, task: str) -> dict[str, Any] | None:
    """Returns the accuracy of each row in each class, in percent: means over seeds, to one decimal."""
    frames = {
        entry.name: pd.DataFrame([result.record.per_class.get(task, {}) for result in entry.results]).mean()
        for entry in section.drawn
        if all(task in result.record.per_class for result in entry.results)
    }
    if not frames:
        return None
    first = section.drawn[0].results[0]
    decisions = first.decisions()
    counts = dict(
        zip(first.record.class_names, np.bincount(decisions.y, minlength=len(first.record.class_names)), strict=True)
    )
    table = pd.DataFrame(frames)
    return {
        "title": title,
        "seen": task.startswith("s"),
        "methods": list(frames),
        "classes": [str(name) for name in table.index],
        "images": [int(counts.get(name, 0)) for name in table.index],
        "values": [[_tenth(value) for value in line] for line in table.to_numpy()],
    }


def _tenth(value: float) -> float | None:
    return None if np.isnan(value) else round(100 * float(value), 1)


def _confusion(entry: Entry, result: Result) -> dict[str, Any]:
    """Returns the confusions of a run at gamma = 0: a matrix of few classes, or the most confused pairs of many."""
    table = result.confusion()
    counts, names = table.to_numpy(), [str(name) for name in table.index]
    tested = np.flatnonzero(counts.sum(axis=1))
    seen = set(result.decisions().y[result.decisions().seen].tolist())
    common = _of_run(entry, result)
    if len(names) <= FEW:
        sides = [c in seen for c in range(len(names))]
        return {**common, "classes": names, "seen": sides, "counts": counts.tolist(), "tested": tested.tolist()}
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    places = [(int(k) // len(names), int(k) % len(names)) for k in order]
    pairs = [[names[i], names[k], int(wrong[i, k]), int(counts[i].sum())] for i, k in places if wrong[i, k]]
    return {**common, "pairs": pairs}


def _losses(record: RunRecord) -> dict[str, list[list[float | None]]]:
    """Returns each loss of a run by epoch, from 1."""
    epochs = record.training.losses if record.training else []
    kept = np.unique(np.linspace(0, len(epochs) - 1, min(EPOCHS, len(epochs))).round().astype(int))
    series: dict[str, list[list[float | None]]] = {}
    for k in kept:
        for name, value in epochs[k].items():
            series.setdefault(name, []).append([int(k) + 1, _number(value)])
    return series
