"""Kinds of files that users bring. A damaged one may be another valid file: then the product must use what it says."""

from __future__ import annotations

import ast
import csv
import hashlib
import io
import json
import shutil
import struct
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.numpy
import scipy.io
import torch
from numpy.typing import NDArray
from PIL import Image

from .kinds import NAMES, Answer, Kind, arrays_of, bench, cli, compared, digest, loaded, toy, write_toy

Array = NDArray[Any]


# ---- .mat files


def _plain(work: Path) -> None:
    """Writes the toy without compression, so that no checksum of zlib protects it."""
    folder = write_toy(work)
    for path in folder.glob("*.mat"):
        values = {name: value for name, value in scipy.io.loadmat(path).items() if name[0] != "_"}
        scipy.io.savemat(path, values, do_compression=False)


def _mat(work: Path) -> Answer:
    """Reads both files with the libraries of their formats."""
    places = ["trainval_loc", "test_seen_loc", "test_unseen_loc"]
    features = _variables(toy(work) / "res101.mat", ["features", "labels"])
    split = _variables(toy(work) / "att_splits.mat", ["att", "allclasses_names", *places])
    parts = {name: split[name].ravel() - 1.0 for name in places}
    labels = features["labels"].ravel() - 1.0
    unnamed = [f"class {c}" for c in range(1, split["att"].shape[1] + 1)]  # a file without names is valid, as FLO's is
    names = split.get("allclasses_names", unnamed)
    return arrays_of(features["features"].T, labels, split["att"].T, parts, names)


def _variables(path: Path, names: list[str]) -> dict[str, Any]:
    """Reads some variables; damage to the others is nobody's business."""
    found: dict[str, Any]
    if not h5py.is_hdf5(path):
        found = scipy.io.loadmat(path, variable_names=names)
        cells = found.get("allclasses_names")
        return found if cells is None else {**found, "allclasses_names": [str(cell[0]) for cell in cells.ravel()]}
    with h5py.File(path) as file:
        found = {name: file[name][()].T for name in names if name != "allclasses_names"}
        if "allclasses_names" in names and "allclasses_names" in file:
            cells = [file[reference][()] for reference in file["allclasses_names"][()].ravel()]
            found["allclasses_names"] = [cell.astype("<u2").tobytes().decode("utf-16-le") for cell in cells]
    return found


# ---- scores


def _scores(work: Path) -> tuple[Array, Array, list[str]]:
    """Returns scores of all test images, the numbers of these, and the names of the classes."""
    split = scipy.io.loadmat(toy(work) / "att_splits.mat")
    images = np.concatenate([split["test_seen_loc"], split["test_unseen_loc"]]).ravel().astype(np.int64)
    return np.random.default_rng(0).normal(size=(len(images), len(NAMES))).round(4), images, NAMES


def write_scores(work: Path, kind: str) -> None:
    write_toy(work)
    scores, images, names = _scores(work)
    path = work / f"scores{kind}"
    if kind == ".npz":
        np.savez(path, scores=scores, images=images, classes=np.array(names))
    elif kind == ".npy":
        np.save(path, scores)
        (work / "images.txt").write_text("\n".join(map(str, images)) + "\n")
    elif kind == ".safetensors":
        safetensors.numpy.save_file({"scores": scores, "images": images}, path)
    else:
        lines = [["image", *names], *([image, *row] for image, row in zip(images, scores.tolist(), strict=True))]
        path.write_text("\n".join(",".join(map(str, line)) for line in lines) + "\n")


def _evaluated(work: Path, kind: str) -> Answer:
    images = work / "images.txt" if kind == ".npy" else None
    with bench(work) as own:
        [result] = own.evaluate(work / f"scores{kind}", toy(work), images=images)
    return {name: round(result.metrics[name], 9) for name in ("acc_uu", "acc_ut", "acc_st")}


