"""Images of unseen classes beside the methods' reconstructions, from arrays kept beside records."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zslbench.errors import DataError
from zslbench.evaluation.measuring import evaluators
from zslbench.files import write_whole
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.report.figures import COLUMN, PAGE, save, style
from zslbench.report.rows import spreads
from zslbench.runs.row import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pictures = NDArray[np.uint8]
"""`(n, H, W, 3)`."""

EVALUATOR = "reconstruction"
"""What keeps them; its first metric stands below them."""
KEPT = f"{EVALUATOR}/"
"""How the names of those arrays begin: `rows`, `unseen`, `originals` and `made`."""
ROWS, ACROSS = 6, 16
"""Images in a column of a grid, and in a line of the picture beside a record."""
SMALL = 64
"""Pixels of a side, at most, of an image among a few."""
GAP, GUTTER = 0.03, 0.12
"""Between images, as a part of their size; between grids of two data sets, in inches."""
POINTS, NAME_POINTS, LINE, LETTER = 7, 5, 0.13, 0.058
"""Size of the text of headings and of class names; height of lines and width of letters of headings, in inches."""


def write_grids(stem: Path, grids: list[list[Row]], store: Store, name: Callable[[Row], str]) -> list[Path]:
    """Draws a grid for each data set: originals in the first column, then what each row's first run made of them.

    The files are `stem` with `.png` and `.pdf`; the heading of a row's column is its `name`.

    Raises:
        DataError: a run kept no reconstructions, or the runs have no image in common.
    """
    shown = [columns_of(rows, store) for rows in grids]
    pictures = [mosaic(columns) for columns, _ in shown]
    across = min(len(grids), 2)
    page = COLUMN if across == 1 else PAGE
    part = (page - GUTTER * (across - 1)) / across
    beside = max(_beside(names, part / (len(rows) + 2)) for rows, (_, names) in zip(grids, shown, strict=True))
    width = part - beside
    headings = [[_wrapped(text, width / (len(rows) + 1)) for text in ["original", *map(name, rows)]] for rows in grids]
    above = LINE * (max(text.count("\n") for texts in headings for text in texts) + 1) + 0.05
    above += LINE if len(grids) > 1 else 0.0
    highs = [width * picture.shape[0] / picture.shape[1] for picture in pictures]
    tall = [max(highs[i : i + across]) + above + LINE + 0.05 for i in range(0, len(grids), across)]
    with style() as figure_of:
        figure = figure_of(figsize=(page, sum(tall)))
        for i, (rows, picture, texts, high) in enumerate(zip(grids, pictures, headings, highs, strict=True)):
            left = beside + (i % across) * (part + GUTTER)
            bottom = sum(tall) - sum(tall[: i // across]) - above - high
            axes = figure.add_axes((left / page, bottom / sum(tall), width / page, high / sum(tall)))
            axes.imshow(picture, aspect="auto", interpolation="antialiased")
            axes.axis("off")
            _label(axes, rows, texts, shown[i][1], (width, high))
            if len(grids) > 1:
                top = 1 + (above - LINE + 0.02) / high
                axes.text(0.01, top, rows[0].dataset_title, va="baseline", transform=axes.transAxes)
        return save(figure, stem)


def _label(axes: Axes, rows: list[Row], heads: list[str], names: list[str], size: tuple[float, float]) -> None:
    """Writes the heads above the columns of a grid, mean errors below them, and class names beside the rows."""
    metric = evaluators()[EVALUATOR].metrics[0]
    errors = [spreads(row).get(metric.name) for row in rows]
    below = [metric.title, *(metric.text(error.mean) for error in errors if error)] if all(errors) else []
    width, high = size
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "fontsize": POINTS}
    for k, text in enumerate(heads):
        axes.text((k + 0.5) / len(heads), 1 + 0.05 / high, text, va="baseline", linespacing=1.1, **place)
    for k, text in enumerate(below):
        axes.text((k + 0.5) / len(heads), -0.03 / high, text, va="top", **place)
    place |= {"rotation": 90, "ha": "right", "va": "center", "fontsize": NAME_POINTS, "linespacing": 1.0}
    for k, name in enumerate(names):
        text = _name(name, high / len(names))
        axes.text(-0.03 / width, 1 - (k + 0.5) / len(names), text, **place)


def write_pairs(record: RunRecord, store: Store) -> Path | None:
    """Writes the picture of `pairs_of` beside a record; returns its path, or None where there is none.

    Raises:
        DataError: the picture cannot be written.
    """
    if not any(metric.name in record.metrics for metric in evaluators()[EVALUATOR].metrics):
        return None
    picture = pairs_of(store.arrays(record))
    if picture is None:
        return None
    path = store.beside(record, "reconstructions.png")
    if not path.is_file() or path.read_bytes() != picture:  # it is damaged, or of another version
        write_whole(path, picture)
    return path


def pairs_of(arrays: Mapping[str, NDArray[Any]]) -> bytes | None:
    """Returns, as PNG, the images that a run kept above what was made of them; None where it kept none.

    The upper rows are of unseen classes, the lower ones of seen classes.
    """
    if f"{KEPT}rows" not in arrays:
        return None
    order = np.argsort(~arrays[f"{KEPT}unseen"], kind="stable")
    original, made = (arrays[f"{KEPT}{kind}"][order].transpose(0, 2, 3, 1) for kind in ("originals", "made"))
    return _in_lines([(original[i : i + ACROSS], made[i : i + ACROSS]) for i in range(0, len(order), ACROSS)], ACROSS)


def sample_of(arrays: Mapping[str, NDArray[Any]], most: int) -> bytes | None:
    """Returns `pairs_of` some images alone: at most so many of unseen and of seen classes, each `SMALL` or smaller."""
    if f"{KEPT}rows" not in arrays:
        return None
    unseen, pairs = arrays[f"{KEPT}unseen"], []
    for side in (np.flatnonzero(unseen), np.flatnonzero(~unseen)):
        picked = side[np.unique(np.linspace(0, len(side) - 1, min(most, len(side))).round().astype(int))]
        parts = [arrays[f"{KEPT}{kind}"][picked].transpose(0, 2, 3, 1) for kind in ("originals", "made")]
        small = [
            _resized(part, (min(part.shape[2], SMALL), min(part.shape[1], SMALL))) for part in parts if len(picked)
        ]
        pairs += [tuple(small)] if small else []
    return _in_lines(pairs, max(len(original) for original, _ in pairs))


def _in_lines(pairs: Sequence[Sequence[Pictures]], across: int) -> bytes:
    """Returns, as PNG, lines of originals, each above what was made of them; lines that are not full end in white."""
    lines = [
        np.pad(part, [(0, across - len(part)), (0, 0), (0, 0), (0, 0)], constant_values=255)
        for pair in pairs
        for part in pair
    ]
    picture = BytesIO()
    columns = [np.stack(column) for column in zip(*lines, strict=True)]
    Image.fromarray(mosaic(columns)).save(picture, "PNG", optimize=True)
    return picture.getvalue()


def _name(name: str, high: float) -> str:
    """Returns the name of a class in lines, beside an image so many inches high."""
    return _wrapped(re.sub("[_+ ]+", " ", name), high * POINTS / NAME_POINTS)


def _beside(names: list[str], high: float) -> float:
    """Returns the inches that the names of classes take beside images which are no smaller than that."""
    return 0.05 + LINE * NAME_POINTS / POINTS * max(_name(name, high).count("\n") + 1 for name in names)


def _wrapped(text: str, width: float) -> str:
    return fill(text, max(1, int(width / LETTER)), break_long_words=False).replace("$", r"\$")


def columns_of(rows: list[Row], store: Store) -> tuple[list[Pictures], list[str]]:
    """Returns originals, then what each row made of them, all of one size; and the classes of the images.

    The images are of as many classes as there are.
    """
    kept = [_kept(row, store) for row in rows]
    common = set.intersection(*(set(images) for images, _, _ in kept))
    if not common:
        raise DataError(f"the runs of {', '.join(row.label for row in rows)} kept reconstructions of different images")
    arrays = store.arrays(rows[0].records[0])
    classes = dict(zip(arrays["images"].tolist(), arrays["y"].tolist(), strict=True))
    shown = _spread([image for image in kept[0][0] if image in common], classes)
    own = [[images.index(image) for image in shown] for images, _, _ in kept]
    largest = max((originals for _, originals, _ in kept), key=lambda pictures: pictures.shape[1])
    place = next(i for i, (_, originals, _) in enumerate(kept) if originals is largest)
    size = largest.shape[2], largest.shape[1]
    columns = [largest[own[place]], *(made[picked] for (_, _, made), picked in zip(kept, own, strict=True))]
    names = rows[0].records[0].class_names
    return [_resized(column, size) for column in columns], [names[classes[image]] for image in shown]


def _kept(row: Row, store: Store) -> tuple[list[int], Pictures, Pictures]:
    """Returns the images of unseen classes that a row's first run kept: places in the data set, originals, made."""
    arrays = store.arrays(row.records[0])
    if f"{KEPT}rows" not in arrays:
        raise DataError(f"{row.label} on {row.dataset} kept no reconstructions; its input must be images")
    unseen = arrays[f"{KEPT}unseen"]
    originals, made = (arrays[f"{KEPT}{kind}"][unseen].transpose(0, 2, 3, 1) for kind in ("originals", "made"))
    return arrays[f"{KEPT}rows"][unseen].tolist(), originals, made


