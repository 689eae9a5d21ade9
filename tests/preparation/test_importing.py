"""`zslbench data import`: every layout gives the figures of the data set that it holds, or the reason why not."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import safetensors.numpy
import scipy.io
import torch
from laidout import LAYOUTS, PLACES, Toy, feature_maps, lists, parts, python_hdf5
from outside import Inside, inside, store

__all__ = ["inside", "store"]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


def figures(inside: Inside, dataset: object, *options: object) -> dict[str, float]:
    """Returns the metrics of ESZSL on a data set."""
    answer = inside("run", "eszsl", "--dataset", dataset, "--device", "cpu", "--json", *options)
    assert answer.status == 0, answer.err
    [run] = json.loads(answer.out)["runs"]
    return {name: value for name, value in run["metrics"].items() if isinstance(value, float)}


def written(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what was written, by SciPy's reader: of the features, and of the split."""
    [features] = [path for path in folder.glob("*.mat") if path.stem != "att_splits"]
    return scipy.io.loadmat(features), scipy.io.loadmat(folder / "att_splits.mat")


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_gives_the_arrays_and_the_figures_of_the_toy(inside, toy, tmp_path, name):
    words = LAYOUTS[name](toy, tmp_path)
    answer = inside("data", "import", *words, "--as", tmp_path / "made", "--plain")
    assert answer.status == 0, answer.err
    features, splits = written(tmp_path / "made")
    for place in PLACES.values():  # images may be numbered anew, but stay in the order of their part
        rows, own = splits[place].ravel().astype(int) - 1, toy.places[place]
        rows, own = (np.sort(rows), np.sort(own)) if name == "plain-arrays" else (rows, own)
        np.testing.assert_allclose(features["features"].T[rows], toy.x[own], rtol=2e-6, atol=1e-6)
        np.testing.assert_array_equal(features["labels"].ravel()[rows], toy.y[own] + 1)
    np.testing.assert_allclose(splits["att"].T, toy.att, rtol=1e-6)
    if name != "parts":
        assert [str(cell[0]) for cell in splits["allclasses_names"].ravel()] == toy.names
    if name not in ("feature-maps", "plain-arrays"):  # of these the last bits, or the order of trainval, are others
        assert figures(inside, tmp_path / "made") == figures(inside, toy.folder)
    else:
        mine, theirs = figures(inside, tmp_path / "made"), figures(inside, toy.folder)
        assert {n: mine[n] for n in ("acc_uu", "acc_ut", "acc_st")} == {
            n: theirs[n] for n in ("acc_uu", "acc_ut", "acc_st")
        }


def test_the_card_says_where_everything_came_from(inside, toy, tmp_path):
    inside("data", "import", *python_hdf5(toy, tmp_path), "--as", tmp_path / "made", "--plain")
    card = tomllib.loads((tmp_path / "made/card.toml").read_text())
    assert card["default_features"] == "clip" and card["title"] == "made"
    source = card["source"]
    assert source["layout"] == "arrays"
    assert source["features"] == "clip.h5: features (110, 9), a row for each of 110 images"
    assert source["labels"] == "clip.h5: labels, counted from 1"
    assert source["splits"].endswith("att_splits.mat, counted from 1")
    for path, line in zip((tmp_path / "clip.h5", toy.folder / "att_splits.mat"), source["files"], strict=True):
        assert line == f"{path} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_again_there_is_nothing_to_do_and_another_data_set_is_refused(inside, toy, tmp_path):
    words = python_hdf5(toy, tmp_path)
    made = tmp_path / "made"
    assert inside("data", "import", *words, "--as", made).status == 0
    before = {path.name: path.stat().st_mtime_ns for path in made.iterdir()}
    again = inside("data", "import", *words, "--as", made, "--plain")
    assert again.status == 0 and "made: nothing to do, all of it was there already" in again.out
    assert {path.name: path.stat().st_mtime_ns for path in made.iterdir()} == before
    with h5py.File(tmp_path / "clip.h5", "r+") as file:
        file["features"][0, 0] += 1
    other = inside("data", "import", *words, "--as", made)
    assert other.status == 2 and "something else is there; give another name" in other.err
    assert {path.name: path.stat().st_mtime_ns for path in made.iterdir()} == before


