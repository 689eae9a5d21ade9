"""Kinds of files of features that `data import` and `--features` read, and what other readers make of them."""

from __future__ import annotations

import io
import shutil
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.numpy
import torch
from laidout import LAYOUTS, PLACES, Toy
from numpy.typing import NDArray

from .kinds import Answer, Kind, arrays_of, bench, digest

Array = NDArray[Any]


def write(work: Path, name: str) -> None:
    toy = Toy(work / "data")
    words = LAYOUTS[name](toy, work)
    (work / "words.txt").write_text("\n".join(str(word).replace(f"{work}/", "") for word in words))


def imported(work: Path) -> Answer:
    """Imports the files, and returns what came of them."""
    from zslbench.cli.imports import _roles
    from zslbench.data.xlsa17 import XLSA17Dataset
    from zslbench.preparation.importing import Sources, gather
    from zslbench.preparation.importwrite import write as write_data

    words = (work / "words.txt").read_text().splitlines()
    files = [work / word for word in words[: next((i for i, w in enumerate(words) if w[:2] == "--"), len(words))]]
    options = words[len(files) :]
    given = [(name[2:], value) for name, value in zip(options[::2], options[1::2], strict=True)]
    named: dict[str, Any] = {name: work / value for name, value in given if name in ("splits",)}
    named |= {name: str(work / value) for name, value in given if name == "semantics"}
    sources = Sources(tuple(files), take=_roles([value for name, value in given if name == "take"]), **named)
    shutil.rmtree(work / "made", ignore_errors=True)
    write_data(work / "made", gather(sources, "made"), sources)
    data = XLSA17Dataset.at(work / "made").load(work)
    parts = dict(zip(PLACES.values(), (data.train, data.test_seen, data.test_unseen), strict=True))
    return arrays_of(data.features, data.labels, data.semantics, parts, list(data.class_names))


def _said(work: Path, x: Array, y: Array, more: dict[str, Any] | None = None) -> Answer:
    """Returns what an import of these arrays should come to; the rest is as the toy has it."""
    toy = Toy(work / "again")
    more = more or {}
    names = [str(name) for name in more.get("names", toy.names)]
    places = {name: more.get(name, rows) for name, rows in toy.places.items()}
    att = np.asarray(more.get("att", toy.att), np.float64)
    if not (np.abs(np.linalg.norm(att, axis=1) - 1) < 1e-3).all():
        att = att / np.linalg.norm(att, axis=1, keepdims=True)
    return arrays_of(x, _from_0(y, len(names)), att, {name: _from_0(r, len(x)) for name, r in places.items()}, names)


def _from_0(numbers: Array, most: int) -> Array:
    numbers = np.asarray(numbers, np.float64).ravel()
    return numbers - (numbers.max() == most)


def _names(item: h5py.Dataset) -> list[str]:
    return [name.decode(errors="replace").strip() for name in item[()].tolist()]


def _maps(work: Path) -> Answer:
    with h5py.File(work / "maps.hdf5") as file:
        found = {name: file[name][()] for name in (*PLACES.values(), "att") if name in file}
        base = max(rows.max() for name, rows in found.items() if name != "att") == len(file["labels"])
        found |= {name: rows - base for name, rows in found.items() if name != "att"}
        unnamed = [f"class {c + 1}" for c in range(len(found["att"]))]
        found["names"] = _names(file["allclasses_names"]) if "allclasses_names" in file else unnamed
        with np.errstate(all="ignore"):
            x = file["feature_map"][()].astype(np.float32).mean(axis=(2, 3), dtype=np.float64)
        return _said(work, x, file["labels"][()], found)


def _parts(work: Path) -> Answer:
    with h5py.File(work / "CLIP_feature.hdf5") as file:
        x = np.concatenate([file[f"{part}_f"][()] for part in PLACES])
        y = [np.asarray(file[f"{part}_l"][()], np.float64).ravel() for part in PLACES]
        classes = np.concatenate([np.unique(y[0]), np.unique(y[2])])
        att = np.concatenate([file["seen_embeddings"][()], file["unseen_embeddings"][()]])[np.argsort(classes)]
    ends = np.cumsum([0, *map(len, y)])
    found: dict[str, Any] = {
        name: np.arange(a, b) for name, a, b in zip(PLACES.values(), ends[:-1], ends[1:], strict=True)
    }
    found |= {"att": att, "names": [f"class {c + 1}" for c in range(len(att))]}
    return _said(work, x, np.concatenate(y), found)


