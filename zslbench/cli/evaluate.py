"""`zslbench evaluate`: scores made by any other code, through our evaluators."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from zslbench.cli.options import DEFAULT_STORE, DataRoot, Json, Plain, Splits, StoreFolder


def evaluate(
    scores: Annotated[Path, Argument(help="Class scores of every test image: .npz, .npy, .csv or .safetensors.")],
    dataset: Annotated[str, Option("--dataset", "-d", help="Name or folder of the data set.")],
    images: Annotated[Path | None, Option(help="Image numbers of a .npy, from 1, one a line or as .npy.")] = None,
    name: Annotated[str | None, Option(help="Name in tables.", show_default="the file's name")] = None,
    setting: Annotated[
        Literal["inductive", "semantic-transductive", "transductive", "unknown"],
        Option(help="What the method used in training."),
    ] = "unknown",
    data_root: DataRoot = None,
    splits: Splits = "att_splits",
    save: Annotated[bool, Option("--save", help="Store a record that `compare external:NAME` shows.")] = False,
    store: StoreFolder = DEFAULT_STORE,
    json: Json = False,
    plain: Plain = False,
) -> None:
    """Evaluate class scores made elsewhere; no features are needed."""
    from rich.console import Console

    from zslbench.data.catalogue import dataset_name, find_dataset
    from zslbench.data.folders import data_root as root
    from zslbench.data.scorefile import read_scores
    from zslbench.records.store import Store
    from zslbench.report.detail import print_record
    from zslbench.report.summary import summary
    from zslbench.runs.external import evaluate_scores
    from zslbench.runs.plan import Row

    dataset = dataset_name(dataset)
    source = find_dataset(dataset)
    file = read_scores(scores, images)
    data = source.load_labels(root(data_root), splits)
    record, arrays = evaluate_scores(file, data, name or scores.stem, setting)
    if save:
        opened = Store(store)
        with opened.claim(record.id, wait=True):
            record = opened.save(record, arrays)
    if json:
        row = Row.of_scores(record.spec.method, dataset, dataset, data.name, record)
        print(jsonlib.dumps({"runs": [record.model_dump(mode="json")], "summary": summary([row])}, indent=1))
    else:
        print_record(record, arrays, Console(no_color=plain), plain=plain)