def _measured(work: Path, kind: str) -> Answer:
    """Computes per-class top-1 of what the file says with loops; ties are shared."""
    scores, images, names = _READERS[kind](work / f"scores{kind}")
    if sorted(names) != sorted(NAMES) or scores.shape != (len(images), len(NAMES)) or not np.isfinite(scores).all():
        raise ValueError("no scores of these classes")
    scores = np.asarray(scores, np.float64)[:, [names.index(name) for name in NAMES]]
    features, split = (scipy.io.loadmat(toy(work) / name) for name in ("res101.mat", "att_splits.mat"))
    y = features["labels"].ravel().astype(int) - 1
    seen, unseen = (split[f"test_{side}_loc"].ravel().astype(int) for side in ("seen", "unseen"))
    if sorted(images.tolist()) != sorted([*seen, *unseen]):
        raise ValueError("not each test image once")
    row = {int(image): i for i, image in enumerate(images.tolist())}
    among = sorted({y[image - 1] for image in unseen})

    def accuracy(tested: Array, classes: list[int]) -> float:
        by_class: dict[int, list[float]] = {}
        for image in tested:
            own = scores[row[image], classes]
            best = [c for c, score in zip(classes, own, strict=True) if score == own.max()]
            by_class.setdefault(y[image - 1], []).append((y[image - 1] in best) / len(best))
        return round(float(np.mean([np.mean(credit) for credit in by_class.values()])), 9)

    every = list(range(len(NAMES)))
    return {"acc_uu": accuracy(unseen, among), "acc_ut": accuracy(unseen, every), "acc_st": accuracy(seen, every)}


def _npz(path: Path) -> tuple[Array, Array, list[str]]:
    with np.load(path, allow_pickle=False) as file:
        names = file["classes"].tolist() if "classes" in file.files else NAMES
        return file["scores"], file["images"].ravel(), names


def _npy(path: Path) -> tuple[Array, Array, list[str]]:
    return np.load(path, allow_pickle=False), np.loadtxt(path.with_name("images.txt")), NAMES


def _csv(path: Path) -> tuple[Array, Array, list[str]]:
    head, *rows = _cells(path)
    return np.array([row[1:] for row in rows], float), np.array([row[0] for row in rows], float), head[1:]


def _safetensors(path: Path) -> tuple[Array, Array, list[str]]:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    kinds = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1"}
    kinds |= {"U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8"}
    found = {}
    for name in ("scores", "images"):
        start, end = head[name]["data_offsets"]
        found[name] = np.frombuffer(body[start:end], kinds[head[name]["dtype"]]).reshape(head[name]["shape"])
    return found["scores"], found["images"].ravel(), NAMES


_READERS = {".npz": _npz, ".npy": _npy, ".csv": _csv, ".safetensors": _safetensors}


