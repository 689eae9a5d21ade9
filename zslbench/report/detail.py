"""Everything about one run, for `show` and `evaluate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich.table
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from zslbench.api.evaluator import Decisions
from zslbench.api.metric import Metric
from zslbench.errors import printable
from zslbench.evaluation.accuracy import harmonic_mean, seen_unseen_curve
from zslbench.evaluation.measuring import metrics, remarks
from zslbench.records.record import RunRecord, Training
from zslbench.report.table import table_of
from zslbench.report.terminal import show

CLASSES_SHOWN = 5


def print_record(
    record: RunRecord, arrays: Mapping[str, NDArray[Any]], console: Console, *, plain: bool, model: Path | None = None
) -> None:
    """Prints settings, metrics with intervals, the curve's best point, extreme classes, confusions, provenance.

    `model` is where the kept model is.
    """
    decisions = Decisions.of(arrays)
    size = "not kept" if model is None else f"kept, {model.stat().st_size / 1e3:,.0f} kB"
    _block(console, "run", _settings(record) | ({} if record.external else {"model": size}), plain)
    lines = []
    for metric in [metric for metric in metrics().values() if metric.name in record.metrics]:
        interval = " to ".join(map(metric.text, record.intervals.get(metric.name, ())))
        validation = metric.text(record.validation[metric.name]) if metric.name in record.validation else ""
        lines.append([metric.title, metric.text(record.metrics[metric.name]), interval, validation])
    show([table_of(["metric", "value", "95 % interval", "validation"], lines)], console, plain=plain)
    for evaluator, reason in record.not_applicable.items():
        console.print(printable(f"{evaluator}: not applicable: {reason}"), markup=False, soft_wrap=True)
    for _, remark in remarks(record.metrics):
        console.print(printable(f"warning: {remark}"), markup=False, soft_wrap=True)
    _block(console, "classes", _classes(record, decisions), plain)
    if record.provenance:
        _block(console, "provenance", {k: _short(v) for k, v in record.provenance.items()}, plain)


def _settings(record: RunRecord) -> dict[str, str]:
    spec, training = record.spec, record.training
    settings = {
        "id": record.id,
        "method": f"{spec.method} (version {spec.method_version})",
        "data set": f"{spec.dataset}, {spec.features or 'no features'}, fingerprint {spec.fingerprint[:16]}",
        "pretraining": record.pretraining,
        "uses": spec.setting,
        "on": spec.on + (f", fold {spec.fold}" if spec.on == "validation" else ""),
        "seed": str(spec.seed),
        **({} if spec.shots is None else {"shots": f"{spec.shots} training images of each seen class"}),
        "scale": spec.scale,
        **({} if spec.semantics_scale == "none" else {"semantics scale": spec.semantics_scale}),
        "parameters": _short(record.params),
        "chosen by": record.params_from,
    }
    if training is not None:
        epochs = "closed form" if training.epochs is None else f"{training.epochs} epochs"
        epochs += _ended(record, training) if spec.stop_on else ""
        seconds, validation = training.seconds, training.seconds_validation
        settings["training"] = f"{epochs}, {seconds:.2f} s (validation fit {validation:.2f} s)"
    return settings


def _ended(record: RunRecord, training: Training) -> str:
    """Returns how a trial that ends by its validation curve ended."""
    name, below = record.spec.stop_on, record.spec.stop_below
    metric = metrics().get(name, Metric(name, name, percent=False))  # of a plugin that is not here
    ended = f" of {len(training.watched)}, the best by {metric.title}"
    if below is not None and len(training.watched) == record.spec.stop_after:  # patience ends none as early as that
        ended += f"; dropped, as the median trial had {metric.text(below)} by then"
    return ended


def _classes(record: RunRecord, decisions: Decisions) -> dict[str, str]:
    lines = {}
    for task, accuracies in record.per_class.items():
        ordered = sorted(accuracies.items(), key=lambda item: item[1])
        for side, some in (("worst", ordered[:CLASSES_SHOWN]), ("best", ordered[: -CLASSES_SHOWN - 1 : -1])):
            lines[f"{task.upper()} {side}"] = ", ".join(f"{name} {100 * value:.0f}" for name, value in some)
    names, choice = record.class_names, decisions.choice()
    wrong = choice != decisions.y
    pairs = Counter(zip(decisions.y[wrong].tolist(), choice[wrong].tolist(), strict=True)).most_common(CLASSES_SHOWN)
    lines["most confused"] = ", ".join(f"{names[true]} as {names[given]} {count}x" for (true, given), count in pairs)
    curve = seen_unseen_curve(decisions)
    best = 100 * harmonic_mean(curve.acc_ut[0], curve.acc_st[0]).max()
    where = f"highest H on it {best:.1f} at gamma {curve.best_gamma():.4g} (chosen on test images: not a result)"
    lines["curve"] = f"{len(curve.gaps) + 1} points; {where}"
    return lines


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={item}" for name, item in value.items())
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _block(console: Console, title: str, lines: dict[str, str], plain: bool) -> None:
    if plain:
        for name, text in lines.items():
            console.print(printable(f"{name}: {text}"), markup=False, highlight=False, soft_wrap=True)
        return
    grid = rich.table.Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in lines.items():
        grid.add_row(Text(printable(name)), Text(printable(text)))
    console.print(grid)
    console.print()
