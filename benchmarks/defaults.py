"""Compares each method's default hyper-parameters with tuned ones, on data sets that differ in their class embeddings.

python benchmarks/defaults.py [-d digits -d awa1@bow512] [--methods eszsl,sae] [--trials 8] [--folds 1]
    [--kinds sentences] [--csv OUT.csv] [--before FILE.csv] [--page FILE.md]

Every data set comes with three kinds of class embeddings: its own attributes; random projections of them into 1,024
dimensions with an offset that all classes share, so that the mean cosine between classes is .8; and, where a text
encoder is installed, sentence embeddings of a text for each class. Tuned rows are searched on validation classes, with
the same number of trials for every method. A default row below half of its tuned row, in AUSUC on test images, is
marked: such a default does not carry to other data. Searches and runs are kept in the store, and are not repeated.

To compare two versions of the methods, run the older one with `--trials 0 --csv before.csv`, which runs the defaults
alone, and give the file to the newer one by `--before`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zslbench import Bench
from zslbench.api.dataset import ZSLData
from zslbench.preparation.semantics import embed, load_text_encoder
from zslbench.preparation.texts import read_texts

SIZE, COSINE = 1024, 0.8
TEMPLATE = "a photo of a {}."
KINDS = ("attributes", "projections", "sentences")


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    lengths: NDArray[np.floating] = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / lengths, dtype=np.float32)


def projections(data: ZSLData) -> NDArray[np.float32]:
    """Returns random projections of what tells the classes apart, beside an offset that they share."""
    random = np.random.default_rng(0)
    centred = data.semantics - data.semantics.mean(axis=0)
    own = unit(centred @ random.standard_normal((centred.shape[1], SIZE)))
    offset = unit(random.standard_normal((1, SIZE)))
    return unit(np.sqrt(COSINE) * offset + np.sqrt(1 - COSINE) * own)


def sentences(data: ZSLData, encoder: str, texts: Path | None) -> NDArray[np.float32]:
    """Returns the embeddings of a text file, or of the classes' names in a sentence."""
    said = {name: [TEMPLATE.format(name.replace("+", " ").replace("_", " "))] for name in data.class_names}
    if texts is not None:
        said = read_texts(texts, data.class_names)
    return unit(embed(said, load_text_encoder(encoder), encoder))


def variants(data: ZSLData, kinds: Sequence[str], encoder: str, texts: Path | None) -> Iterator[ZSLData]:
    """Yields the data set with each of these kinds of class embeddings."""
    for kind in kinds:
        if kind == "sentences" and not encoder:
            continue
        rows = data.semantics
        if kind != "attributes":
            rows = projections(data) if kind == "projections" else sentences(data, encoder, texts)
        own = kind == "attributes" and data.attributes
        yield replace(data, name=f"{data.name}, {kind}", semantics=rows, original_semantics=None, attributes=own)


def row(bench: Bench, method: str, data: ZSLData, search: dict[str, Any]) -> dict[str, Any] | None:
    """Returns AUSUC of a method's default and, where it is searched, of its tuned row; None where it is refused."""
    title, kind = data.name.rsplit(", ", 1)
    found: dict[str, Any] = {"data set": title, "class embeddings": kind, "method": method}
    for name, way in [("default", {})] + [("tuned", search)] * bool(search):
        results = bench.compare([method], dataset=data, seeds=1, calibrated=False, **way)
        if not len(results) or "ausuc" not in results[0].metrics:
            return None
        found[name] = 100 * results[0].metrics["ausuc"]
    print("  ".join(str(value) for value in found.values()), flush=True)
    return found


def page(table: pd.DataFrame) -> str:
    """Returns a table of the methods for each kind of class embeddings: default / tuned, and before -> default."""

    def cell(one: pd.Series) -> str:
        text = f"{one['default']:.1f}"
        if one.get("before") is not None and abs(one["before"] - one["default"]) >= 0.05:
            text = f"{one['before']:.1f} → {text}"
        if "tuned" not in one:
            return text
        return f"{text} / {one['tuned']:.1f}" + " (!)" * bool(one["default"] < one["tuned"] / 2)

    shown = table.assign(cell=table.apply(cell, axis=1))
    lines = []
    for name, part in shown.groupby("data set", sort=False):
        wide = part.pivot(index="method", columns="class embeddings", values="cell").reindex(part["method"].unique())
        wide = wide[[kind for kind in KINDS if kind in wide]].fillna("refused").reset_index()
        lines += [f"## {name}", "", wide.to_markdown(index=False), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--dataset", action="append", help="by default digits, shapes, and awa1@bow512")
    parser.add_argument("--methods", default="", help="by default all on features")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of class embeddings")
    parser.add_argument("--texts", default="{}", help='JSON: file of texts by data set, {"digits": "digits.csv"}')
    parser.add_argument("--encoder", default="", help="a text encoder, such as minilm; without it, no sentences")
    parser.add_argument("--trials", type=int, default=8, help="0 runs the defaults alone")
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--store", default="zslbench-runs")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--before", type=Path, help="what --csv of an older version wrote")
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    texts = json.loads(options.texts)
    search = {"tuned": True, "trials": options.trials, "folds": options.folds} if options.trials else {}
    rows: list[dict[str, Any]] = []
    with Bench(store=options.store) as bench:
        methods = options.methods.split(",") if options.methods else bench.methods()
        for source in options.dataset or ["digits", "shapes", "awa1@bow512"]:
            name, _, features = source.rpartition("@") if "@" in source else (source, "", None)
            own = Path(texts[source]) if source in texts else None
            for data in variants(bench.load(name, features=features), options.kinds.split(","), options.encoder, own):
                rows += filter(None, (row(bench, method, data, search) for method in methods))
    table = pd.DataFrame(rows)
    if options.before:
        before = pd.read_csv(options.before).rename(columns={"default": "before"})
        table = table.merge(before[[*table.columns[:3], "before"]], how="left")
    if options.csv:
        table.to_csv(options.csv, index=False)
    if options.page:
        options.page.write_text(page(table))


if __name__ == "__main__":
    main()
