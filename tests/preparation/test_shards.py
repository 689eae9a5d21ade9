"""`zslbench data import` of shards, Parquet and tars of samples: the arrays that are in them, killed or not."""

from __future__ import annotations

import filecmp
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from laidout import Toy, npy, parquet_shards, tar_shards, write_tar
from outside import Inside, inside, store

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

__all__ = ["inside", "store"]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy(tmp_path)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))


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


def table(toy: Toy, at: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), at / "own.parquet", **options)
    return at / "own.parquet"


def labels(toy: Toy) -> list[str]:
    return [toy.names[c] for c in toy.y]


class Tagged(pa.ExtensionType):  # type: ignore[misc]
    def __init__(self, kind: Any) -> None:
        super().__init__(kind, "test.tagged")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, kind: Any, told: bytes) -> Tagged:
        return cls(kind)


VECTORS: dict[str, Callable[[np.ndarray], Any]] = {
    "list of half": lambda x: pa.array(list(x.astype(np.float16)), pa.list_(pa.float16())),
    "list of double": lambda x: pa.array(list(x.astype(np.float64)), pa.list_(pa.float64())),
    "large list": lambda x: pa.array(list(x), pa.large_list(pa.float32())),
    "fixed size": lambda x: pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1]),
    "extension": lambda x: pa.ExtensionArray.from_storage(
        Tagged(pa.list_(pa.float32(), x.shape[1])), pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
    ),
    "tensor": lambda x: pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(x)),
}


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


# ---- what is wrong

Damage = Callable[[Toy, Path], list[object]]


def parquet(**columns: Callable[[Toy], Any]) -> Damage:
    def write(toy: Toy, at: Path) -> list[object]:
        """Writes three shards, of which the second has other columns."""
        words = parquet_shards(toy, at)
        path = Path(str(words[1]))
        own = pq.read_table(path)
        found = {name: own[name] for name in own.column_names} | {n: make(toy) for n, make in columns.items()}
        rows = len(own)
        pq.write_table(pa.table({n: c[:rows] for n, c in found.items() if c is not None}), path)
        return words

    return write


def alone(**columns: Callable[[Toy], Any]) -> Damage:
    def write(toy: Toy, at: Path) -> list[object]:
        own = {"features": VECTORS["fixed size"](toy.x), "label": labels(toy)}
        own |= {name: make(toy) for name, make in columns.items()}
        return [table(toy, at, {name: value for name, value in own.items() if value is not None}), *toy.given]

    return write


def tars(edit: Callable[[list[tuple[str, bytes]], Toy], object]) -> Damage:
    def write(toy: Toy, at: Path) -> list[object]:
        """Writes two shards, of which the second is edited."""
        words = tar_shards(toy, at)
        members = [
            (f"s/{row - 55}.{kind}", content)
            for row in range(55, 110)
            for kind, content in (("npy", npy(toy.x[row])), ("cls", b"%d" % toy.y[row]))
        ]
        edit(members, toy)
        write_tar(Path(str(words[1])), members)
        return words

    return write


def put(at: int, name: str, content: Callable[[Toy], bytes]) -> Damage:
    return tars(lambda members, toy: members.__setitem__(at, (name, content(toy))))


def cut(words: Callable[[Toy, Path], list[object]], size: Callable[[int], int]) -> Damage:
    def write(toy: Toy, at: Path) -> list[object]:
        given = words(toy, at)
        content = Path(str(given[1])).read_bytes()
        Path(str(given[1])).write_bytes(content[: size(len(content))])
        return given

    return write


def zeroed_head(toy: Toy, at: Path) -> list[object]:
    words = tar_shards(toy, at)
    content = bytearray(Path(str(words[1])).read_bytes())
    start = content.index(b"all/0070.cls")
    content[start : start + 512] = bytes(512)
    Path(str(words[1])).write_bytes(content)
    return words


def unlabelled(toy: Toy, at: Path) -> list[object]:
    return [*alone(label=lambda t: None, kind=labels)(toy, at)[:1], "--semantics", toy.folder / "att_splits.mat:att"]


def without_embedding(toy: Toy, at: Path) -> list[object]:
    lines = [f"{name},{','.join(map(str, row))}" for name, row in zip(toy.names, toy.att.tolist(), strict=True)]
    (at / "att.csv").write_text("\n".join(lines[1:]) + "\n")
    return [*parquet_shards(toy, at), "--semantics", at / "att.csv"]


def att(toy: Toy, at: Path) -> Path:
    np.savez(at / "att.npz", att=toy.att, classes=np.array(toy.names))
    return at / "att.npz"


