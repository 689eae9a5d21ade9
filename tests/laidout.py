"""A small data set in the layouts that people have: one function for each, which returns the words of an import."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
import scipy.io
import torch
from synthetic import make_xlsa17, toy_files

Words = list[object]
PLACES = {"train": "trainval_loc", "testSeen": "test_seen_loc", "testUnseen": "test_unseen_loc"}


class Toy:
    """The toy in rows, counted from 0, without lists of validation classes.

    Attributes:
        folder: the same in the layout of GBU, in which image files have no names.
    """

    def __init__(self, root: Path) -> None:
        options: dict[str, Any] = {"generation": "interim", "images": 10, "size": 9}
        self.folder = make_xlsa17(root, "TOY", **options)
        files = toy_files(**options)
        features, splits = files["res101"], files["att_splits"]
        self.x = features["features"].T.astype(np.float32)
        self.y = features["labels"].ravel().astype(np.int64) - 1
        self.att = splits["att"].T
        self.original = splits["original_att"].T
        self.names: list[str] = splits["allclasses_names"]
        self.places = {name: splits[name].ravel().astype(np.int64) - 1 for name in PLACES.values()}

    @property
    def given(self) -> Words:
        """The words of an import that name the split, beside which are the labels."""
        return ["--splits", self.folder / "att_splits.mat"]


def matlab_rows(toy: Toy, at: Path) -> Words:
    """Nothing but features, an image a row."""
    scipy.io.savemat(at / "rows.mat", {"features": toy.x})
    return [at / "rows.mat", *toy.given]


def matlab_columns(toy: Toy, at: Path) -> Words:
    """Nothing but features, an image a column."""
    scipy.io.savemat(at / "columns.mat", {"features": toy.x.T})
    return [at / "columns.mat", *toy.given]


def feature_maps(toy: Toy, at: Path) -> Words:
    """Images x channels x 7 x 7 and all else in one file, counted from 0; the mean over places is the toy."""
    random = np.random.default_rng(1).normal(size=(*toy.x.shape, 7, 7))
    maps = toy.x[:, :, None, None] + random - random.mean(axis=(2, 3), keepdims=True)
    with h5py.File(at / "maps.hdf5", "w") as file:
        file.create_dataset("feature_map", data=maps.astype(np.float32), compression="gzip")
        file["labels"], file["att"], file["original_att"] = toy.y, toy.att, toy.original
        file["w2v_att"] = np.random.default_rng(2).normal(size=(toy.att.shape[1], 20))
        file["allclasses_names"] = np.array([name.encode() for name in toy.names])
        for name, rows in toy.places.items():
            file[name] = rows
    return [at / "maps.hdf5"]


def parts(toy: Toy, at: Path) -> Words:
    """Features and labels a part, class embeddings by side in the order of their labels."""
    with h5py.File(at / "CLIP_feature.hdf5", "w") as file:
        for part, name in PLACES.items():
            file[f"{part}_f"], file[f"{part}_l"] = toy.x[toy.places[name]], toy.y[toy.places[name]]
        for side, part in (("seen", "trainval_loc"), ("unseen", "test_unseen_loc")):
            file[f"{side}_embeddings"] = toy.att[np.unique(toy.y[toy.places[part]])]
    return [at / "CLIP_feature.hdf5"]


def lists(toy: Toy, at: Path) -> Words:
    """A list of features and one of labels, of training images in one file and of test images in another."""
    tested = np.concatenate([toy.places["test_seen_loc"], toy.places["test_unseen_loc"]])
    for name, rows in (("train", toy.places["trainval_loc"]), ("test", tested)):
        np.savez(at / f"{name}.npz", feature_list=toy.x[rows], label_list=toy.y[rows])
    np.savez(at / "embeddings.npz", w2v=toy.att, classes=np.array(toy.names))
    return [at / "test.npz", at / "train.npz", "--semantics", at / "embeddings.npz"]


def tensors(toy: Toy, at: Path) -> Words:
    """A tensor a file, and the split among them."""
    torch.save(torch.tensor(toy.x), at / "features.pt")
    torch.save(torch.tensor(toy.y), at / "targets.pt")
    return [at / "features.pt", at / "targets.pt", toy.folder / "att_splits.mat"]


def safe_tensors(toy: Toy, at: Path) -> Words:
    """Features and labels in one file of safetensors."""
    content = {"features": np.ascontiguousarray(toy.x), "labels": toy.y}
    safetensors.numpy.save_file(content, at / "vit.safetensors")
    return [at / "vit.safetensors", *toy.given]


def python_hdf5(toy: Toy, at: Path) -> Words:
    """As h5py writes it: images are rows; here labels count from 1."""
    with h5py.File(at / "clip.h5", "w") as file:
        file["features"], file["labels"] = toy.x, toy.y + 1
    return [at / "clip.h5", *toy.given]


def plain_arrays(toy: Toy, at: Path) -> Words:
    """An array a file, with class embeddings and a split as a table; labels are names of classes."""
    np.save(at / "x.npy", toy.x)
    np.save(at / "y.npy", np.array(toy.names)[toy.y])
    np.savez(at / "w2v.npz", w2v=toy.att, classes=np.array(toy.names))
    part = np.empty(len(toy.y), dtype=object)
    for place, name in (
        ("trainval", "trainval_loc"),
        ("test_seen", "test_seen_loc"),
        ("test_unseen", "test_unseen_loc"),
    ):
        part[toy.places[name]] = place
    lines = [f"{image},{place}" for image, place in enumerate(part, 1)]
    (at / "split.csv").write_text("image,part\n" + "\n".join(lines) + "\n")
    take = ["--take", "features=x.npy", "--take", "labels=y.npy"]
    return [at / "x.npy", at / "y.npy", *take, "--semantics", at / "w2v.npz", "--splits", at / "split.csv"]


def npy(array: Any) -> bytes:
    """Returns an array as NumPy writes it into a file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def write_tar(path: Path, members: Iterable[tuple[str, bytes]], how: Any = "w") -> None:
    """Writes a tar of members, name by name."""
    with tarfile.open(path, how) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def parquet_shards(toy: Toy, at: Path) -> Words:
    """Three Parquet files, an image a row, in several groups of rows: vectors, names of classes, names of images."""
    pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    paths = [at / f"part-{i}.parquet" for i in range(3)]
    for path, rows in zip(paths, np.array_split(np.arange(len(toy.y)), 3), strict=True):
        columns = {
            "features": pa.array(list(toy.x[rows]), pa.list_(pa.float32())),
            "label": [toy.names[toy.y[row]] for row in rows],
        }
        pq.write_table(pa.table(columns), path, row_group_size=15, compression="zstd")
    return [*paths, *toy.given]


def tar_shards(toy: Toy, at: Path) -> Words:
    """Two tars of samples as webdataset has them: an array, a class from 0, and a picture that nobody reads."""
    paths = [at / f"samples-{i}.tar" for i in range(2)]
    for path, rows in zip(paths, np.array_split(np.arange(len(toy.y)), 2), strict=True):
        members = [
            (f"all/{row:04d}.{kind}", content)
            for row in rows
            for kind, content in (("npy", npy(toy.x[row])), ("cls", b"%d" % toy.y[row]), ("jpg", b"none"))
        ]
        write_tar(path, members)
    return [*paths, *toy.given]


LAYOUTS: dict[str, Callable[[Toy, Path], Words]] = {
    "matlab-rows": matlab_rows,
    "matlab-columns": matlab_columns,
    "feature-maps": feature_maps,
    "parts": parts,
    "lists": lists,
    "tensors": tensors,
    "safetensors": safe_tensors,
    "python-hdf5": python_hdf5,
    "plain-arrays": plain_arrays,
    "parquet-shards": parquet_shards,
    "tar-shards": tar_shards,
}
