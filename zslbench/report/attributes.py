"""How much each class attribute varies over training images and over images of unseen classes, and what is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import ZSLData
from zslbench.errors import DataError
from zslbench.report.figures import COLOURS, COLUMN, PAGE, save, style

if TYPE_CHECKING:
    from matplotlib.collections import PathCollection
    from matplotlib.figure import SubFigure

Array = NDArray[np.float64]

CLASSES, IMAGES = 10, 50
"""Unseen classes in a map, and images of each: more cannot be told apart."""
FITTED = 4000
"""Training images from which attributes are learned."""
PERPLEXITY = 30
MARKERS = ("o", "^", "s")
NAMES_ACROSS = 3
"""Classes in a line of the legend of maps."""
HEIGHT, HEAT_HEIGHT = 2.1, 1.3
"""Of what is drawn for a data set, with and without maps, in inches."""


@dataclass(frozen=True)
class Variances:
    """Variance of each attribute where every image stands for the attributes of its class, `(A,)` each."""

    train: Array
    unseen: Array

    @property
    def cosine(self) -> float:
        """How alike both are; the SP-AEN paper prints it in the head of its Table 1."""
        return float(self.train @ self.unseen / np.linalg.norm(self.train) / np.linalg.norm(self.unseen))

    @property
    def order(self) -> NDArray[np.int64]:
        """The attributes by their variance over training images, ascending."""
        return np.argsort(self.train, kind="stable")

    @property
    def high(self) -> NDArray[np.int64]:
        """The half of the attributes that varies most over training images."""
        return self.order[len(self.order) // 2 :]


@dataclass(frozen=True)
class Map:
    """Images on a plane by t-SNE (van der Maaten & Hinton, 2008): their places, `(n, 2)`.

    `nearest` is the share of images whose nearest other one, by the attributes themselves, is of the same class.
    """

    points: Array
    nearest: float


def variances(data: ZSLData) -> Variances:
    """Returns the variance of each attribute over trainval and over test_unseen images.

    Raises:
        DataError: the class embeddings are no attributes.
    """
    if not data.attributes:
        raise DataError(f"the class embeddings of {data.name} are no attributes")
    semantics = data.semantics.astype(np.float64)
    train, unseen = (semantics[data.labels[rows]].var(axis=0) for rows in (data.train, data.test_unseen))
    return Variances(train, unseen)


def attributes_of_images(data: ZSLData, rows: NDArray[np.int64]) -> Array:
    """Returns the attributes of images as they are read off their features, `(n, A)`.

    Releases have attributes of classes only; ridge regression, fitted on training images with the penalty that leaves
    one of them out best, gives an image its own.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    assert data.features is not None
    train = np.sort(np.random.default_rng(0).permutation(data.train)[:FITTED])
    reader = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(0, 5, 11)))
    reader.fit(np.asarray(data.features[train], dtype=np.float64), data.semantics[data.labels[train]])
    return np.asarray(reader.predict(np.asarray(data.features[rows], dtype=np.float64)))


def mapped(attributes: Array, y: NDArray[np.int64]) -> Map:
    """Returns images on a plane; the same ones for the same attributes."""
    from sklearn.manifold import TSNE
    from sklearn.neighbors import NearestNeighbors

    neighbours = NearestNeighbors(n_neighbors=2).fit(attributes).kneighbors(attributes, return_distance=False)
    perplexity = min(PERPLEXITY, (len(attributes) - 1) / 3)
    points = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(attributes)
    return Map(points, float((y[neighbours[:, 1]] == y).mean()))


def some_unseen(data: ZSLData) -> NDArray[np.int64]:
    """Returns images of up to `CLASSES` unseen classes, up to `IMAGES` of each, drawn once and for all."""
    random = np.random.default_rng(0)
    classes = np.sort(random.permutation(data.split.unseen)[:CLASSES])
    rows = random.permutation(data.test_unseen)
    return np.concatenate([rows[data.labels[rows] == c][:IMAGES] for c in classes])