def test_what_the_features_have_seen_is_kept_and_can_be_said_later(inside, toy, tmp_path):
    words, made = python_hdf5(toy, tmp_path), tmp_path / "made"
    first = inside("data", "import", *words, "--as", made, "--pretraining", "web image-text", "--plain")
    assert first.status == 0, first.err
    assert inside("data", "pretraining", made).out == "clip: web image-text\n"
    later = inside("data", "import", *words, "--as", made, "--pretraining", "self-supervised", "--plain")
    assert later.status == 0 and "nothing to do" not in later.out
    assert inside("data", "pretraining", made).out == "clip: self-supervised\n"
    assert "nothing to do" in inside("data", "import", *words, "--as", made, "--plain").out
    assert inside("data", "pretraining", made).out == "clip: self-supervised\n"


def test_feature_maps_are_pooled_as_asked_and_their_attributes_vectors_taken(inside, toy, tmp_path):
    words = feature_maps(toy, tmp_path)
    with h5py.File(tmp_path / "maps.hdf5") as file:
        maps, vectors = file["feature_map"][()], file["w2v_att"][()]
    for pool, expected in (
        ("max", maps.max((2, 3))),
        ("keep", maps.reshape(len(maps), -1)),
        ("mean", maps.mean((2, 3))),
    ):
        answer = inside("data", "import", *words, "--as", tmp_path / pool, "--pool", pool, "--plain")
        assert answer.status == 0
        np.testing.assert_allclose(written(tmp_path / pool)[0]["features"].T, expected, rtol=1e-5, atol=1e-6)
    answer = inside("data", "import", *words, "--as", tmp_path / "vec", "--take", "semantics=w2v_att", "--plain")
    expected = np.array([sum(a * v for a, v in zip(own, vectors, strict=True)) for own in toy.att])
    np.testing.assert_allclose(written(tmp_path / "vec")[1]["original_att"].T, expected, rtol=1e-5)
    expected /= np.sqrt((expected**2).sum(1, keepdims=True))
    np.testing.assert_allclose(written(tmp_path / "vec")[1]["att"].T, expected, rtol=1e-5)
    assert "w2v_att has a vector for each of 6 attributes" in answer.out
    semantics = f"{tmp_path / 'maps.hdf5'}:w2v_att"
    assert figures(inside, toy.folder, "--semantics", semantics) == figures(
        inside, toy.folder, "--semantics", semantics
    )
    same = figures(inside, tmp_path / "vec")["acc_uu"]
    assert figures(inside, toy.folder, "--semantics", semantics)["acc_uu"] == same


def test_a_split_of_classes_alone_is_drawn_as_data_build_draws_it(inside, toy, tmp_path):
    words = LAYOUTS["plain-arrays"](toy, tmp_path)
    unseen = {toy.names[c] for c in toy.y[toy.places["test_unseen_loc"]]}
    lines = [f"{name},{'unseen' if name in unseen else 'seen'}" for name in toy.names]
    (tmp_path / "split.csv").write_text("class,role\n" + "\n".join(lines) + "\n")
    assert inside("data", "import", *words, "--as", tmp_path / "made", "--plain").status == 0
    _, splits = written(tmp_path / "made")
    found = {name: splits[name].ravel().astype(int) - 1 for name in PLACES.values()}
    np.testing.assert_array_equal(found["test_unseen_loc"], np.sort(toy.places["test_unseen_loc"]))
    assert len(found["test_seen_loc"]) == 16  # a fifth of ten images of eight classes
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(len(toy.y)))


def test_where_images_and_features_are_as_many_it_is_said_what_was_taken(inside, toy, tmp_path):
    square = toy.x[:, :1].repeat(len(toy.y), axis=1) * np.arange(1, len(toy.y) + 1)
    np.savez(tmp_path / "square.npz", features=square, labels=toy.y)
    answer = inside("data", "import", tmp_path / "square.npz", *toy.given, "--as", tmp_path / "made", "--plain")
    assert "(110, 110), a row for each of 110 images, taken so because the shape does not tell" in answer.out
    np.testing.assert_allclose(written(tmp_path / "made")[0]["features"].T, square, rtol=1e-6)
    scipy.io.savemat(tmp_path / "square.mat", {"features": square.T, "labels": toy.y[:, None] + 1.0})
    answer = inside("data", "import", tmp_path / "square.mat", *toy.given, "--as", tmp_path / "other", "--plain")
    assert "a column for each of 110 images, taken so because" in answer.out
    np.testing.assert_allclose(written(tmp_path / "other")[0]["features"].T, square, rtol=1e-6)


