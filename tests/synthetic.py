"""Small synthetic data sets in the xlsa17 layout, as MATLAB v5 or v7.3 files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import scipy.io

Files = dict[str, dict[str, Any]]
"""File name without suffix -> variable -> MATLAB value; a list of strings is a cell array."""


def toy_files(
    seen: int = 8,
    unseen: int = 3,
    images: int = 10,
    attributes: int = 6,
    size: int = 12,
    generation: Literal["v1", "interim", "v2"] = "v2",
    features: str = "res101",
    seed: int = 0,
) -> Files:
    """Makes a learnable problem: an image's features are a linear map of its class embedding, plus noise.

    Of `images` of a seen class, every fifth is in test_seen. The last two seen classes are val_loc's. Unseen classes
    lie among the seen ones, as in the release. Indices count from 1, matrices are MATLAB's: features `(size, N)`.
    """
    random = np.random.default_rng(seed)
    classes = seen + unseen
    att = random.random((attributes, classes)) + 0.05
    att /= np.linalg.norm(att, axis=0)
    unseen_classes = np.sort(random.choice(np.arange(1, classes + 1), unseen, replace=False))
    labels = np.repeat(np.arange(1, classes + 1), images)
    x = random.normal(size=(size, attributes)) @ att[:, labels - 1] + 0.05 * random.normal(size=(size, len(labels)))
    rank = np.tile(np.arange(images), classes)
    is_unseen = np.isin(labels, unseen_classes)
    test_seen = ~is_unseen & (rank % 5 == 4)
    trainval = ~is_unseen & ~test_seen
    validation_classes = np.setdiff1d(np.arange(1, classes + 1), unseen_classes)[-2:]
    is_validation = np.isin(labels, validation_classes)
    tuning = {"v1": ~is_unseen, "v2": trainval, "interim": trainval}[generation]
    splits: dict[str, Any] = {
        "allclasses_names": [f"{c:03d}.class" for c in range(classes, 0, -1)],
        "att": att,
        "original_att": att * 100,
        "trainval_loc": _column(random.permutation(np.flatnonzero(trainval) + 1)),
        "test_seen_loc": _column(np.flatnonzero(test_seen) + 1),
        "test_unseen_loc": _column(np.flatnonzero(is_unseen) + 1),
    }
    if generation != "interim":
        splits["train_loc"] = _column(np.flatnonzero(tuning & ~is_validation) + 1)
        splits["val_loc"] = _column(np.flatnonzero(tuning & is_validation) + 1)
    image_files = [f"images/{label:03d}/{i:05d}.jpg" for i, label in enumerate(labels)]
    return {
        "att_splits": splits,
        features: {"features": x, "labels": _column(labels).astype(np.float64), "image_files": image_files},
    }


def make_xlsa17(
    root: Path,
    name: str = "TOY",
    version: Literal["5", "7.3"] = "5",
    edit: Callable[[Files], object] | None = None,
    **options: Any,
) -> Path:
    """Writes `toy_files(**options)`, changed by `edit`, into `root/name`, and returns that folder."""
    files = toy_files(**options)
    if edit is not None:
        edit(files)
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    write = {"5": write_v5, "7.3": write_v73}[version]
    for stem, content in files.items():
        write(folder / f"{stem}.mat", content)
    return folder


def write_v5(path: Path, content: dict[str, Any], compress: bool = True) -> None:
    cells = {name: _cells(value) if isinstance(value, list) else value for name, value in content.items()}
    scipy.io.savemat(path, cells, do_compression=compress)
    with path.open("r+b") as file:  # scipy puts the time there; files of equal content are read once
        file.write(b"MATLAB 5.0 MAT-file".ljust(116))


def write_v73(path: Path, content: dict[str, Any]) -> None:
    """Writes what `save -v7.3` writes: HDF5 behind a 512-byte header, matrices transposed, cells by reference."""
    with h5py.File(path, "w", userblock_size=512) as file:
        references = file.create_group("#refs#")
        for name, value in content.items():
            if isinstance(value, list):
                cells = [_char_dataset(references, f"{name}{i}", text).ref for i, text in enumerate(value)]
                dataset = file.create_dataset(name, data=np.array([cells], dtype=h5py.ref_dtype))
                dataset.attrs["MATLAB_class"] = np.bytes_("cell")
            else:
                dataset = file.create_dataset(name, data=np.atleast_2d(value).T)
                dataset.attrs["MATLAB_class"] = np.bytes_("double")
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with path.open("r+b") as raw:
        raw.write(header)


def truncate(path: Path, keep: float = 0.5) -> None:
    """Cuts a file, as a download that broke off would."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])


def _char_dataset(group: h5py.Group, name: str, text: str) -> h5py.Dataset:
    codes = np.frombuffer(text.encode("utf-16-le"), dtype=np.uint16)[:, None]
    dataset = group.create_dataset(name, data=codes if text else np.array([0, 0], dtype=np.uint64))
    dataset.attrs["MATLAB_class"] = np.bytes_("char")
    if not text:
        dataset.attrs["MATLAB_empty"] = np.uint8(1)
    return dataset


def _cells(texts: list[str]) -> np.ndarray:
    cells = np.empty((len(texts), 1), dtype=object)
    cells[:, 0] = texts
    return cells


def _column(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, 1)
