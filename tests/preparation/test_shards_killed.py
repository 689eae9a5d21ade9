"""An import of shards that is killed goes on where it was, and takes little memory."""

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

import numpy as np
import pytest
import scipy.io
from laidout import npy, parquet_shards, tar_shards, write_tar
from outside import inside, store
from sharded import _cache, toy

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

__all__ = ["_cache", "inside", "store", "toy"]


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

def reads(pid):
    try:
        own, parent = (Path(f"/proc/{which}/cmdline").read_bytes() for which in (pid, "self"))
        return own not in (b"", parent)  # a child begins as a copy of its parent
    except OSError:
        return False

def watch():
    while True:
        most[0] = max(most[0], private("self") - base)
        for children in Path("/proc/self/task").glob("*/children"):
            most[1:] = [max([*most[1:], *map(private, filter(reads, children.read_text().split()))])]
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
