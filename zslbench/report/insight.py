"""Looks inside a run: which classes fail, what they are taken for, which attract images, which attributes are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from zslbench.api.dataset import ZSLData
from zslbench.errors import DataError, NotApplicable
from zslbench.evaluation.measuring import view_of
from zslbench.files import whole
from zslbench.report.figures import COLOURS, DPI, PAGE, style
from zslbench.report.results import Result
from zslbench.report.table import Table, table_of
from zslbench.runs.inputs import Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAIRS, ATTRIBUTES = 10, 10
"""Confused pairs, and attributes of the best and of the worst, that are shown."""


def unseen_classes(result: Result) -> pd.DataFrame:
    """Returns how well unseen classes are recognised, and how near they are to what was trained on.

    A row for each unseen class with test images: `images`, `acc_uu` and `acc_ut` as fractions, `nearest`, the seen
    class of the most similar embedding, and `similarity`, the cosine of the two.

    Raises:
        DataError: the run kept no model, in whose file the class embeddings are.
    """
    classes, table = result.model(device="cpu").classes, result.per_class()
    semantics, seen = classes.semantics.double().numpy(), classes.seen.numpy()
    unit = semantics / np.linalg.norm(semantics, axis=1, keepdims=True)
    cosines = unit @ unit[seen].T
    names = list(classes.names)
    of_seen = [name for name, own in zip(names, seen, strict=True) if own]
    rows = [names.index(name) for name in table.index[~table["seen"]]]
    decisions = result.decisions()
    table = table[~table["seen"]].drop(columns=["seen", "acc_st"], errors="ignore")
    table.insert(0, "images", [int((decisions.y == row).sum()) for row in rows])
    table["nearest"] = [of_seen[cosines[row].argmax()] for row in rows]
    table["similarity"] = [cosines[row].max() for row in rows]
    return table.sort_values("similarity", ascending=False)


def confused_pairs(result: Result, gamma: float | None = None) -> pd.DataFrame:
    """Returns pairs of classes, most confused first: `class`, `given_to`, `images`, and their `share` of the class."""
    counts = result.confusion(gamma)
    values = counts.to_numpy()
    true, given = np.nonzero(values * (1 - np.eye(len(values), dtype=np.int64)))
    images = values[true, given]
    order = np.lexsort((given, true, -images))
    names = counts.index.to_numpy()
    return pd.DataFrame(
        {
            "class": names[true][order],
            "given_to": names[given][order],
            "images": images[order],
            "share": (images / values.sum(axis=1)[true])[order],
        }
    )


def hubness(result: Result, gamma: float | None = None) -> tuple[float, pd.DataFrame]:
    """Returns how unevenly images are given to classes.

    Returns:
        The skewness of the number of images given to a class, over all classes, where 0 is even, and a class that
        attracts most images makes it large (N_1 of Radovanovic et al.: Hubs in space. JMLR 2010); and a row for each
        class: `seen`, `images` of it in the test, and `given`, most given first.
    """
    counts = result.confusion(gamma)
    given = counts.to_numpy().sum(axis=0).astype(np.float64)
    apart = given - given.mean()
    spread = np.sqrt((apart**2).mean())
    skewness = float((apart**3).mean() / spread**3) if spread > 0 else 0.0
    seen = view_of(result.arrays(), result.record.class_names).classes.seen.numpy()
    images = counts.to_numpy().sum(axis=1)
    table = pd.DataFrame({"seen": seen, "images": images, "given": given.astype(np.int64)}, index=counts.index)
    return skewness, table.rename_axis("class").sort_values("given", ascending=False, kind="stable")


def read_outs(result: Result, data: ZSLData) -> pd.DataFrame:
    """Returns how well each attribute can be read off the embeddings of images of unseen classes.

    `auc` is the area under the ROC curve of E(x)_a, for images of classes whose strength of attribute a lies above the
    mean over unseen classes with images, against the others: .5 is chance. A row for each attribute in which these
    classes differ, the best first.

    Raises:
        DataError: the run kept no model, or the data are others than it was trained on.
        NotApplicable: the method maps no images to class embeddings.
    """
    from sklearn.metrics import roc_auc_score

    if data.fingerprint != result.record.spec.fingerprint:
        raise DataError(f"data set {data.name} is not the one that run {result.id} was trained on")
    model, source = result.model(device="cpu"), Source.of_part(data, "test_unseen")
    embedded = np.concatenate([model.embed(block.x) for block in source.blocks()])
    if embedded.shape[1] != data.semantics.shape[1]:
        raise NotApplicable("its class embeddings are whitened, so that none of their dimensions is an attribute")
    y = data.labels[data.test_unseen]
    present = np.unique(y)
    rows = []
    for a in range(embedded.shape[1]):
        strong = data.semantics[:, a] > data.semantics[present, a].mean()
        if 0 < strong[present].sum() < len(present):
            name = data.attribute_names[a] if data.attribute_names else f"attribute {a + 1}"
            rows.append((name, float(roc_auc_score(strong[y], embedded[:, a]))))
    return pd.DataFrame(rows, columns=["attribute", "auc"]).sort_values("auc", ascending=False, ignore_index=True)


def insight_tables(result: Result, data: ZSLData | None = None) -> list[Table]:
    """Returns what can be said of a run as tables; what cannot be is a note."""
    tables = []
    try:
        unseen = unseen_classes(result)
        body = [
            [str(name), str(r["images"]), _percent(r.get("acc_uu")), _percent(r["acc_ut"]), r["nearest"]]
            for name, r in unseen.iterrows()
        ]
        body = [[*row, f"{cosine:.3f}"] for row, cosine in zip(body, unseen["similarity"], strict=True)]
        head = ["class", "images", "U->U", "U->T", "nearest seen class", "similarity"]
        table = table_of(head, body, title="unseen classes, by the cosine of their embedding and that of a seen class")
        ranks = unseen[["acc_ut", "similarity"]].rank()
        related = ranks["acc_ut"].corr(ranks["similarity"]) if len(ranks) > 2 else np.nan
        if not np.isnan(related):
            table.notes.append(f"rank correlation of U->T and similarity: {related:.2f}")
        tables.append(table)
    except DataError as error:
        tables.append(Table("", [], [], [f"unseen classes: {error}"]))
    pairs = confused_pairs(result).head(PAIRS)
    body = [[r["class"], r["given_to"], str(r["images"]), _percent(r["share"])] for _, r in pairs.iterrows()]
    head, title = ["class", "given to", "images", "share"], "most confused classes, all to choose from"
    tables.append(table_of(head, body, 2, title))
    skewness, hubs = hubness(result)
    body = [
        [str(name), "seen" if row["seen"] else "unseen", str(row["images"]), str(row["given"])]
        for name, row in hubs.head(PAIRS).iterrows()
    ]
    table = table_of(["class", "side", "images", "given"], body, 2, "classes that images are given to most often")
    table.notes.append(f"skewness over {len(hubs)} classes: {skewness:.2f}; 0 is even")
    return [*tables, table, *_of_attributes(result, data)]


def _of_attributes(result: Result, data: ZSLData | None) -> list[Table]:
    if data is None:
        return []
    try:
        found = read_outs(result, data)
    except (DataError, NotApplicable) as reason:
        return [Table("", [], [], [f"attributes: {reason}"])]
    shown = pd.concat([found.head(ATTRIBUTES), found.tail(max(0, min(ATTRIBUTES, len(found) - ATTRIBUTES)))])
    title = "attributes read off embeddings of unseen classes, area under the ROC curve"
    table = table_of(["attribute", "AUC"], [[r["attribute"], f"{r['auc']:.3f}"] for _, r in shown.iterrows()], 1, title)
    left = f"; {len(found) - len(shown)} between are left out" if len(found) > len(shown) else ""
    table.notes.append(f"mean over {len(found)} attributes: {found['auc'].mean():.3f}; .5 is chance{left}")
    return [table]


def draw_insight(path: Path, result: Result) -> None:
    """Draws accuracy against similarity to the nearest seen class, and how many images each class is given.

    Raises:
        DataError: the run kept no model, or the file cannot be written.
    """
    unseen, (skewness, hubs) = unseen_classes(result), hubness(result)
    with style() as figure_of:
        figure = figure_of(figsize=(PAGE, PAGE / 2.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _scatter(left, unseen)
        colours = [COLOURS[0] if own else COLOURS[1] for own in hubs["seen"]]
        right.bar(range(len(hubs)), hubs["given"], color=colours, width=1.0)
        right.set_xlabel("classes, most given first (blue seen, red unseen)")
        right.set_ylabel("test images given to the class")
        right.set_title(f"skewness {skewness:.2f}")
        with whole(path) as part:
            figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})


def _scatter(axes: Axes, unseen: pd.DataFrame) -> None:
    for task, title, colour in (("acc_uu", "among unseen classes", COLOURS[0]), ("acc_ut", "among all", COLOURS[1])):
        if task in unseen:
            axes.plot(unseen["similarity"], 100 * unseen[task], "o", markersize=3.5, color=colour, label=title)
    axes.set_xlabel("cosine to the nearest seen class")
    axes.set_ylabel("accuracy of the unseen class, percent")
    axes.set_ylim(-3, 103)
    axes.legend()


def _percent(value: object) -> str:
    return f"{100 * value:.1f}" if isinstance(value, float) and not np.isnan(value) else "n/a"
