"""Inputs for a kept model: images in files, features in files, parts of data sets, and classes of any kind."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from zslbench.api.cards import Pool
from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import ImageParams
from zslbench.api.images import Images
from zslbench.api.views import ClassSet
from zslbench.data.arrays import called, is_arrays, read_arrays, real_numbers
from zslbench.data.catalogue import dataset_name, load_data
from zslbench.data.decoding import CONVERT
from zslbench.data.imagefiles import FileImages, files_below, say_not_read
from zslbench.data.names import match_all
from zslbench.data.semantics import OWN
from zslbench.data.tables import Table, decoded, first_twice, read_table
from zslbench.data.xlsa17 import SPLITS
from zslbench.errors import DataError, UsageError
from zslbench.files import existing
from zslbench.preparation.backbones import Loaded, find_backbone, load_backbone
from zslbench.preparation.extract import NoneReadable, extract
from zslbench.preparation.pixels import crop_inputs, with_images
from zslbench.preparation.semantics import choose_text_encoder, embed, load_text_encoder, prompts
from zslbench.preparation.texts import read_texts
from zslbench.runs.model import TrainedModel, Which
from zslbench.runs.request import split_source

PARTS = {"trainval": "train", "test_seen": "test_seen", "test_unseen": "test_unseen"}
AT_ONCE = 512
"""Images whose features are in memory at a time."""


@dataclass(frozen=True)
class Block:
    """Some of what a model is asked about.

    Attributes:
        names: of the images.
        x: their features, `(n, D)`, or `(n, K, D)` of crops.
        unreadable: further images, and why they cannot be read.
    """

    names: list[str]
    x: NDArray[np.float32]
    unreadable: dict[str, str]


@dataclass(frozen=True)
class Source:
    """All that a model is asked about, block by block.

    Attributes:
        names: of the images.
        read: gives the blocks of some of them, by their positions.
        images: the images themselves, where there are any.
        labels: the class of each, where it is known.
    """

    names: list[str]
    read: Callable[[NDArray[np.int64]], Iterator[Block]]
    images: Images | None = None
    labels: tuple[str, ...] = ()

    def blocks(self, done: Collection[str] = ()) -> Iterator[Block]:
        """Yields those that are not done yet."""
        return self.read(np.array([i for i, name in enumerate(self.names) if name not in done], dtype=np.int64))

    @classmethod
    def of_features(cls, x: NDArray[np.float32], rows: NDArray[np.int64], **further: Any) -> Source:
        """Returns a source of some rows of features, which may be on disk; images are called by numbers from 1."""
        names = [str(row + 1) for row in rows]

        def read(positions: NDArray[np.int64]) -> Iterator[Block]:
            for start in range(0, len(positions), AT_ONCE):
                own = positions[start : start + AT_ONCE]
                yield Block([names[i] for i in own], np.array(x[rows[own]]), {})

        return cls(names, read, **further)

    @classmethod
    def of_part(cls, data: ZSLData, part: str) -> Source:
        """Returns a part of a data set, or all of it."""
        rows = getattr(data, PARTS[part]) if part else np.arange(len(data.labels))
        assert data.features is not None
        images = None if data.images is None else Some(data.images, rows)
        labels = tuple(data.class_names[c] for c in data.labels[rows])
        return cls.of_features(data.features, rows, images=images, labels=labels)

    @classmethod
    def of_files(cls, model: TrainedModel, files: Sequence[Path], loaded: Loaded, device: torch.device) -> Source:
        """Returns images in files, whose features a backbone makes when they are asked for."""
        names = [str(path) for path in files]

        def read(rows: NDArray[np.int64]) -> Iterator[Block]:
            return blocks_of_images(model, [files[row] for row in rows], loaded, device)

        return cls(names, read, FileImages(names, list(files)))


class Some(Images):
    """Some images of a data set."""

    def __init__(self, images: Images, rows: NDArray[np.int64]) -> None:
        self._images, self._rows = images, rows
        self.fingerprint = images.fingerprint

    def __len__(self) -> int:
        return len(self._rows)

    def name(self, row: int) -> str:
        """Returns what the data set calls the image."""
        return self._images.name(int(self._rows[row]))

    def read(self, row: int) -> Image:
        """Decodes the image."""
        return self._images.read(int(self._rows[row]))


def part_of(text: str) -> tuple[str, str]:
    """Splits a data set as asked for, `NAME[:PART]`, into its name with options and the part; all of it by default."""
    name, _, part = text.rpartition(":")
    return (name, part) if part in PARTS else (text, "")


def source_of_data(
    model: TrainedModel, text: str, root: Path, splits: str = SPLITS, weights: Path | None = None
) -> Source:
    """Returns a data set, or a part of it.

    Args:
        model: its run says which features are read, unless `text` does, and which crops.
        text: `NAME`, `NAME:test_unseen`, `NAME@FEATURES:test_unseen`.
        root: folder of the data sets.
        splits: split file.
        weights: of the backbone, where the run is on images.

    Raises:
        UsageError, DataError: there is no such data set, or its files are missing or wrong.
    """
    name, part = part_of(text)
    dataset, features = split_source(dataset_name(name))
    spec, params = model.record.spec, model.params
    features = features or model.record.provenance.get("features") or spec.features or None
    data = load_data(dataset, root, features, splits, OWN, spec.input)
    if isinstance(params, ImageParams):
        data = with_images(data, params, weights, spec.pretrained, model.device)
    return Source.of_part(data, part)


def source_of_files(
    model: TrainedModel, paths: Sequence[Path], backbone: str | None = None, weights: Path | None = None
) -> Source:
    """Returns a file of features, or images in files and folders.

    Args:
        model: its run says which backbone makes features of images, if anybody wrote it down.
        paths: one file of arrays; or images, and folders of images.
        backbone: its name, where the run does not say.
        weights: of the backbone.

    Raises:
        UsageError, DataError: as `features_in`, `image_files` and `backbone_of`.
    """
    if len(paths) == 1 and is_arrays(paths[0]):
        x = features_in(existing("INPUT", paths[0]), model.features)
        return Source.of_features(x, np.arange(len(x)))
    files = image_files(paths)
    return Source.of_files(model, files, backbone_of(model, backbone, weights), model.device)


def features_in(path: Path, columns: int) -> NDArray[np.float32]:
    """Reads features from a file of arrays: the one matrix with so many columns, or rows as in the GBU release.

    Raises:
        DataError: none fits, or several do.
    """
    found = {name: array for name, array in read_arrays(path).items() if array.dtype.kind in "fiu" and array.ndim == 2}
    fitting = {name: array for name, array in found.items() if columns in array.shape}
    fitting = {"features": fitting["features"]} if "features" in fitting else fitting
    if len(fitting) != 1:
        shapes = ", ".join(f"{called(name)} {array.shape}" for name, array in found.items()) or "no matrix"
        raise DataError(
            f"{path}: it holds {shapes}; one matrix of features is needed, with the {columns} columns of the run"
        )
    [(name, array)] = fitting.items()
    array = real_numbers(path, name, array)
    return np.asarray(array if array.shape[1] == columns else array.T, dtype=np.float32)


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Returns images: files, and those at any depth below folders.

    Raises:
        UsageError: a path does not exist.
        DataError: a folder has no images.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: there is no such file or folder")
        if not path.is_dir():
            files.append(path)
            continue
        listing = files_below(path)
        if not listing.images:
            unread = f"; not read: {listing.not_read}; {CONVERT}" if listing.not_read else ""
            raise DataError(f"{path}: there are no images in this folder{unread}")
        say_not_read(path, listing)
        files += listing.images
    return files


def backbone_of(
    model: TrainedModel, name: str | None = None, weights: Path | None = None, pretrained: bool = True
) -> Loaded:
    """Returns the backbone that made the features a model was trained on.

    Args:
        model: its record says which backbone that was, if anybody wrote it down.
        name: of the backbone, where the record does not say.
        weights, pretrained: as for `load_backbone`.

    Raises:
        UsageError: the record does not say, and no name is given.
        DataError: the weights are not those that the training features were made with.
    """
    known = model.record.provenance.get("features_from") or {}
    wanted = name or known.get("backbone")
    if not wanted:
        raise UsageError(
            f"run {model.record.id} does not say which backbone made its features {model.record.spec.features!r}; "
            "name it by --backbone"
        )
    try:
        find_backbone(wanted)
    except UsageError as error:
        if name:
            raise
        raise UsageError(
            f"run {model.record.id} has features of backbone {wanted!r}, which is not installed; install the plugin "
            "that has it, or name another by --backbone"
        ) from error
    loaded = load_backbone(wanted, weights, pretrained and model.record.spec.pretrained)
    if "weights" in known and loaded.fingerprint != known["weights"]:
        raise DataError(
            f"backbone {loaded.name}: its weights are not those of the training features, which are from "
            f"{known['backbone']}; give the same by --weights or --backbone"
        )
    return loaded


def blocks_of_images(
    model: TrainedModel, files: Sequence[Path], loaded: Loaded, device: torch.device
) -> Iterator[Block]:
    """Yields features of images, some at a time, so that memory is bounded whatever their number.

    Raises:
        RunError: the backbone fails.
    """
    crops = int(model.record.params["crops"]) if model.record.spec.input == "images" else 0
    for start in range(0, len(files), AT_ONCE):
        own = files[start : start + AT_ONCE]
        images: Images = FileImages([str(path) for path in own], list(own))
        with TemporaryDirectory(prefix="zslbench-") as folder:
            inputs = crop_inputs(loaded.backbone, crops)[0] if crops else None
            try:
                x, bad = extract(images, loaded.backbone, Path(folder), {}, device, inputs=inputs, each=max(1, crops))
            except NoneReadable as none:
                bad = none.reasons
                x = np.empty((0, 0), np.float32)
            x = np.array(x)
        good = [str(path) for row, path in enumerate(own) if row not in bad]
        shape = (len(good), crops, -1) if crops else (len(good), -1)
        yield Block(good, x.reshape(shape) if good else x, {str(own[row]): why for row, why in bad.items()})


def classes_of(text: str, model: TrainedModel, encoder: str | None = None) -> ClassSet:
    """Returns the classes that are meant: `all`, `seen` or `unseen` ones of the run, or those that a file describes."""
    if text in ("all", "seen", "unseen"):
        return model.chosen(cast(Which, text))
    path = Path(text).expanduser()
    if not path.exists():
        raise UsageError(f"--classes {text}: there is no such file; give one, or all, seen or unseen")
    return classes_in(path, model, encoder)


def classes_in(path: Path, model: TrainedModel, encoder: str | None = None) -> ClassSet:
    """Returns the classes that a file describes, for a model to choose from.

    Args:
        path: class embeddings, a table of a class and its values in each row, read as a table of attributes is; columns
            that are no attributes of the run are left out with a warning. Where the class embeddings of the run came
            from a text encoder, also texts, as `read_texts` reads them with the columns `class` and `text`, or a
            `.txt` of names, one a line, which stand in the templates of the run.
        model: whose class embeddings say how many values there are, and how they are normalised.
        encoder: the text encoder; by default that of the run, which it must be.

    Raises:
        UsageError, DataError: it is none of these, or does not fit the model.
    """
    if is_arrays(path):
        raise DataError(f"{path}: classes need names; give a table, with the name of a class first in each row")
    if path.suffix.lower() == ".txt":
        lines = [line.strip() for line in decoded(path)[0].splitlines() if line.strip()]
        templates = model.record.provenance.get("semantics_templates")
        texts = prompts(lines, templates) if templates else {name: [name] for name in lines}
        return _of_texts(path, texts, model, encoder)
    table = read_table(path) if path.suffix.lower() != ".json" and not path.is_dir() else None
    if table is None or {"class", "text"} <= {cell.lower() for cell in table.head}:
        return _of_texts(path, read_texts(path), model, encoder)
    return _of_numbers(path, table, model)


def _of_texts(path: Path, texts: dict[str, list[str]], model: TrainedModel, encoder: str | None) -> ClassSet:
    """Returns classes by their texts, embedded as those of the run were: by another encoder they would mean nothing."""
    own = model.record.provenance.get("semantics_by")
    if own is None:
        raise DataError(
            f"{path}: it holds texts, and the class embeddings of run {model.record.id} are from no text encoder; "
            "give a table of their values"
        )
    if encoder not in (None, own):
        raise UsageError(f"--encoder {encoder}: the class embeddings of run {model.record.id} are by {own}")
    chosen = choose_text_encoder(own)
    loaded = load_text_encoder(chosen, model.record.provenance.get("semantics_weights", ""))
    pool: Pool = "max" if model.record.provenance.get("semantics_pool") == "max" else "mean"
    return model.described(list(texts), embed(texts, loaded, chosen, pool))


def _of_numbers(path: Path, table: Table, model: TrainedModel) -> ClassSet:
    known, wanted = model.attributes, model.classes.semantics.shape[1]
    table = table.upright(columns=known).headed()
    names = table.column()[1:]
    if (twice := first_twice(names)) is not None:
        raise DataError(f"{path}: class {twice!r} is there twice")
    if known:
        found = match_all(known, table.head[1:], path, "attribute", only=False, how=table.how)
        table = table.picking([found[name] for name in known])
    values = table.numbers()
    if values.shape[1] != wanted:
        raise DataError(f"{path}: it has {values.shape[1]} columns of values; the run has {wanted} attributes")
    table.say()
    return model.described(names, values)