def _cells(path: Path) -> list[list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:  # as spreadsheets save it
        text = path.read_bytes().decode("cp1252")
    with io.StringIO(text, newline="") as file:
        return [[cell.strip() for cell in row] for row in csv.reader(file) if any(map(str.strip, row))]


# ---- class embeddings


def _write_semantics(work: Path, kind: str) -> None:
    write_toy(work)
    rows = np.random.default_rng(3).normal(size=(len(NAMES), 5)).round(3) + 0.001
    path = work / f"semantics{kind}"
    if kind == ".npy":
        np.save(path, rows)
    else:
        comma = "," if kind == ".csv" else " "
        lines = [comma.join([name, *map(str, row)]) for name, row in zip(NAMES, rows.tolist(), strict=True)]
        path.write_text("\n".join(lines) + "\n")


def _with_semantics(work: Path, kind: str) -> Answer:
    with bench(work) as own:
        data = own.load(toy(work), semantics=str(work / f"semantics{kind}"))
    return {"semantics": digest(data.semantics.astype(np.float32))}


def _semantics(work: Path, kind: str) -> Answer:
    path = work / f"semantics{kind}"
    if kind == ".npy":
        rows = np.asarray(np.load(path, allow_pickle=False), float)
    else:
        lines = [line.replace(",", " ").split() for line in path.read_text().splitlines()]
        by_name = {line[0]: [float(value) for value in line[1:]] for line in lines if line and line[0] in NAMES}
        rows = np.array([by_name[name] for name in NAMES])
    return {"semantics": digest((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))}


def _write_vectors(work: Path) -> None:
    write_toy(work)
    random = np.random.default_rng(4)
    lines = [f"{word} {' '.join(map(str, random.normal(size=4).round(3)))}" for word in [*NAMES, "the", "of", "tree"]]
    (work / "vectors.txt").write_text("\n".join(lines) + "\n")


def _from_vectors(work: Path) -> Answer:
    cli("data", "semantics", toy(work), "--from", work / "vectors.txt", "--out", work / "out.csv")
    lines = [line.split(",") for line in (work / "out.csv").read_text().splitlines()[1:]]
    return {line[0]: [float(np.float32(value)) for value in line[1:]] for line in lines}


def _vectors(work: Path) -> Answer:
    found: dict[str, list[float]] = {}
    for line in (work / "vectors.txt").read_bytes().split(b"\n"):
        word, *values = line.split(b" ")
        if numbers := _numbers(values):  # of several entries of a word the first that is one counts
            found.setdefault(word.decode(errors="replace"), numbers)
    forms = {name: next(form for form in (name, name.capitalize()) if form in found) for name in NAMES}
    return {name: found[form] for name, form in forms.items()}


def _numbers(values: list[bytes]) -> list[float]:
    try:
        return [float(np.float32(value)) for value in values]
    except ValueError:
        return []


def _write_texts(work: Path) -> None:
    (work / "texts.csv").write_text("class,text\n" + "".join(f'{name},"A {name}, as it is"\n' for name in NAMES))


def _read_texts(work: Path) -> Answer:
    from zslbench.preparation.texts import read_texts

    return dict(read_texts(work / "texts.csv", NAMES))


def _texts(work: Path) -> Answer:
    head, *rows = _cells(work / "texts.csv")
    found: dict[str, list[str]] = {name: [] for name in NAMES}
    for row in rows:
        found[row[head.index("class")]].append(row[head.index("text")])
    return found


# ---- images, and data sets made of them

CLASSES = NAMES[:8]


def write_images(work: Path, suffix: str = ".png") -> None:
    random = np.random.default_rng(5)
    for name in CLASSES:
        (work / "images" / name).mkdir(parents=True)
        for i in range(3):
            pixels = np.kron(random.integers(0, 256, (4, 4, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            Image.fromarray(pixels).save(work / "images" / name / f"{i}{suffix}", quality=95)
    rows = [[name, *row] for name, row in zip(CLASSES, random.random((8, 4)).round(3).tolist(), strict=True)]
    lines = [["class", "black", "striped", "swims", "small"], *rows]
    (work / "attributes.csv").write_text("\n".join(",".join(map(str, line)) for line in lines) + "\n")


def built(work: Path, backbone: str = "pixels", weights: str = "") -> Answer:
    shutil.rmtree(work / "built", ignore_errors=True)
    extra = ["--weights", work / weights] if weights else []
    how = ["--images", work / "images", "--attributes", work / "attributes.csv", "--backbone", backbone]
    cli("data", "build", work / "built", *how, "--plain", "--device", "cpu", *extra)
    split = scipy.io.loadmat(work / "built" / "att_splits.mat")
    [features] = [path for path in (work / "built").glob("*.mat") if path.stem not in ("att_splits", "labels")]
    names = [str(cell[0]) for cell in split["allclasses_names"].ravel()]
    skipped = work / "built" / "skipped.csv"
    return {
        "features": digest(scipy.io.loadmat(features)["features"]),
        "attributes": dict(zip(names, split["original_att"].T.round(6).tolist(), strict=True)),
        "skipped": skipped.read_text().count("\n") if skipped.exists() else 0,
    }


def _attributes(work: Path) -> Answer:
    _, *rows = _cells(work / "attributes.csv")
    return {row[0]: [round(float(cell), 6) for cell in row[1:]] for row in rows}


def _only_attributes(work: Path) -> Answer:
    return dict(built(work)["attributes"])


def _pictures(work: Path) -> list[str]:
    return [_picture(path) for path in sorted((work / "images").glob("*/*"))]


def _picture(path: Path) -> str:
    try:
        with Image.open(path) as image:
            return digest(np.asarray(image.convert("RGB")))
    except Exception:  # whatever the library raises of a damaged picture: it is left out, and said to be
        return "unreadable"


NETWORK = "torchvision:shufflenet_v2_x0_5"


def _write_weights(work: Path, suffix: str) -> None:
    import torchvision

    write_images(work)
    torch.manual_seed(0)
    state = torchvision.models.shufflenet_v2_x0_5().state_dict()
    if suffix == ".pth":
        torch.save(state, work / "weights.pth")
    else:
        import safetensors.torch

        safetensors.torch.save_file(state, work / "weights.safetensors")


def _state(work: Path, suffix: str) -> str:
    import safetensors.torch

    path = work / f"weights{suffix}"
    state = torch.load(path, weights_only=True) if suffix == ".pth" else safetensors.torch.load_file(path)
    return hashlib.sha256(repr([(name, digest(state[name].numpy())) for name in sorted(state)]).encode()).hexdigest()


# ---- what people write by hand

CARD = """title = "Toy animals"
citation = "nobody, 2026"
licence = "CC0-1.0"
attributes = true
default_features = "res101"
"""
METHOD = '''"""Ridge regression to class embeddings."""

import torch

from zslbench import Embedder, Params, param


class MineParams(Params):
    lam: float = param(1.0, "penalty", gt=0)


class Mine(Embedder[MineParams]):
    scale = "zscore"

    def build(self, shape):
        self.register_buffer("W", torch.zeros(shape.features, shape.attributes))

    def embed(self, x):
        return x @ self.W

    def solve(self, view):
        x, s = view.x.double(), view.semantics[view.y].double()
        self.W.copy_(torch.linalg.solve(x.T @ x + self.params.lam * torch.eye(x.shape[1]).double(), x.T @ s))
'''


def _write_card(work: Path) -> None:
    (write_toy(work) / "card.toml").write_text(CARD)


def _described(work: Path) -> Answer:
    return {"text": cli("data", "describe", toy(work)), **loaded(work)}


def _card(work: Path) -> str:
    return repr(sorted(tomllib.loads((toy(work) / "card.toml").read_text(encoding="utf-8")).items()))


def _write_method(work: Path) -> None:
    write_toy(work)
    (work / "mine.py").write_text(METHOD)


def _with_method(work: Path) -> Answer:
    [record] = compared(work, [str(work / "mine.py")]).values()
    return {name: record[name] for name in ("metrics", "params", "arrays")}


def _source(work: Path) -> str:
    return ast.dump(ast.parse((work / "mine.py").read_bytes()))


def _write_published(work: Path) -> None:
    import zslbench_methods

    whole = (Path(zslbench_methods.__file__).parent / "published.csv").read_text(encoding="utf-8").splitlines()
    (work / "published.csv").write_text("\n".join(whole[:40]) + "\n", encoding="utf-8")


def _published(work: Path) -> Answer:
    from zslbench.discovery.plugins import registry
    from zslbench.report.published import as_json, groups_of, published_table

    registry().published_files[:] = [work / "published.csv"]
    return {"groups": as_json(groups_of(published_table()))}


def _published_cells(work: Path) -> str:
    return repr(_cells(work / "published.csv"))


def _of(kind: str, make: Callable[..., object], act: Callable[..., Answer], says: Callable[..., Answer]) -> Any:
    return {"make": partial(make, kind=kind), "act": partial(act, kind=kind), "says": partial(says, kind=kind)}


SOURCES = [
    Kind("features-v5", "data/TOY/res101.mat", _plain, loaded, _mat),
    Kind("features-v5-compressed", "data/TOY/res101.mat", write_toy, loaded, _mat),
    Kind("features-v7.3", "data/TOY/res101.mat", partial(write_toy, version="7.3"), loaded, _mat),
    Kind("splits-v5", "data/TOY/att_splits.mat", _plain, loaded, _mat),
    Kind("splits-v5-compressed", "data/TOY/att_splits.mat", write_toy, loaded, _mat),
    Kind("splits-v7.3", "data/TOY/att_splits.mat", partial(write_toy, version="7.3"), loaded, _mat),
    *(
        Kind(f"scores{kind}", f"scores{kind} images.txt", **_of(kind, write_scores, _evaluated, _measured))
        for kind in _READERS
    ),
    *(
        Kind(f"semantics{kind}", f"semantics{kind}", **_of(kind, _write_semantics, _with_semantics, _semantics))
        for kind in (".npy", ".txt", ".csv")
    ),
    Kind("word-vectors", "vectors.txt", _write_vectors, _from_vectors, _vectors),
    Kind("texts", "texts.csv", _write_texts, _read_texts, _texts),
    Kind("attributes", "attributes.csv", write_images, _only_attributes, _attributes),
    Kind("images-png", "images/*/*.png", write_images, built, content=_pictures),
    Kind("images-jpg", "images/*/*.jpg", partial(write_images, suffix=".jpg"), built, content=_pictures),
    *(
        Kind(
            f"weights{suffix}",
            f"weights{suffix}",
            partial(_write_weights, suffix=suffix),
            partial(built, backbone=NETWORK, weights=f"weights{suffix}"),
            content=partial(_state, suffix=suffix),
        )
        for suffix in (".safetensors", ".pth")
    ),
    Kind("card", "data/TOY/card.toml", _write_card, _described, content=_card),
    Kind("method", "mine.py", _write_method, _with_method, content=_source),
    Kind("published", "published.csv", _write_published, _published, content=_published_cells),
]