def write_attributes(stem: Path, loaded: Sequence[tuple[ZSLData, str]]) -> tuple[list[Path], list[str]]:
    """Draws for each data set a heat map of variances and, where it has features, maps of unseen classes' images.

    `loaded` has each data set, with why it has no features, if it has none. Returns the files, which are `stem` with
    `.png` and `.pdf`, and lines about what could not be drawn.

    Raises:
        DataError: none of the data sets has attributes.
    """
    drawn: list[tuple[ZSLData, Variances]] = []
    lines = []
    for data, problem in loaded:
        try:
            drawn.append((data, variances(data)))
        except DataError as error:
            lines.append(str(error))
            continue
        if problem:
            lines.append(f"no maps of {data.name}: {problem}")
    if not drawn:
        raise DataError("; ".join(lines))
    wide = any(data.features is not None for data, _ in drawn)
    size = (PAGE, HEIGHT * len(drawn)) if wide else (COLUMN, HEAT_HEIGHT * len(drawn))
    with style() as figure_of:
        figure = figure_of(figsize=size, layout="constrained")
        parts = figure.subfigures(len(drawn), 1, squeeze=False)[:, 0]
        for part, (data, found) in zip(parts, drawn, strict=True):
            sides = part.subfigures(1, 2, width_ratios=(1, 1.15)) if wide else [part]
            _heat(sides[0], data, found)
            if data.features is not None:
                _maps(sides[1], data, found)
        return save(figure, stem), lines


def _heat(part: SubFigure, data: ZSLData, found: Variances) -> None:
    from matplotlib.colors import PowerNorm

    axes = part.subplots()
    values = np.stack([v[found.order] / max(v.max(), 1e-12) for v in (found.train, found.unseen)])
    scale = PowerNorm(0.5, 0, 1)  # most attributes vary far less than the first few
    image = axes.imshow(values, aspect="auto", cmap="cividis_r", norm=scale, interpolation="nearest")
    axes.axhline(0.5, color="white", linewidth=2)
    axes.axvline(len(found.order) - len(found.high) - 0.5, color="#D55E00", linewidth=1, linestyle=(0, (3, 1.5)))
    axes.set(xticks=[], xlabel=f"{len(found.order)} attributes, by variance over training images")
    axes.set_yticks([0, 1], ["training", "unseen"])
    axes.tick_params(length=0)
    axes.set_title(f"{data.name}: cosine of both rows {found.cosine:.4f}", loc="left")
    axes.spines[:].set_visible(False)
    bar = part.colorbar(image, ax=axes, fraction=0.04, pad=0.02, ticks=[0, 0.25, 1])
    bar.ax.set_yticklabels(["0", "¼", "1"])
    bar.set_label("variance / largest")
    bar.outline.set_visible(False)


def _maps(part: SubFigure, data: ZSLData, found: Variances) -> None:
    rows = some_unseen(data)
    y, attributes = data.labels[rows], attributes_of_images(data, rows)
    titles = {"all attributes": found.order, "high variance only": found.high}
    dots: dict[str, PathCollection] = {}
    for axes, (title, kept) in zip(part.subplots(1, 2), titles.items(), strict=True):
        shown = mapped(attributes[:, kept], y)
        for k, c in enumerate(np.unique(y)):
            look: dict[str, Any] = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k // len(COLOURS)]}
            dots[data.class_names[c]] = axes.scatter(*shown.points[y == c].T, s=4, linewidths=0, **look)
        axes.set_title(title, loc="left")
        axes.set(xlabel=f"nearest of same class: {100 * shown.nearest:.0f} %", xticks=[], yticks=[])
        axes.spines[:].set_color("#BBBBBB")
    names = [name.replace("$", r"\$") for name in dots]
    part.legend(
        dots.values(), names, loc="outside lower center", ncols=NAMES_ACROSS, fontsize=5, markerscale=2, handlelength=1
    )
