"""A picture of predictions: images, their best classes, and the attributes that favour the best one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from zslbench.api.images import UnreadableImage
from zslbench.data.decoding import central_square
from zslbench.errors import DataError, NotApplicable, UsageError
from zslbench.files import whole
from zslbench.report.figures import DPI, PAGE, style
from zslbench.report.table import Table, table_of
from zslbench.runs.inputs import Block, Source
from zslbench.runs.predictions import UNREADABLE, Question

ACROSS, SIDE, SHOWN = 4, 160, 24
"""Images in a row of the picture, their side in pixels, and how many there are at most."""
BEST, SPOKE = 3, 3
"""Classes and attributes that are named below an image."""
ROWS = 20
"""Answers that are printed."""
POINTS, LINE = 5.5, 0.115
"""Size of the text, and height of a line of it in inches."""


def draw_predictions(path: Path, question: Question, source: Source) -> None:
    """Draws images from all over a source, in their order, with their three best classes and scores.

    Below stand the attributes whose contribution `s_a E(x)_a` sets the winner farthest apart from the mean class, where
    scores are sums of such.

    Raises:
        UsageError: there are features alone, and no images to show.
        DataError: no image can be read, or the file cannot be written.
    """
    if source.images is None:
        raise UsageError(f"--grid {path}: there are features alone, and no images to show")
    images, few = _some(source)
    count = len(few.names)
    if not count:
        raise DataError(f"{path}: no image can be read")
    texts = _texts(Question(question.model, question.classes, BEST, question.gamma), few)
    rows, width = -(-count // ACROSS), PAGE / ACROSS
    high = width + LINE * (max(text.count("\n") for text in texts) + 2.5)
    with style(POINTS) as figure_of:
        figure = figure_of(figsize=(PAGE, rows * high))
        for i, text in enumerate(texts):
            row, column = divmod(i, ACROSS)
            bottom = 1 - row / rows - width / (rows * high)
            axes = figure.add_axes(((column + 0.01) / ACROSS, bottom, 0.98 / ACROSS, width / (rows * high)))
            axes.axis("off")
            try:
                axes.imshow(np.asarray(central_square(source.images.read(images[i]), SIDE).convert("RGB")))
            except UnreadableImage:
                axes.text(0.5, 0.5, "unreadable", ha="center")
            axes.text(0, -0.02, text, transform=axes.transAxes, va="top", linespacing=1.25, parse_math=False)
        with whole(path) as part:
            figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})


def _some(source: Source) -> tuple[list[int], Block]:
    """Returns the positions of readable images, evenly spread, and what is known of them."""
    few = np.unique(np.linspace(0, len(source.names) - 1, SHOWN).round().astype(np.int64))
    blocks = [block for block in source.read(few) if block.names]
    names = [name for block in blocks for name in block.names]
    x = np.concatenate([block.x for block in blocks]) if blocks else np.empty((0, 0), np.float32)
    return [source.names.index(name) for name in names], Block(names, x, {})


def _texts(question: Question, block: Block) -> list[str]:
    """Returns what stands below each image."""
    answers, texts = question.answer(block), []
    for (_, answer), spoke in zip(answers.iterrows(), _spoke(question, block), strict=True):
        new = "new: " if answer["side"] == "new" else ""
        lines = [f"{new}{_short(answer['class'])}  {answer['score']:.2f}"]
        others = range(2, min(BEST, len(question.classes)) + 1)
        lines += [f"{_short(answer[f'class_{n}'])}  {answer[f'score_{n}']:.2f}" for n in others]
        texts.append("\n".join([*lines, *spoke]))
    return texts


def _spoke(question: Question, block: Block) -> list[list[str]]:
    """Returns for each image lines of the attributes that spoke most for its winner; none where nothing adds up."""
    model, classes, count = question.model, question.classes, len(block.names)
    try:
        added = model.contributions(block.x, classes)
    except NotApplicable:
        return [[]] * count
    scores = added.sum(axis=2) - model.shift(classes, question.gamma) * classes.seen.numpy()
    if added.shape[2] != model.classes.semantics.shape[1]:  # class embeddings were turned
        return [[]] * count
    lines = []
    for own, winner in zip(added, scores.argmax(axis=1), strict=True):
        apart = own[winner] - own.mean(axis=0)
        most = np.argsort(-apart)[:SPOKE]
        lines.append([f"+{apart[a]:.2f} {_short(_name(model.attributes, int(a)))}" for a in most])
    return lines


def _name(attributes: tuple[str, ...], number: int) -> str:
    return attributes[number] if attributes else f"attribute {number + 1}"


def _short(text: str, most: int = 30) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def answers_table(answers: pd.DataFrame) -> Table:
    """Returns the first answers as a table."""
    shown = answers.head(ROWS).drop(columns=[UNREADABLE]).astype(object)
    lines = [[_cell(value) for value in row] for row in shown.to_numpy()]
    table = table_of(list(shown.columns), lines, left=2)
    columns = [replace(column, rank=int(column.title in ("margin", "side"))) for column in table.columns]
    table = replace(table, columns=columns)
    if more := len(answers) - len(shown):
        table = replace(table, notes=[*table.notes, f"and {more} more; --csv FILE writes all"])
    return table


def lines_below(question: Question, source: Source, answers: pd.DataFrame, csv: Path | None) -> Iterator[str]:
    """Yields what is to be said below the answers."""
    bad = answers[answers[UNREADABLE] != ""]
    if csv:
        yield f"{csv}: {len(answers)} images written, {len(source.names)} in all"
    for _, row in bad.head(ROWS).iterrows():
        yield f"unreadable: {row['image']}: {row[UNREADABLE]}"
    shift = question.model.shift(question.classes, question.gamma)
    if question.gamma == "auto" and 0 < int(question.classes.seen.sum()) < len(question.classes):
        if question.model.gamma is None:
            yield "seen and unseen classes compete uncalibrated: the run chose no gamma; --gamma VALUE sets one"
        else:
            yield f"gamma {shift:.4g} is subtracted from scores of seen classes, as validation classes chose it"
    if source.labels and len(answers) == len(source.names):
        true, given = np.array(source.labels), answers["class"].to_numpy()
        among = [name for name in dict.fromkeys(source.labels) if name in question.classes.names]
        if among:
            top1 = np.mean([(given[true == name] == name).mean() for name in among])
            yield f"per-class top-1: {100 * top1:.1f} percent, the mean over {len(among)} classes"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.3g}"
    return str(value)
