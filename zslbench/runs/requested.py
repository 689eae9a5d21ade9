"""The data that a request means: by name, by folder, or as an object; with features, or without."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from zslbench.api.cards import Input
from zslbench.api.dataset import Dataset, ZSLData
from zslbench.data.catalogue import dataset_name, default_datasets, find_dataset, load_data
from zslbench.data.semantics import with_semantics
from zslbench.errors import DataError, UsageError
from zslbench.runs.request import DatasetLike, Request, name_of, short, split_source

Datasets = Sequence[DatasetLike] | DatasetLike | None


def chosen_datasets(given: Datasets, request: Request) -> tuple[list[DatasetLike], list[str]]:
    """Returns the data sets asked for, or those present, with lines that explain the choice."""
    if given is not None and given != []:
        every = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        for one in every:
            if not isinstance(one, str | Path | Dataset | ZSLData):
                raise UsageError(f"dataset={short(one)}: give names, folders, instances of Dataset, or ZSLData")
        return [dataset_name(str(one)) if isinstance(one, str | Path) else one for one in every], []
    names, lines = default_datasets(request.root, request.features, request.splits)
    return list(names), lines


def data_of(source: DatasetLike, request: Request, input: Input, semantics: str) -> tuple[ZSLData, str]:
    """Returns the data that is meant by a name, a folder or an object, and what it is called in this request.

    `semantics` are the class embeddings that are meant, of those in the request.
    """
    if isinstance(source, ZSLData):
        if input == "images" and source.images is None:
            raise DataError(f"data set {source.name} has no images")
        return with_semantics(source, semantics), source.name
    found, features = (source, None) if isinstance(source, Dataset) else split_source(str(source))
    wanted = features or request.features
    return load_data(found, request.root, wanted, request.splits, semantics, input), name_of(source)


def labels_of(source: DatasetLike, root: Path, splits: str) -> ZSLData:
    """Returns a data set for which no features need be there."""
    if isinstance(source, ZSLData):
        return source
    dataset = source if isinstance(source, Dataset) else find_dataset(split_source(str(source))[0])
    return dataset.load_labels(root, splits)


def data_or_labels(source: DatasetLike, request: Request) -> tuple[ZSLData, str]:
    """Returns a data set with its first class embeddings, without features where it has none, and why."""
    try:
        return data_of(source, request, "features", request.semantics[0])[0], ""
    except DataError as error:
        if isinstance(source, ZSLData):
            raise
        return with_semantics(labels_of(source, request.root, request.splits), request.semantics[0]), str(error)