def test_numbers_that_may_count_from_0_or_1_are_asked_for(inside, toy, tmp_path):
    """A class without images leaves it open: 1 to 10 of 11 classes."""
    keep = np.flatnonzero((toy.y > 0) & (toy.y < 10))
    content = {"features": toy.x[keep], "labels": toy.y[keep], "att": toy.att, "allclasses_names": np.array(toy.names)}
    for name, rows in toy.places.items():
        content[name] = np.searchsorted(keep, np.intersect1d(rows, keep))
    np.savez(tmp_path / "some.npz", **content)
    words = ("data", "import", tmp_path / "some.npz", "--as", tmp_path / "made", "--plain")
    said = inside(*words).error()
    assert "labels runs from 1 to 9, and may count from 0 or 1; say so by --count-from 0 or 1" in said
    assert inside(*words, "--count-from", 0).status == 0
    np.testing.assert_array_equal(written(tmp_path / "made")[0]["labels"].ravel(), toy.y[keep] + 1)


# ---- what is wrong

Damage = Callable[[Toy, Path], list[object]]


def hdf5(words: Callable[[Toy, Path], list[object]], edit: Callable[[h5py.File, Toy], object]) -> Damage:
    def write(toy: Toy, at: Path) -> list[object]:
        given = words(toy, at)
        with h5py.File(str(given[0]), "r+") as file:
            edit(file, toy)
        return given

    return write


def put(name: str, value: Callable[[Toy], Any]) -> Callable[[h5py.File, Toy], None]:
    def edit(file: h5py.File, toy: Toy) -> None:
        del file[name]
        file[name] = value(toy)

    return edit


def saved(**arrays: Callable[[Toy], Any]) -> Damage:
    def write(toy: Toy, at: Path) -> list[object]:
        content = {"features": toy.x, "labels": toy.y} | {name: make(toy) for name, make in arrays.items()}
        np.savez(at / "own.npz", **{name: value for name, value in content.items() if value is not None})
        return [at / "own.npz", *toy.given]

    return write


def one_of_lists(**arrays: Callable[[Toy], Any]) -> Damage:
    def write(toy: Toy, at: Path) -> list[object]:
        words = lists(toy, at)
        with np.load(at / "test.npz") as file:
            content = dict(file)
        np.savez(at / "test.npz", **content | {name: make(toy) for name, make in arrays.items()})
        return words

    return write


