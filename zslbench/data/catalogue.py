"""The catalogue: from a name, or a folder, to a data set, loaded once in a process."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from zslbench.api.cards import Input
from zslbench.api.dataset import Dataset, ZSLData
from zslbench.api.params import read_pairs
from zslbench.data.featurefile import is_features_file, with_features
from zslbench.data.semantics import OWN, with_semantics
from zslbench.data.xlsa17 import SPLITS, XLSA17Dataset, has_splits
from zslbench.discovery.plugins import registry
from zslbench.errors import PluginError, UsageError


def dataset_name(source: str) -> str:
    """Returns a data set as asked for with its name for a title: `CUB@res101` is `cub@res101`; a folder as it is.

    Raises:
        UsageError: no such name or title; near misses are suggested.
    """
    head = re.split("[:@]", source, maxsplit=1)[0]
    if any(_is_path(text) or _has_splits(text) for text in (source, source.rpartition("@")[0], head)):
        return source
    return registry().name("dataset", head) + source.removeprefix(head)


def _is_path(text: str) -> bool:
    return os.sep in text or text.startswith((".", "~"))


def _has_splits(text: str) -> bool:
    """Whether a text that is no data set's name is a folder in the xlsa17 layout."""
    path = Path(text).expanduser()
    return text not in ("", *registry().names("dataset")) and path.is_dir() and has_splits(path)


def find_dataset(name: str | Path) -> Dataset:
    """Returns the registered data set of this name or title, `NAME` or `NAME:OPTION=VALUE,...`, or the one in a folder.

    Raises:
        UsageError: no such name or option, near misses are suggested; or the path is no folder in the xlsa17 layout.
    """
    name, path = str(name), Path(name).expanduser()
    head, _, tail = name.partition(":")
    if _has_splits(name):
        return XLSA17Dataset.at(path)
    if _is_path(name) and head not in registry().names("dataset"):
        problem = f"a folder without {SPLITS}*.mat" if path.is_dir() else "no folder"
        raise UsageError(f"data set {name}: that is {problem}; name one in the xlsa17 layout")
    head = registry().name("dataset", head)
    dataset: Dataset = registry().resolve("dataset", head, Dataset)
    if not tail:
        return dataset
    options = read_pairs(tail.split(","), f"data set {head!r}: option")
    return dataset.with_options(type(dataset.options).parse(options, f"data set {head!r}", "option"))


@cache
def load_data(
    source: str | Dataset,
    root: Path,
    features: str | None,
    splits: str,
    semantics: str = OWN,
    input: Input = "features",
) -> ZSLData:
    """Loads a data set once, until `load_data.cache_clear()`: its features, or its images."""
    dataset = find_dataset(source) if isinstance(source, str) else source
    if input == "images":
        data = dataset.load_images(root, splits)
    elif features is not None and is_features_file(features):
        data = with_features(dataset.load_labels(root, splits), features)
    else:
        data = dataset.load(root, features, splits)
    return with_semantics(data, semantics)


def default_datasets(root: Path, features: str | None, splits: str) -> tuple[list[str], list[str]]:
    """Returns the benchmark data sets that are there, else the embedded one, and lines that say why it is these."""
    if features is not None and is_features_file(features):
        raise UsageError(f"--features {features}: a file is of the images of one data set; name it by --dataset")
    found, lines = [], []
    for entry in registry().entries("dataset"):
        try:
            dataset = registry().resolve("dataset", entry.name, Dataset) if entry.card.benchmark else None
        except PluginError as error:  # nobody asked for this data set by name, so it costs a line and no more
            lines.append(str(error))
            continue
        if dataset is not None and not dataset.missing(root, features, splits):
            found.append(entry.name)
    if found:
        return found, [*lines, f"data sets present in {root}: {', '.join(found)}"]
    fallback = next(entry.name for entry in registry().entries("dataset") if entry.card.embedded)
    absent = f"no benchmark data set with features {features or 'res101'} in {root}"
    return [fallback], [*lines, f"{absent}; using the embedded {fallback} (--dataset names another)"]
