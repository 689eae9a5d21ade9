"""Compares each method's default hyper-parameters with tuned ones, on data sets that differ in their class embeddings.

python benchmarks/defaults.py [-d digits -d awa1@bow512] [--methods eszsl,sae] [--trials 8] [--folds 1] [--out FILE.md]

Every data set comes with three kinds of class embeddings: its own attributes; random projections of them into 1,024
dimensions with an offset that all classes share, so that the mean cosine between classes is .8; and, where a text
encoder is installed, sentence embeddings of a text for each class. Tuned rows are searched on validation classes, with
the same number of trials for every method. A default row below half of its tuned row, in AUSUC on test images, is
marked: such a default does not carry to other data. Searches and runs are kept in the store, and are not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench import Bench
from zslbench.api.dataset import ZSLData
from zslbench.preparation.semantics import embed, load_text_encoder, read_texts

SIZE, COSINE = 1024, 0.8
TEMPLATE = "a photo of a {}."
KINDS = ("attributes", "projections", "sentences")


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


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


def variants(data: ZSLData, encoder: str, texts: Path | None) -> Iterator[ZSLData]:
    """Yields the data set with each kind of class embeddings."""
    for kind in KINDS:
        if kind == "sentences" and not encoder:
            continue
        rows = data.semantics
        if kind != "attributes":
            rows = projections(data) if kind == "projections" else sentences(data, encoder, texts)
        own = kind == "attributes" and data.attributes
        yield replace(data, name=f"{data.name}, {kind}", semantics=rows, original_semantics=None, attributes=own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", "--dataset", action="append", help="by default digits and awa1@bow512")
    parser.add_argument("--methods", default="", help="by default all on features but those that need attributes")
    parser.add_argument("--texts", default="{}", help='JSON: file of texts by data set, {"digits": "digits.csv"}')
    parser.add_argument("--encoder", default="", help="a text encoder, such as minilm; without it, no sentences")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--folds", type=int, default=1)
    parser.add_argument("--store", default="zslbench-runs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    texts = json.loads(options.texts)
    lines = ["| data set | class embeddings | method | default | tuned | ratio |", "|---|---|---|---|---|---|"]
    search = {"tuned": True, "trials": options.trials, "folds": options.folds}
    with Bench(store=options.store) as bench:
        methods = options.methods.split(",") if options.methods else bench.methods()
        for source in options.dataset or ["digits", "awa1@bow512"]:
            name, _, features = source.rpartition("@") if "@" in source else (source, "", None)
            own = Path(texts[source]) if source in texts else None
            for data in variants(bench.load(name, features=features), options.encoder, own):
                for method in methods:
                    found = [bench.compare([method], dataset=data, seeds=1, **way) for way in ({}, search)]
                    values = [100 * r[0].metrics["ausuc"] for r in found if len(r) and "ausuc" in r[0].metrics]
                    if len(values) == 2:
                        ratio = values[0] / max(values[1], 1e-9)
                        mark = " (!)" if ratio < 0.5 else ""
                        title, kind = data.name.rsplit(", ", 1)
                        row = f"{title} | {kind} | {method} | {values[0]:.1f} | {values[1]:.1f} | {ratio:.2f}{mark}"
                        lines.append(f"| {row} |")
                        print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