def cut(words: Callable[[Toy, Path], list[object]]) -> Damage:
    def write(toy: Toy, at: Path) -> list[object]:
        given = words(toy, at)
        content = Path(str(given[0])).read_bytes()
        Path(str(given[0])).write_bytes(content[: len(content) // 2])
        return given

    return write


def nan(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[3, 2] = np.nan
    return x


def raw(name: str, content: bytes) -> Damage:
    def write(toy: Toy, at: Path) -> list[object]:
        (at / name).write_bytes(content)
        return [at / name, *toy.given]

    return write


def square_maps(file: h5py.File, toy: Toy) -> None:
    del file["feature_map"]
    file["feature_map"] = np.ones((len(toy.y), 7, 7, 9), dtype=np.float32)


WRONG: dict[str, tuple[Damage, str]] = {
    "cut matlab": (cut(LAYOUTS["matlab-rows"]), r"rows\.mat: (cannot be read|damaged)"),
    "cut hdf5": (cut(parts), r"CLIP_feature\.hdf5: (cannot be read|damaged)"),
    "cut maps": (cut(feature_maps), r"maps\.hdf5: (cannot be read|damaged)"),
    "cut npz": (cut(lists), r"test\.npz: cannot be read"),
    "cut tensor": (cut(LAYOUTS["tensors"]), r"features\.pt: cannot be read"),
    "cut safetensors": (cut(LAYOUTS["safetensors"]), r"vit\.safetensors: cannot be read"),
    "text": (raw("own.mat", b"not what it seems, by far " * 20), r"own\.mat: cannot be read"),
    "another kind": (raw("own.txt", b"1 2 3"), r"own\.txt: arrays are read from .*, not from \.txt"),
    "too few rows": (
        saved(features=lambda t: t.x[1:]),
        r"features has shape \(109, 9\); a row or a column .* 110 images",
    ),
    "NaN": (saved(features=lambda t: nan(t.x)), r"features own: 1 value.*NaN.*read from .*own\.npz"),
    "float labels": (saved(labels=lambda t: t.y + 0.5), r"labels holds 0\.5 at place 1; whole numbers are needed"),
    "labels too large": (
        saved(labels=lambda t: t.y + 2),
        r"labels runs from 2 to 12; numbers from 0 to 10 or from 1 to 11",
    ),
    "negative labels": (
        saved(labels=lambda t: t.y - 1),
        r"labels runs from -1 to 9; numbers from 0 to 10 or from 1 to 11",
    ),
    "a matrix of labels": (saved(labels=lambda t: np.eye(110)), r"labels has shape \(110, 110\); a list of numbers is"),
    "other names": (saved(labels=lambda t: np.array(["gnu"] * 110)), r"own\.npz: .*'gnu'"),
    "text for features": (saved(features=lambda t: t.x.astype(str)), r"features is of type .U\d+; a row or a column"),
    "complex": (saved(features=lambda t: t.x.astype(complex)), r"array 'features' is of type complex128"),
    "images": (saved(image_files=lambda t: np.array(["a.jpg"])), r"it names 1 images; there are 110 labels"),
    "no features": (saved(features=lambda t: None, vectors=lambda t: t.x), r"no layout fits .*--take features=NAME"),
    "two of them": (
        lambda t, at: [*saved()(t, at), *LAYOUTS["safetensors"](t, at)[:1]],
        r"own\.npz: features and vit\.safetensors: features may all be the features; choose by --take",
    ),
    "no labels": (
        lambda t, at: [*saved(labels=lambda t: None)(t, at)[:1], "--semantics", t.folder / "att_splits.mat:att"],
        r"own\.npz: it has no labels, .* give them by --labels FILE",
    ),
    "no split": (
        lambda t, at: [*saved()(t, at)[:1], "--semantics", f"{t.folder / 'att_splits.mat'}:att"],
        r"own\.npz: nothing says which images are trainval, .* by --splits att_splits\.mat",
    ),
    "no embeddings": (lambda t, at: parts_without(t, at), r"it has no class embeddings; give them by --semantics"),
    "no maps": (lambda t, at: [*saved()(t, at), "--pool", "max"], r"--pool max: .*own\.npz has no feature maps"),
    "maps of three dimensions": (
        hdf5(feature_maps, put("feature_map", lambda t: np.ones((110, 9, 7)))),
        r"feature_map has shape \(110, 9, 7\); \(images, channels, height, width\) is needed",
    ),
    "channels last": (hdf5(feature_maps, square_maps), r"\(110, 7, 7, 9\), as if channels came last; transpose it"),
    "maps of NaN": (
        hdf5(feature_maps, put("feature_map", lambda t: np.full((110, 9, 7, 7), np.nan))),
        r"features maps: 990 values.*NaN.*maps\.hdf5",
    ),
    "a place too many": (
        hdf5(feature_maps, put("trainval_loc", lambda t: np.r_[t.places["trainval_loc"], 110])),
        r"the list of images runs from 0 to 110; numbers from 0 to 109 or from 1 to 110",
    ),
    "no places of unseen": (
        hdf5(feature_maps, lambda f, _: f.__delitem__("test_unseen_loc")),
        r"maps\.hdf5: test_unseen_loc is missing; a split needs trainval_loc",
    ),
    "places in both": (
        hdf5(feature_maps, put("test_seen_loc", lambda t: t.places["test_unseen_loc"])),
        r"trainval, test_seen and test_unseen share images \(read from .*maps\.hdf5\)",
    ),
    "attributes of other classes": (
        hdf5(feature_maps, put("att", lambda t: t.att[1:])),
        r"att has shape \(10, 6\); a row or a column for each of 11 classes is needed",
    ),
    "zero for a class": (
        hdf5(feature_maps, put("att", lambda t: np.r_[t.att[:-1], 0 * t.att[:1]])),
        r"maps\.hdf5: the embedding of class '001\.class' is zero",
    ),
    "a part too few": (hdf5(parts, lambda f, _: f.__delitem__("testSeen_l")), r"testSeen_l is missing; it has "),
    "lengths of a part": (
        hdf5(parts, put("train_l", lambda t: t.y[t.places["trainval_loc"]][1:])),
        r"train_f has shape \(64, 9\) for 63 labels; a row for each is needed",
    ),
    "unseen counted anew": (
        hdf5(parts, put("testUnseen_l", lambda t: np.repeat(np.arange(3), 10))),
        r"class 0 is in train_l and in testUnseen_l; unseen classes are others",
    ),
    "a class number out of all bounds": (
        hdf5(parts, put("testSeen_l", lambda t: t.y[t.places["test_seen_loc"]] + 2**37 * (np.arange(16) == 3))),
        r"CLIP_feature\.hdf5: .* has a class number 1374389534\d\d; more than 1048576 classes are not read",
    ),
    "embeddings of another side": (
        hdf5(parts, put("seen_embeddings", lambda t: t.att)),
        r"seen_embeddings has shape \(11, 6\); its side has 8 classes",
    ),
    "sizes of parts": (
        hdf5(parts, put("testSeen_f", lambda t: t.x[t.places["test_seen_loc"]][:, :5])),
        r"its parts have features of different size: 9, 5, 9",
    ),
    "one list": (lambda t, at: lists(t, at)[:1], r"test\.npz: feature_list and label_list of training and of test"),
    "nothing unseen": (
        one_of_lists(label_list=lambda t: np.resize(np.unique(t.y[t.places["trainval_loc"]]), 46)),
        r"test\.npz: no image is of a class that it lacks, so train\.npz is no training part of it",
    ),
    "lengths of lists": (
        one_of_lists(label_list=lambda t: np.arange(3)),
        r"feature_list has shape \(46, 9\) for 3 lab",
    ),
    "no such role": (lambda t, at: [*saved()(t, at), "--take", "pixels=x"], r"--take pixels: there is no such role"),
    "no such array": (
        lambda t, at: [*saved()(t, at), "--take", "labels=z"],
        r"own\.npz: there is no array 'z' for labels; there are own\.npz: features, own\.npz: labels",
    ),
    "no such file": (lambda t, at: [at / "absent.npz"], r"FILE .*absent\.npz: there is no such file"),
}


def parts_without(toy: Toy, at: Path) -> list[object]:
    words = parts(toy, at)
    with h5py.File(str(words[0]), "r+") as file:
        del file["seen_embeddings"]
    return words


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_that_names_file_and_cause(inside, toy, tmp_path, case):
    damage, reason = WRONG[case]
    answer = inside("data", "import", *damage(toy, tmp_path), "--as", tmp_path / "made", "--plain")
    assert answer.status in (1, 2)
    told = [line for line in answer.err.splitlines() if line.startswith("zslbench: ")]
    assert len(told) == 1 and answer.err.splitlines()[-1] == told[0]
    assert re.search(reason, told[0]), told[0]
    assert str(tmp_path) in told[0] or "--" in told[0]
    assert not (tmp_path / "made").exists()
    assert not list(tmp_path.glob(".made*"))


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "unpickled")


@pytest.mark.parametrize("name", ["own.pkl", "own.npy", "own.pt", "own.mat", "own.npz", "own.bin"])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_is_refused_with_the_reason_and_how_to_convert_it(inside, toy, tmp_path, name, protocol):
    (tmp_path / name).write_bytes(pickle.dumps({"features": Bomb(tmp_path / "bang")}, protocol))
    said = inside("data", "import", tmp_path / name, *toy.given, "--as", tmp_path / "made").error()
    assert f"{tmp_path / name}: it is a pickle, which can run any code and is never read" in said
    assert 'import numpy, pickle; numpy.savez("own.npz", **pickle.load(open(' in said
    assert not (tmp_path / "bang").exists()


def test_the_recipe_for_a_pickle_makes_a_file_that_is_read(inside, toy, tmp_path, monkeypatch):
    (tmp_path / "own.pkl").write_bytes(pickle.dumps({"features": toy.x, "labels": toy.y}))
    said = inside("data", "import", tmp_path / "own.pkl", *toy.given, "--as", tmp_path / "made").error()
    monkeypatch.chdir(tmp_path)
    exec(said.partition(" by: ")[2])
    answer = inside("data", "import", tmp_path / "own.npz", *toy.given, "--as", tmp_path / "made", "--plain")
    assert answer.status == 0
    np.testing.assert_allclose(written(tmp_path / "made")[0]["features"].T, toy.x)


def test_objects_beside_tensors_are_never_unpickled(inside, toy, tmp_path):
    torch.save({"features": torch.tensor(toy.x), "who": Bomb(tmp_path / "bang")}, tmp_path / "own.pt")
    said = inside("data", "import", tmp_path / "own.pt", *toy.given, "--as", tmp_path / "made").error()
    assert "own.pt: it is damaged, or holds objects of Python beside tensors" in said
    assert not (tmp_path / "bang").exists()


# ---- `--features FILE`


@pytest.mark.parametrize("kind", ["mat", "columns.mat", "npy", "npz", "pt", "safetensors", "h5"])
def test_features_of_a_file_give_the_figures_of_those_of_the_data_set(inside, toy, tmp_path, kind):
    path = tmp_path / f"own.{kind}"
    if kind.endswith("mat"):
        scipy.io.savemat(path, {"features": toy.x.T if kind == "columns.mat" else toy.x})
    elif kind == "npy":
        np.save(path, toy.x)
    elif kind == "npz":
        np.savez(path, embeddings=toy.x, labels=toy.y + 1)
    elif kind == "pt":
        torch.save(torch.tensor(toy.x.T), path)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["x"] = toy.x
    else:
        safetensors.numpy.save_file({"features": np.ascontiguousarray(toy.x)}, path)
    theirs = figures(inside, toy.folder)
    assert figures(inside, toy.folder, "--features", path) == theirs
    assert figures(inside, f"{toy.folder}@{path}") == theirs


def test_a_file_of_features_is_part_of_a_runs_identity_and_its_record_says_which(inside, toy, tmp_path):
    def run(x: np.ndarray) -> dict[str, Any]:
        np.save(tmp_path / "own.npy", x)
        answer = inside("run", "eszsl", "--dataset", toy.folder, "--features", tmp_path / "own.npy", "--json")
        [found] = json.loads(answer.out)["runs"]
        return found

    first, again, other = run(toy.x), run(toy.x), run(toy.x * 2 + 1)
    assert first["id"] == again["id"] != other["id"]
    assert first["spec"]["features"] == "own" and first["provenance"]["features"] == str(tmp_path / "own.npy")


WRONG_FEATURES: dict[str, tuple[dict[str, Callable[[Toy], Any]], str]] = {
    "too few": ({"features": lambda t: t.x[1:]}, r"it has features \(109, 9\); a row or a column for each of the 110"),
    "two": ({"a": lambda t: t.x, "b": lambda t: t.x}, r"a, b may all be features; choose one as FILE:a"),
    "other labels": (
        {"features": lambda t: t.x, "labels": lambda t: t.y[::-1]},
        r"its labels are others than those of .* for \d+ of 110 images",
    ),
    "fewer labels": ({"features": lambda t: t.x, "labels": lambda t: t.y[1:]}, r"it has 109 labels for the 110 images"),
    "NaN": ({"features": lambda t: nan(t.x)}, r"own\.npz: features: 1 value"),
    "maps": ({"feature_map": lambda t: np.ones((110, 9, 2, 2))}, r"it holds feature maps; make features of them by"),
}


@pytest.mark.parametrize("case", WRONG_FEATURES)
def test_features_that_are_not_of_the_images_are_one_line(inside, toy, tmp_path, case):
    arrays, reason = WRONG_FEATURES[case]
    np.savez(tmp_path / "own.npz", **{name: make(toy) for name, make in arrays.items()})
    said = inside("run", "eszsl", "--dataset", toy.folder, "--features", tmp_path / "own.npz").error()
    assert re.search(reason, said), said
    assert str(tmp_path / "own.npz") in said


def test_a_file_of_features_needs_the_name_of_its_data_set(inside, toy, tmp_path):
    np.save(tmp_path / "own.npy", toy.x)
    said = inside("run", "eszsl", "--features", tmp_path / "own.npy").error()
    assert "own.npy: a file is of the images of one data set; name it by --dataset" in said
    absent = inside("run", "eszsl", "--dataset", toy.folder, "--features", tmp_path / "absent.npy").error()
    assert "absent.npy: there is no such file" in absent