def bad(x: np.ndarray, value: float) -> np.ndarray:
    x = np.array(x, np.float64)
    x[3, 2] = value
    return x


def short(x: np.ndarray) -> Any:
    return pa.array([*x[:5], x[5][:4], *x[6:]], pa.list_(pa.float32()))


def lacking(x: np.ndarray) -> Any:
    return pa.array([row if i != 4 else [None, *row[1:]] for i, row in enumerate(x.tolist())], pa.list_(pa.float32()))


WRONG: dict[str, tuple[Damage, str]] = {
    "dimension": (
        parquet(features=lambda t: pa.array(list(t.x[:, :5]), pa.list_(pa.float32()))),
        r"part-1\.parquet: row 1 has 5 numbers in column features, and the first row of all has 9",
    ),
    "dimension of a row": (
        parquet(features=lambda t: short(t.x)),
        r"part-1\.parquet: row 6 has 4 numbers in column features, and the first row of all has 9",
    ),
    "type": (
        parquet(features=lambda t: VECTORS["list of double"](t.x)),
        r"part-1\.parquet: column features is list<\w+: double>, and list<\w+: float> in part-0\.parquet; write all",
    ),
    "a column less": (
        parquet(label=lambda t: None),
        r"part-1\.parquet: column label is absent, and string in part-0\.parquet; write all shards alike",
    ),
    "a column more": (parquet(more=labels), r"part-1\.parquet: column more is string, and absent in part-0\.parquet"),
    "NaN": (
        parquet(features=lambda t: pa.array(list(bad(t.x, np.nan).astype(np.float32)), pa.list_(pa.float32()))),
        r"part-1\.parquet: row 4, column features, has values that are NaN or infinite; repair it, or leave it out",
    ),
    "too large for float32": (
        alone(features=lambda t: VECTORS["list of double"](bad(t.x, 1e60))),
        r"own\.parquet: row 4, column features, has values that are NaN or infinite",
    ),
    "a number less": (
        parquet(features=lambda t: lacking(t.x)),
        r"part-1\.parquet: row 5 lacks numbers in column features; repair it",
    ),
    "a label less": (
        alone(label=lambda t: [None, *labels(t)[1:]]),
        r"own\.parquet: row 1 has no label; add it, or leave the row out",
    ),
    "no labels": (
        unlabelled,
        r"own\.parquet: it has no labels, .*--take labels=NAME if they are among features \(110, 9\), kind \(110,\)",
    ),
    "no features": (alone(features=lambda t: None), r"own\.parquet has label \(110,\): no layout fits .*--take feat"),
    "another column": (
        lambda t, at: [*alone()(t, at), "--take", "labels=klass"],
        r"there is no array 'klass' for labels; there are own\.parquet: features, own\.parquet: label",
    ),
    "an unknown class": (
        alone(label=lambda t: ["gnu", *labels(t)[1:]]),
        r"own\.parquet: its labels are names that no class has: .*gnu",
    ),
    "no embedding": (without_embedding, r"att\.csv: it has no line for 1 class.*001|att\.csv: it has no line for "),
    "parts of another split": (
        lambda t, at: [
            alone(split=lambda t: ["train", *["test"] * 109])(t, at)[0],
            *("--semantics", att(t, at)),
        ],
        r"own\.parquet: split has test, train; trainval, test_seen, test_unseen are needed, or a split by --splits",
    ),
    "cut Parquet": (
        cut(parquet_shards, lambda size: size // 2),
        r"part-1\.parquet: cannot be read as Parquet .*fetch or",
    ),
    "empty Parquet": (cut(parquet_shards, lambda size: 0), r"part-1\.parquet: cannot be read as Parquet"),
    "cut tar": (
        cut(tar_shards, lambda size: size // 2 + 100),
        r"samples-1\.tar: (it is cut short|cannot be read as a tar)",
    ),
    "cut between members": (
        cut(tar_shards, lambda size: size // 3072 // 2 * 3072),
        r"samples-1\.tar: it is cut short or damaged behind sample all/00\d\d; fetch or write it again",
    ),
    "a head of zeros": (zeroed_head, r"samples-1\.tar: it is cut short or damaged behind sample all/00"),
    "key of another shard": (
        put(0, "all/0003.npy", lambda t: npy(t.x[0])),
        r"samples-1\.tar: the key all/0003 is there in another shard too; give each sample a key of its own",
    ),
    "key twice": (
        tars(lambda members, toy: members.extend(members[:2])),
        r"samples-1\.tar: the key s/0 is there twice; give each sample a key of its own",
    ),
    "member twice": (
        tars(lambda members, toy: members.insert(1, members[0])),
        r"samples-1\.tar: sample s/0 has two members \.npy; write each once",
    ),
    "no class": (
        tars(lambda members, toy: members.pop(5)),
        r"samples-1\.tar: sample s/2 has \.npy, and the first sample has \.cls and \.npy; write all alike",
    ),
    "dimension of a sample": (
        put(4, "s/2.npy", lambda t: npy(t.x[2][:4])),
        r"samples-1\.tar: sample s/2 has float32 \(4,\) in \.npy, and the first sample has float32 \(9,\)",
    ),
    "type of a sample": (
        put(4, "s/2.npy", lambda t: npy(t.x[2].astype(np.float16))),
        r"samples-1\.tar: sample s/2 has float16 \(9,\) in \.npy, and the first sample has float32 \(9,\)",
    ),
    "NaN in a sample": (
        put(4, "s/2.npy", lambda t: npy(t.x[2] * np.float32(np.nan))),
        r"samples-1\.tar: sample s/2 has values that are NaN or infinite; repair it, or leave it out",
    ),
    "a pickle": (
        put(4, "s/2.npy", lambda t: npy(np.array([{}, 1], dtype=object))),
        r"samples-1\.tar: s/2\.npy: the array holds Python objects, which only unpickling could read",
    ),
    "a class that is no number": (
        put(5, "s/2.cls", lambda t: b"\xff\xfe"),
        r"samples-1\.tar: s/2\.cls in it cannot be read as cls",
    ),
    "a class beyond": (
        put(5, "s/2.cls", lambda t: b"99"),
        r"samples-0\.tar: cls runs from 0 to 99; numbers from 0 to 10",
    ),
    "a large class": (put(5, "s/2.cls", lambda t: b"1" * 70000), r"s/2\.cls in it has 70000 bytes; at most 65536 are"),
    "no samples": (
        lambda t, at: [write_tar(at / "none.tar", [("readme", b"")]) or at / "none.tar", *t.given],
        r"none\.tar: it has no samples, such as 0001\.npy with 0001\.cls",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_one_line_and_nothing_is_written(inside, toy, tmp_path, case):
    make, reason = WRONG[case]
    said = inside("data", "import", *make(toy, tmp_path), "--as", tmp_path / "made").error()
    assert re.search(reason, said), said
    assert not (tmp_path / "made").exists()
    assert not list((tmp_path / "cache").rglob("rows")), "what cannot be used is kept"


def test_without_pyarrow_a_parquet_file_says_how_to_get_it(inside, toy, tmp_path, monkeypatch):
    words = parquet_shards(toy, tmp_path)
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    answer = inside("data", "import", *words, "--as", tmp_path / "made")
    assert answer.status == 2
    assert answer.error() == (
        f"{words[0]}: Parquet needs pyarrow, which is not installed; pip install 'zslbench[parquet]'"
    )


# ---- killed, and issued again

SLOWLY = """
import sys, time
from zslbench.data import made, shardrows
shardrows.BLOCK_BYTES = 400  # a few rows
append, begun = made.Rows.append, []
def slowly(self, content, images):
    if not begun:
        begun.append(self.state.done)
        print("begun", self.state.done, file=sys.stderr, flush=True)
    append(self, content, images)
    time.sleep({pause})
made.Rows.append = slowly
from zslbench.cli import main
main()
"""


def slowly(words: list[object], at: Path, cache: Path, pause: float) -> subprocess.Popen[str]:
    """Starts an import that reads a few images at a time, and says from which on."""
    command = [sys.executable, "-c", SLOWLY.format(pause=pause), "data", "import", *words, "--as", at, "--plain"]
    environment = {**os.environ, "ZSLBENCH_CACHE": str(cache)}
    return subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.PIPE, text=True)


def done(cache: Path) -> int:
    """Returns how many images count as read in what is unfinished."""
    for path in cache.glob("shards/*.part/state.json"):
        return int(json.loads(path.read_text())["done"])
    return 0


def killed(words: list[object], at: Path, cache: Path) -> int:
    """Kills an import in the middle, and returns how far it was."""
    process = slowly(words, at, cache, 0.05)
    until = time.monotonic() + 120
    while done(cache) < 40 and time.monotonic() < until:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert 40 <= done(cache) < 110
    assert not at.exists()
    return done(cache)


def finished(words: list[object], at: Path, cache: Path) -> int:
    """Imports, and returns from which image on features were read."""
    process = slowly(words, at, cache, 0)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    [begun] = re.findall(r"begun (\d+)", said)
    assert not [*cache.glob("shards/*/*")], "rows of a finished data set are kept"
    return int(begun)


def same(a: Path, b: Path) -> bool:
    names = sorted(path.name for path in a.iterdir())
    return names == sorted(p.name for p in b.iterdir()) and all(
        filecmp.cmp(a / n, b / n, shallow=False) for n in names if n != "card.toml"
    )


@pytest.mark.parametrize("write", [parquet_shards, tar_shards])
def test_killed_it_goes_on_where_it_was_and_ends_in_the_same_bytes(toy, tmp_path, write):
    words, cache = write(toy, tmp_path), tmp_path / "cache"
    before = killed(words, tmp_path / "made", cache)
    assert finished(words, tmp_path / "made", cache) == before
    assert finished(words, tmp_path / "other" / "made", tmp_path / "new") == 0
    assert same(tmp_path / "made", tmp_path / "other" / "made")


def test_killed_and_with_a_shard_changed_it_begins_anew(toy, tmp_path):
    words, cache = parquet_shards(toy, tmp_path), tmp_path / "cache"
    killed(words, tmp_path / "made", cache)
    shutil.copytree(cache, tmp_path / "before")
    toy.x[0] += 1
    parquet_shards(toy, tmp_path)
    assert finished(words, tmp_path / "made", cache) == 0
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "made" / "features.mat")["features"].T, toy.x)
    [rows] = (tmp_path / "before").glob("shards/*.part/rows")
    with rows.open("r+b") as file:  # what was read is damaged on the disk
        file.write(b"\1")
    assert finished(words, tmp_path / "again", tmp_path / "before") == 0
    assert (tmp_path / "again" / "features.mat").read_bytes() == (tmp_path / "made" / "features.mat").read_bytes()


# ---- memory

MEASURED = """
import sys, threading, time
from pathlib import Path
import h5py, pyarrow.parquet, timm
import zslbench.cli.imports, zslbench.data.audit, zslbench.preparation.importwrite, zslbench.report.progress

def private(pid):
    try:
        lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(lines["RssAnon"].split()[0]) / 1000
    except (OSError, KeyError):
        return 0

def watch():
    while True:
        most[0] = max(most[0], private("self") - base)
        for children in Path("/proc/self/task").glob("*/children"):
            most[1:] = [max([*most[1:], *map(private, children.read_text().split())])]
        time.sleep(0.01)

base, most = private("self"), [0, 0]
threading.Thread(target=watch, daemon=True).start()
try:
    zslbench.cli.main()
finally:
    print("most", *map(round, most), file=sys.stderr)
"""
IMAGES, WIDTH = 140_000, 512
"""287 MB in float32."""


def many_in_parquet(at: Path) -> list[object]:
    random = np.random.default_rng(0)
    for i in range(2):
        x = random.standard_normal(IMAGES // 2 * WIDTH, dtype=np.float32).astype(np.float16)
        names = [f"c{row % 20}" for row in range(IMAGES // 2)]
        columns = {"x": pa.FixedSizeListArray.from_arrays(pa.array(x), WIDTH), "label": names}
        pq.write_table(pa.table(columns), at / f"{i}.parquet", row_group_size=10**6)  # all in one group of rows
    return [at / "0.parquet", at / "1.parquet"]


def many_in_a_tar(at: Path) -> list[object]:
    x = np.random.default_rng(0).standard_normal((IMAGES // 20, WIDTH * 20), dtype=np.float32)
    kinds: list[tuple[str, Callable[[int], bytes]]] = [
        ("npy", lambda i: npy(x[i])),
        ("txt", lambda i: b"c%d" % (i % 20)),
    ]
    write_tar(at / "own.tar", ((f"{i}.{kind}", make(i)) for i in range(len(x)) for kind, make in kinds))
    return [at / "own.tar"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="how much memory a process has is asked of Linux")
@pytest.mark.parametrize("write", [many_in_parquet, many_in_a_tar])
def test_memory_does_not_grow_with_the_features(tmp_path, write):
    random = np.random.default_rng(1)
    lines = [f"c{c},{','.join(map(str, random.random(5)))}" for c in range(20)]
    (tmp_path / "att.csv").write_text("\n".join(lines) + "\n")
    roles = [f"c{c},{'unseen' if c > 15 else 'seen'}" for c in range(20)]
    (tmp_path / "split.csv").write_text("\n".join(["class,role", *roles]) + "\n")
    words = [*write(tmp_path), "--splits", tmp_path / "split.csv", "--semantics", tmp_path / "att.csv"]
    command = [sys.executable, "-c", MEASURED, "data", "import", *words, "--as", tmp_path / "made", "--plain"]
    ended = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    own, reader = map(int, ended.stderr.splitlines()[-1].split()[1:])
    assert (tmp_path / "made" / "att_splits.mat").is_file()
    assert own < 180 and reader < 120, "a copy of the features is in memory"
