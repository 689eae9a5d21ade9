"""The feature cache: fast, keyed on content, never trusted when anything changed, never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from synthetic import write_v5, write_v73

from zslbench.api.dataset import array_fingerprint
from zslbench.data import cache
from zslbench.data.cache import cache_state, load_features
from zslbench.errors import DataError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "res101.mat"
    write(path, 1.0)
    return path


def write(path: Path, value: float, save=write_v5) -> None:
    save(path, {"features": np.arange(12.0).reshape(3, 4) + value, "labels": np.array([[1], [2], [2], [3]])})


def rewrite_in_place(path: Path, value: float) -> None:
    """Changes the content; size and modification time stay, as after a hurried `cp -p`."""
    before = path.stat()
    scipy.io.savemat(path, {"features": np.full((3, 4), value), "labels": np.array([[1], [2], [2], [3]])})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size


def count_hashing(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    hashed: list[Path] = []
    original = cache._sha256
    monkeypatch.setattr(cache, "_sha256", lambda path: (hashed.append(path), original(path))[1])
    return hashed


def count_reading(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    original = cache.column_blocks
    monkeypatch.setattr(cache, "column_blocks", lambda path, name: (read.append(path), original(path, name))[1])
    return read


@pytest.mark.parametrize("save", [write_v5, write_v73], ids=["v5", "v7.3"])
def test_features_are_rows_of_float32_and_memory_mapped(source, save):
    write(source, 1.0, save)
    for _ in range(2):
        found = load_features(source)
        assert isinstance(found.features, np.memmap)
        assert found.features.dtype == np.float32
        assert found.features.flags.c_contiguous
        np.testing.assert_array_equal(found.features, [[1, 5, 9], [2, 6, 10], [3, 7, 11], [4, 8, 12]])
        assert found.labels.tolist() == [0, 1, 1, 2]
        assert found.fingerprint == array_fingerprint(np.array(found.features))


def test_the_second_load_does_not_read_the_mat_file_again(source, monkeypatch):
    load_features(source)
    read = count_reading(monkeypatch)
    load_features(source)
    assert read == []


def test_once_the_files_have_settled_nothing_is_hashed(source, monkeypatch):
    monkeypatch.setattr(cache, "RACY_NS", {True: 0, False: 0})
    load_features(source)
    time.sleep(0.02)
    load_features(source)
    hashed = count_hashing(monkeypatch)
    load_features(source)
    assert hashed == []


def test_a_file_changed_just_before_it_was_hashed_is_hashed_again(source, monkeypatch):
    monkeypatch.setattr(cache, "RACY_NS", {True: 10**12, False: 10**12})
    load_features(source)
    hashed = count_hashing(monkeypatch)
    load_features(source)
    assert source in hashed


def test_content_changed_with_the_same_size_and_time_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "RACY_NS", {True: 0, False: 0})
    source = tmp_path / "res101.mat"
    scipy.io.savemat(source, {"features": np.full((3, 4), 1.0), "labels": np.array([[1], [2], [2], [3]])})
    assert load_features(source).features[0, 0] == 1.0
    time.sleep(0.02)
    load_features(source)
    time.sleep(0.02)
    rewrite_in_place(source, 2.0)
    assert load_features(source).features[0, 0] == 2.0


def test_content_changed_at_once_is_noticed_with_the_real_margin(tmp_path):
    source = tmp_path / "res101.mat"
    scipy.io.savemat(source, {"features": np.full((3, 4), 1.0), "labels": np.array([[1], [2], [2], [3]])})
    for value in range(2, 12):
        load_features(source)
        rewrite_in_place(source, value)
        assert load_features(source).features[0, 0] == value


def damage_rows(entry: Path) -> None:
    content = bytearray((entry / "features.npy").read_bytes())
    content[-1] ^= 0xFF
    (entry / "features.npy").write_bytes(content)


def damage_by_truncation(entry: Path) -> None:
    content = (entry / "features.npy").read_bytes()
    (entry / "features.npy").write_bytes(content[:-5])


def damage_fingerprint(entry: Path) -> None:
    body = json.loads((entry / "entry.json").read_text())
    (entry / "entry.json").write_text(json.dumps({**body, "fingerprint": "0" * 64}))


@pytest.mark.parametrize(
    "damage",
    [
        damage_rows,
        damage_by_truncation,
        damage_fingerprint,
        lambda entry: (entry / "features.npy").unlink(),
        lambda entry: (entry / "labels.npy").write_bytes(b""),
        lambda entry: (entry / "entry.json").write_text("{"),
        lambda entry: (entry / "entry.json").write_text("[]"),
        lambda entry: (entry / "entry.json").write_bytes(b"\xff\xfe"),
    ],
)
def test_a_damaged_entry_is_made_again(source, folder, damage):
    before = load_features(source)
    expected, fingerprint = np.array(before.features), before.fingerprint
    del before
    (entry,) = (path for path in (folder / "features").iterdir() if path.is_dir())
    damage(entry)
    assert cache_state(source) == "damaged, to be made again"
    found = load_features(source)
    np.testing.assert_array_equal(found.features, expected)
    assert found.fingerprint == fingerprint
    assert found.labels.tolist() == [0, 1, 1, 2]
    assert cache_state(source) == "cached"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"signature": 1}', "null"])
def test_a_damaged_index_costs_nothing_but_time(source, folder, text, monkeypatch):
    monkeypatch.setattr(cache, "RACY_NS", {True: 0, False: 0})
    time.sleep(0.02)
    load_features(source)
    entries = list((folder / "index").iterdir())
    assert entries
    for entry in entries:
        entry.write_text(text)
    assert load_features(source).features.shape == (4, 3)


def test_leftovers_of_a_killed_process_are_cleared(source, folder):
    assert cache_state(source) == "not cached"
    part = cache._entry_of(source).with_suffix(".part")
    part.mkdir(parents=True)
    (part / "features.npy").write_bytes(b"half")
    assert load_features(source).features.shape == (4, 3)
    assert not part.exists()


def test_a_file_that_fails_its_checks_leaves_nothing_in_the_cache(source, folder):
    write_v5(source, {"features": np.array([[1.0, 2.0], [3.0, np.nan]])})
    with pytest.raises(DataError, match=r"res101\.mat: features: 1 values are NaN or infinite, the first in row 2"):
        load_features(source)
    assert [path for path in (folder / "features").iterdir() if path.is_dir()] == []


def test_values_beyond_float32_are_reported_as_infinite(source):
    write_v5(source, {"features": np.array([[1.0, 1e300]])})
    with pytest.raises(DataError, match="1 values are NaN or infinite"):
        load_features(source)


def test_a_cache_that_cannot_be_written_costs_a_warning(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match=r"the cache .* cannot be written .* set ZSLBENCH_CACHE"):
        found = load_features(source)
    assert found.features.tolist() == [[1, 5, 9], [2, 6, 10], [3, 7, 11], [4, 8, 12]]
    assert found.labels.tolist() == [0, 1, 1, 2]
    assert found.fingerprint == array_fingerprint(found.features)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"labels": np.ones((4, 1))}, r"'features' is missing"),
        ({"features": np.ones((3, 4, 2))}, r"'features' has shape \(3, 4, 2\)"),
        ({"features": np.ones((0, 4))}, r"'features' has shape \(0, 4\)"),
        ({"features": np.ones((3, 4)), "labels": np.ones((5, 1))}, r"shape \(3, 4\) for 5 labels"),
        ({"features": np.ones((4, 3)), "labels": np.ones((4, 1))}, r"for 4 labels.* so transpose them"),
        ({"features": np.ones((3, 4)), "labels": np.zeros((4, 1))}, r"labels must be whole numbers from 1"),
    ],
)
def test_wrong_shapes_and_labels_name_the_file(source, content, message):
    write_v5(source, content)
    with pytest.raises(DataError, match=rf"res101\.mat.*{message}"):
        load_features(source)


def test_several_processes_that_fill_the_cache_at_once_all_get_the_features(source, folder):
    code = (
        "import sys; from pathlib import Path; from zslbench.data.cache import load_features; "
        "print(load_features(Path(sys.argv[1])).fingerprint)"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, source], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    fingerprints = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert fingerprints == {load_features(source).fingerprint}
    assert all(process.returncode == 0 for process in processes)
    assert len([path for path in (folder / "features").iterdir() if path.is_dir()]) == 1


def test_real_features_load_in_milliseconds_once_cached(real_data, monkeypatch, shared_cache):
    monkeypatch.setenv("ZSLBENCH_CACHE", str(shared_cache))
    path = real_data / "AWA1" / "bow512.mat"
    load_features(path)
    load_features(path)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        assert load_features(path).features.shape == (30475, 512)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05
