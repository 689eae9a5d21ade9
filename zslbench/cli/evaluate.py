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
    from zslbench.bench import Bench

    bench = Bench(store=store, data_root=data_root)
    results = bench.evaluate(scores, dataset, images=images, name=name, setting=setting, splits=splits, save=save)
    if json:
        print(jsonlib.dumps(results.json(), indent=1))
    else:
        results[0].show(plain=plain)
