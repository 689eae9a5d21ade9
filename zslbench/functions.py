"""The functions of the package: `zslbench.compare` and its kin are those of a bench with default settings."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from zslbench.api.dataset import Dataset, ZSLData
from zslbench.bench import Bench, Datasets
from zslbench.records.search import Search
from zslbench.report.results import Results
from zslbench.runs.request import DatasetLike, Many, MethodLike


def run(
    method: MethodLike,
    *,
    dataset: Datasets = None,
    seeds: int | Sequence[int] = 1,
    metrics: str | Sequence[str] | None = None,
    **options: Any,
) -> Results:
    """Trains and measures one method.

    Args:
        method: as in `compare`.
        dataset: as in `compare`.
        seeds: as in `compare`, but one by default.
        metrics: as in `compare`.
        options: as in `compare`.

    Raises:
        NotApplicable: the method can be run on none of the data sets.
        RunError: a run failed; the others were done.
    """
    with _bench(options) as bench:
        return bench.run(method, dataset=dataset, seeds=seeds, metrics=metrics, **options)


def compare(
    methods: Many,
    *,
    dataset: Datasets = None,
    seeds: int | Sequence[int] = 3,
    metrics: str | Sequence[str] | None = None,
    **options: Any,
) -> Results:
    """Trains and measures methods on data sets; what is stored is not repeated.

    Args:
        methods: each a name (`spaen`, `sae@f2s`, `spaen:alpha=0,beta=0`), a file, a class, an embedder whose
            parameters count, or `external:NAME` for stored scores.
        dataset: one or several names (`cub`, `awa1@bow512`, `shapes:size=64`), folders, `Dataset`s or `ZSLData`; by
            default every benchmark data set that is present, else the embedded one.
        seeds: how many, counted from 0, or which.
        metrics: which the tables show, by name or title; by default those that say so themselves.
        options: of the bench: `store`, `data_root`, `device`, `jobs`, `engine`, `on_event`; and as in `Request`:
            `features`, `splits`, `semantics`, `preset`, `params`, `scale`, `precision`, `input`, `pretrained`,
            `weights`, `on`, `fold`, `calibrated`, `existing`, `tuned`, `oracle`, and for `tuned` `metric`, `folds`,
            `trials`, `grid`, `search`. `seed` names a single seed. Any other name is a hyper-parameter of every method.

    Returns:
        A row for each method and data set. Runs that failed are in `errors`.

    Raises:
        UsageError, DataError, PluginError: a name, parameter or file is wrong; nothing has run yet.
    """
    with _bench(options) as bench:
        return bench.compare(methods, dataset=dataset, seeds=seeds, metrics=metrics, **options)


def tune(methods: Many, *, dataset: Datasets = None, **options: Any) -> list[Search]:
    """Chooses hyper-parameters on validation classes; `tuned=True` in `run` and `compare` uses them.

    Args:
        methods: as in `compare`.
        dataset: as in `compare`.
        options: `metric`, `folds`, `trials`, `grid`, `search`, and those of `compare` but `tuned`, `oracle` and seeds.

    Raises:
        NotApplicable: a method cannot be run on a data set.
        UsageError: a search is wrong, or stored with another space.
        RunError: no trial of a search could be completed; the other searches were done.
    """
    with _bench(options) as bench:
        return bench.tune(methods, dataset=dataset, **options)


def evaluate(
    scores: str | Path | ArrayLike,
    dataset: DatasetLike,
    *,
    images: str | Path | ArrayLike | None = None,
    name: str | None = None,
    **options: Any,
) -> Results:
    """Measures class scores of every test image that any other code made.

    Args:
        scores: `.npz`, `.npy`, `.csv` or `.safetensors`, or an array `(images, classes)`.
        dataset: which data set they are of.
        images: numbers of the images from 1, where the file does not say; a file or an array.
        name: in tables; by default the file's.
        options: `setting`, `splits` and `save`, as in `Bench.evaluate`, and `store` and `data_root` of the bench.

    Raises:
        DataError: the scores do not fit the data set's test images and classes.
    """
    with _bench(options) as bench:
        return bench.evaluate(scores, dataset, images=images, name=name, **options)


def load(dataset: str | Path | Dataset, *, data_root: str | Path | None = None, **options: Any) -> ZSLData:
    """Returns the arrays of a data set: features, labels, class embeddings and the proposed split.

    Args:
        dataset: a name, a folder, or a `Dataset`.
        data_root: folder of the data sets; by default `ZSLBENCH_DATA`, else the user's data folder.
        options: `features`, `splits` and `semantics`, as in `Bench.load`.

    Raises:
        UsageError, DataError: there is no such data set, or its files are missing or wrong.
    """
    return Bench(data_root=data_root).load(dataset, **options)


def _bench(options: dict[str, Any]) -> Bench:
    """Returns a bench with the settings among some options, from which they are taken."""
    return Bench(**{name: options.pop(name) for name in inspect.signature(Bench).parameters if name in options})