def _lists(work: Path) -> Answer:
    with np.load(work / "train.npz") as train, np.load(work / "test.npz") as test:
        x = np.concatenate([train["feature_list"], test["feature_list"]])
        own, other = (np.asarray(file["label_list"], np.float64).ravel() for file in (train, test))
    after = len(own) + np.arange(len(other))
    known = np.isin(other, own)
    found: dict[str, Any] = dict(zip(PLACES.values(), (np.arange(len(own)), after[known], after[~known]), strict=True))
    with np.load(work / "embeddings.npz") as file:
        [att] = [file[name] for name in file.files if name != "classes"]
        found["names"] = [name.strip() for name in file["classes"].tolist()] if "classes" in file.files else None
        found["names"] = found["names"] or [f"class {c + 1}" for c in range(len(att))]
        found["att"] = att
    return _said(work, x, np.concatenate([own, other]), found)


def _tensors(work: Path) -> Answer:
    x, y = (torch.load(work / name, weights_only=True).numpy() for name in ("features.pt", "targets.pt"))
    return _said(work, x if len(x) == y.size else x.T, y)


def _python_hdf5(work: Path) -> Answer:
    with h5py.File(work / "clip.h5") as file:
        x, y = file["features"][()], file["labels"][()]
    return _said(work, x if len(x) == y.size else x.T, y)


def _safetensors(work: Path) -> Answer:
    found = safetensors.numpy.load_file(work / "vit.safetensors")
    x, y = found["features"], found["labels"]
    return _said(work, x if len(x) == y.size else x.T, y)


def _plain_arrays(work: Path) -> Answer:
    x, y = np.load(work / "x.npy"), np.load(work / "y.npy")
    toy = Toy(work / "again")
    return _said(work, x if len(x) == y.size else x.T, np.array([toy.names.index(name.strip()) for name in y]))


def _write_own(work: Path) -> None:
    np.save(work / "own.npy", Toy(work / "data").x)


def _with_own(work: Path) -> Answer:
    with bench(work) as own:
        data = own.load(work / "data" / "TOY", features=str(work / "own.npy"))
    assert data.features is not None
    return {"features": digest(np.asarray(data.features, np.float32))}


def _own(work: Path) -> Answer:
    x = np.load(work / "own.npy")
    with np.errstate(over="ignore"):
        return {"features": digest(np.asarray(x if len(x) == 110 else x.T, np.float32))}


def _parquet(work: Path) -> Answer:
    import pyarrow.parquet

    table = [row for path in sorted(work.glob("*.parquet")) for row in pyarrow.parquet.read_table(path).to_pylist()]
    x = np.array([row["features"] for row in table], np.float32)
    return _said(work, x, np.array([Toy(work / "again").names.index(row["label"].strip()) for row in table]))


def _tars(work: Path) -> Answer:
    x, y = [], []
    for path in sorted(work.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                opened = archive.extractfile(member)
                content = opened.read() if opened is not None else b""
                x += [np.load(io.BytesIO(content))] if member.name.endswith(".npy") else []
                y += [int(content)] if member.name.endswith(".cls") else []
    return _said(work, np.array(x, np.float32), np.array(y))


_READERS = {
    "feature-maps": ("maps.hdf5", _maps),
    "parts": ("CLIP_feature.hdf5", _parts),
    "lists": ("train.npz test.npz embeddings.npz", _lists),
    "tensors": ("features.pt targets.pt", _tensors),
    "python-hdf5": ("clip.h5", _python_hdf5),
    "safetensors": ("vit.safetensors", _safetensors),
    "plain-arrays": ("x.npy y.npy", _plain_arrays),
    "parquet-shards": ("*.parquet", _parquet),
    "tar-shards": ("*.tar", _tars),
}
IMPORTS = [
    *(
        Kind(f"import-{name}", files, partial(write, name=name), imported, says)
        for name, (files, says) in _READERS.items()
    ),
    Kind("features.npy", "own.npy", _write_own, _with_own, _own),
]
