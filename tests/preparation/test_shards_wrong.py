"""What is wrong with shards is one line, which names the shard, and the row or the sample."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from laidout import Toy, npy, parquet_shards, tar_shards, write_tar
from outside import inside, store
from sharded import VECTORS, _cache, att, labels, table, toy

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

__all__ = ["_cache", "inside", "store", "toy"]


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