def _spread(images: list[int], classes: dict[int, int]) -> list[int]:
    """Returns the first image of each class, then the second of each, up to `ROWS`; in the order of the classes."""
    seen: dict[int, int] = {}
    turns = []
    for image in images:
        turn = seen[classes[image]] = seen.get(classes[image], -1) + 1
        turns.append((turn, image))
    first = [image for _, image in sorted(turns, key=lambda pair: pair[0])[:ROWS]]
    return sorted(first, key=lambda image: (classes[image], images.index(image)))


def _resized(pictures: Pictures, size: tuple[int, int]) -> Pictures:
    resized = (Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC) for picture in pictures)
    return pictures if pictures.shape[2:0:-1] == size else np.stack([np.asarray(picture) for picture in resized])


def mosaic(columns: list[Pictures]) -> Pictures:
    """Returns all pictures in one on white, `(H', W', 3)`, a column for each entry."""
    n, h, w, _ = columns[0].shape
    gap = max(1, round(GAP * w))
    result = np.full((n * (h + gap) - gap, len(columns) * (w + gap), 3), 255, dtype=np.uint8)
    for k, column in enumerate(columns):
        left = k * (w + gap) + gap // 2
        for i, picture in enumerate(column):
            result[i * (h + gap) : i * (h + gap) + h, left : left + w] = picture
    return result
