"""`zslbench data import` of shards, Parquet and tars of samples: the arrays that are in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from laidout import Toy, npy, write_tar
from outside import Inside, inside, store
from sharded import VECTORS, _cache, att, labels, table, toy

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

__all__ = ["_cache", "inside", "store", "toy"]


def imported(inside: Inside, at: Path, *words: object) -> dict[str, Any]:
    """Imports, and returns what SciPy reads of what was written."""
    answer = inside("data", "import", *words, "--as", at / "made", "--plain")
    assert answer.status == 0, answer.err
    [features] = [path for path in (at / "made").glob("*.mat") if path.stem != "att_splits"]
    return {**scipy.io.loadmat(at / "made" / "att_splits.mat"), **scipy.io.loadmat(features), "said": answer.out}


def check(found: dict[str, Any], toy: Toy, x: np.ndarray | None = None) -> None:
    """Compares with the arrays of the toy, whose order is kept."""
    np.testing.assert_array_equal(found["features"].T, np.asarray(toy.x if x is None else x, np.float32))
    np.testing.assert_array_equal(found["labels"].ravel() - 1, toy.y)
    for place, rows in toy.places.items():
        np.testing.assert_array_equal(np.sort(found[place].ravel().astype(int) - 1), np.sort(rows))


def cells(found: np.ndarray) -> list[str]:
    return [str(cell[0]) for cell in found.ravel()]


# ---- Parquet


@pytest.mark.parametrize("kind", VECTORS)
def test_a_column_of_vectors_of_any_type_is_read_as_it_is(inside, toy, tmp_path, kind):
    column = VECTORS[kind](toy.x)
    path = table(toy, tmp_path, {"emb": column, "label": labels(toy)}, row_group_size=7)
    expected = toy.x.astype(np.float16) if kind == "list of half" else toy.x
    check(imported(inside, tmp_path, path, *toy.given, "--take", "features=emb"), toy, expected)


@pytest.mark.parametrize(("name", "first"), [("f{}", 0), ("feature_{}", 1), ("{}", 0), ("x[{}]", 1)])
def test_columns_of_single_dimensions_are_features_in_the_order_of_their_numbers(inside, toy, tmp_path, name, first):
    wide = np.concatenate([toy.x, toy.x + 1], axis=1)  # 10 comes before 2 by name
    order = np.random.default_rng(0).permutation(wide.shape[1])
    columns = {name.format(c + first): wide[:, c] for c in order} | {"label": labels(toy)}
    called = {"f{}": "f", "feature_{}": "feature", "{}": "features", "x[{}]": "x"}[name]
    words = [table(toy, tmp_path, columns), *toy.given, "--take", f"features={called}"]
    check(imported(inside, tmp_path, *words), toy, wide)


def test_names_parts_and_dictionaries_of_a_table_need_no_options(inside, toy, tmp_path):
    part = np.full(len(toy.y), "", dtype=object)
    for place, rows in toy.places.items():
        part[rows] = place.removesuffix("_loc")
    part[toy.places["trainval_loc"][0]] = None
    files = [f"Ähre/{row}.jpg" for row in range(len(toy.y))]
    columns = {"path": files, "split": pa.array(part, pa.string()), "label": pa.array(labels(toy)).dictionary_encode()}
    columns["features"] = VECTORS["fixed size"](toy.x)
    words = [table(toy, tmp_path, columns), "--semantics", f"{toy.folder / 'att_splits.mat'}:att"]
    said = inside("data", "import", *words, "--as", tmp_path / "made").error()
    first = toy.places["trainval_loc"][0]
    assert f"own.parquet: row {first + 1} has no split; add it, or leave the row out" in said
    part[first] = ""
    words = [table(toy, tmp_path, columns | {"split": list(part)}), "--semantics", att(toy, tmp_path)]
    found = imported(inside, tmp_path, *words)
    assert cells(found["image_files"]) == files and cells(found["allclasses_names"]) == toy.names
    toy.places["trainval_loc"] = np.setdiff1d(toy.places["trainval_loc"], [first])
    check(found, toy)
    assert "splits: own.parquet: split, by name" in found["said"]


def test_numbers_of_classes_get_the_names_that_the_datasets_library_writes(inside, toy, tmp_path):
    told = {"info": {"features": {"label": {"names": toy.names, "_type": "ClassLabel"}, "x": {"_type": "Sequence"}}}}
    own = pa.table({"x": VECTORS["fixed size"](toy.x), "label": toy.y})
    pq.write_table(own.replace_schema_metadata({"huggingface": json.dumps(told)}), tmp_path / "own.parquet")
    lines = [f"{name},{','.join(map(str, row))}" for name, row in zip(toy.names, toy.att.tolist(), strict=True)]
    (tmp_path / "att.csv").write_text("\n".join(reversed(lines)) + "\n")
    words = [tmp_path / "own.parquet", *toy.given, "--semantics", tmp_path / "att.csv"]
    found = imported(inside, tmp_path, *words)
    check(found, toy)
    assert cells(found["allclasses_names"]) == toy.names
    np.testing.assert_allclose(found["att"].T, toy.att, rtol=1e-6)


def test_features_of_a_parquet_file_serve_a_run(inside, toy, tmp_path):
    path = table(toy, tmp_path, {"x": VECTORS["list of double"](toy.x)})
    theirs, own = (
        json.loads(inside("run", "eszsl", "--dataset", toy.folder, "--device", "cpu", "--json", *more).out)["runs"][0]
        for more in ([], ["--features", path])
    )
    assert own["metrics"] == theirs["metrics"]


# ---- tars


def samples(toy: Toy, **kinds: Callable[[int], bytes]) -> list[tuple[str, bytes]]:
    """Returns the members of a tar, those of a sample together."""
    return [
        (f"{row:04d}.{kind.replace('_', '.')}", make(row)) for row in range(len(toy.y)) for kind, make in kinds.items()
    ]


def saved(save: Callable[[Any, Any], object], value: object, at: Path) -> bytes:
    with (at / "one").open("wb") as file:
        save(file, value)
    return (at / "one").read_bytes()


@pytest.mark.parametrize(
    ("kind", "how"),
    [("npy", "w"), ("emb_npy", "w:gz"), ("npz", "w"), ("pth", "w:gz"), ("pt of a dictionary", "w")],
)
def test_members_of_any_kind_are_read_as_they_are(inside, toy, tmp_path, kind, how):
    make = {
        "npy": lambda row: npy(toy.x[row][None]),
        "emb_npy": lambda row: npy(toy.x[row].astype(np.float64)),
        "npz": lambda row: saved(lambda file, x: np.savez(file, emb=x), toy.x[row], tmp_path),
        "pth": lambda row: saved(lambda file, x: torch.save(x, file), torch.tensor(toy.x[row]), tmp_path),
        "pt of a dictionary": lambda row: saved(
            lambda file, x: torch.save(x, file), {"emb": torch.tensor(toy.x[row])}, tmp_path
        ),
    }[kind]
    members = samples(toy, **{kind.partition(" ")[0]: make, "txt": lambda row: toy.names[toy.y[row]].encode()})
    name = "own.tar" if how == "w" else "own.tar.gz"
    write_tar(tmp_path / name, [("._0000.npy", b"of a desktop"), *members], how)
    take = [] if kind in ("npy", "pth") else ["--take", "features=emb"]
    found = imported(inside, tmp_path, tmp_path / name, *toy.given, *take)
    check(found, toy)
    assert cells(found["image_files"]) == [f"{row:04d}" for row in range(len(toy.y))]


def test_json_gives_classes_names_and_parts(inside, toy, tmp_path):
    part = np.full(len(toy.y), "", dtype=object)
    for place, rows in toy.places.items():
        part[rows] = place.removesuffix("_loc")

    def told(row: int) -> bytes:
        facts = {"label": int(toy.y[row]), "split": part[row], "image_files": f"{row}.jpg", "size": [1, 2], "ok": True}
        return json.dumps(facts).encode()

    write_tar(tmp_path / "own.tar", samples(toy, json=told, npy=lambda row: npy(toy.x[row])))
    found = imported(inside, tmp_path, tmp_path / "own.tar", "--semantics", att(toy, tmp_path))
    check(found, toy)
    assert cells(found["image_files"]) == [f"{row}.jpg" for row in range(len(toy.y))]
