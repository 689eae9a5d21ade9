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
from zslbench.data import digests, matentry
from zslbench.data.cache import load_features
from zslbench.data.digests import file_digest, rehashed
from zslbench.data.matentry import cache_state
from zslbench.data.matfile import read_arrays, read_strings, variables
from zslbench.errors import DataError, Hint


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
    original = digests._sha256
    monkeypatch.setattr(digests, "_sha256", lambda path: (hashed.append(path), original(path))[1])
    return hashed


def count_reading(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    original = matentry._child
    monkeypatch.setattr(matentry, "_child", lambda path, *rest: (read.append(path), original(path, *rest))[1])
    return read


def entry_of(folder: Path) -> Path:
    (entry,) = (path for path in (folder / "mat").iterdir() if path.is_dir())
    return entry


def rows_of(entry: Path) -> Path:
    body = json.loads((entry / "entry.json").read_text())
    return entry / body["variables"]["features"]["file"]


def flip(path: Path, place: int, bit: int = 1) -> None:
    """Changes a bit as a disk does: no time stamp shows it."""
    stat, content = path.stat(), bytearray(path.read_bytes())
    content[place] ^= bit
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


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


def test_a_file_is_read_once_whatever_is_asked_of_it(source, monkeypatch):
    read = count_reading(monkeypatch)
    for _ in range(2):
        load_features(source)
        variables(source)
        read_arrays(source, ["labels"])
        read_strings(source, "image_files")
        cache_state(source)
    assert read == [source]


def test_once_the_files_have_settled_nothing_is_hashed(source, monkeypatch):
    monkeypatch.setattr(digests, "RACY_NS", {True: 0, False: 0})
    load_features(source)
    time.sleep(0.02)
    load_features(source)
    hashed = count_hashing(monkeypatch)
    load_features(source)
    assert hashed == []


def test_a_file_changed_just_before_it_was_hashed_is_hashed_again(source, monkeypatch):
    monkeypatch.setattr(digests, "RACY_NS", {True: 10**12, False: 10**12})
    load_features(source)
    hashed = count_hashing(monkeypatch)
    load_features(source)
    assert source in hashed


def test_content_changed_with_the_same_size_and_time_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "RACY_NS", {True: 0, False: 0})
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
    for value in range(2, 6):
        load_features(source)
        rewrite_in_place(source, value)
        assert load_features(source).features[0, 0] == value


def truncate_rows(entry: Path) -> None:
    rows = rows_of(entry)
    rows.write_bytes(rows.read_bytes()[:-5])


def change_fingerprint(entry: Path) -> None:
    body = json.loads((entry / "entry.json").read_text())
    (entry / "entry.json").write_text(json.dumps({**body, "fingerprint": "0" * 64}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: flip(rows_of(entry), -1),
        lambda entry: flip(rows_of(entry), 20),
        lambda entry: flip(next(path for path in entry.glob("*.npy") if path != rows_of(entry)), -1),
        lambda entry: flip(entry / "entry.json", 40),
        truncate_rows,
        change_fingerprint,
        lambda entry: rows_of(entry).unlink(),
        lambda entry: rows_of(entry).write_bytes(b""),
        lambda entry: (entry / "entry.json").write_text("{"),
        lambda entry: (entry / "entry.json").write_text("[]"),
        lambda entry: (entry / "entry.json").write_bytes(b"\xff\xfe"),
    ],
)
def test_a_damaged_entry_is_made_again_and_said(source, folder, damage):
    before = load_features(source)
    expected, fingerprint = np.array(before.features), before.fingerprint
    del before
    damage(entry_of(folder))
    assert cache_state(source) == "damaged"
    with pytest.warns(Hint, match=r"res101\.mat: what the cache has of it is damaged, and is made again"):
        found = load_features(source)
    np.testing.assert_array_equal(found.features, expected)
    assert found.fingerprint == fingerprint
    assert found.labels.tolist() == [0, 1, 1, 2]
    assert cache_state(source) == "cached"


@pytest.mark.filterwarnings("ignore::zslbench.errors.Hint")
def test_no_flipped_bit_of_an_entry_becomes_a_number(source, folder):
    expected = np.array(load_features(source).features)
    sizes = {path.name: path.stat().st_size for path in entry_of(folder).iterdir()}
    assert len(sizes) == 3
    for name, place in [(name, place) for name, size in sizes.items() for place in (size // 2, size - 1)]:
        flip(entry_of(folder) / name, place)
        found = load_features(source)
        np.testing.assert_array_equal(found.features, expected)
        assert found.labels.tolist() == [0, 1, 1, 2]


def test_a_large_entry_has_a_checksum_for_each_of_its_blocks(tmp_path):
    (tmp_path / "x").write_bytes(np.random.default_rng(0).bytes(2 * digests.CHECKED_BYTES + 100))
    before = digests.checksums(tmp_path / "x")
    flip(tmp_path / "x", digests.CHECKED_BYTES + 17)
    after = digests.checksums(tmp_path / "x")
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True, True]


def test_no_flipped_bit_of_the_index_hands_out_another_digest(source, folder, monkeypatch):
    monkeypatch.setattr(digests, "RACY_NS", {True: 0, False: 0})
    time.sleep(0.02)
    digest = file_digest(source)
    (index,) = (folder / "index").iterdir()
    kept = index.read_bytes()
    for place in range(0, len(kept), 7):
        index.write_bytes(kept)
        flip(index, place)
        assert file_digest(source) == digest


def test_rot_of_a_source_that_keeps_all_stamps_is_found_by_verify_and_changes_no_number(source, monkeypatch):
    monkeypatch.setattr(digests, "RACY_NS", {True: 0, False: 0})
    time.sleep(0.02)
    expected = np.array(load_features(source).features)
    digest = rehashed(source)
    stamps = digests.signature(source)
    flip(source, -3)
    monkeypatch.setattr(digests, "signature", lambda path: stamps)  # only the disk can keep the time of the change
    assert file_digest(source) == digest
    np.testing.assert_array_equal(load_features(source).features, expected)
    with pytest.raises(DataError, match=r"res101\.mat: its content has changed .* but its time stamps have not"):
        rehashed(source)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"signature": 1}', "null"])
def test_a_damaged_index_costs_nothing_but_time(source, folder, text, monkeypatch):
    monkeypatch.setattr(digests, "RACY_NS", {True: 0, False: 0})
    time.sleep(0.02)
    load_features(source)
    entries = list((folder / "index").iterdir())
    assert entries
    for entry in entries:
        entry.write_text(text)
    assert load_features(source).features.shape == (4, 3)


def test_leftovers_of_a_killed_process_are_cleared(source, folder):
    assert cache_state(source) == "not cached"
    part = folder / "mat" / f"{file_digest(source)}-{matentry.FORMAT}.part"
    part.mkdir(parents=True)
    (part / "features.npy").write_bytes(b"half")
    assert load_features(source).features.shape == (4, 3)
    assert not part.exists()


def test_features_that_are_not_finite_are_refused_each_time(source):
    write_v5(source, {"features": np.array([[1.0, 2.0], [3.0, np.nan]])})
    for _ in range(2):
        with pytest.raises(DataError, match=r"res101\.mat: features: 1 values are NaN or infinite, the first in row 2"):
            load_features(source)


def test_a_file_that_cannot_be_read_leaves_nothing_in_the_cache(source, folder):
    source.write_bytes(source.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"res101\.mat: cannot be read as a whole MATLAB or HDF5 file"):
        load_features(source)
    assert [path for path in (folder / "mat").iterdir() if path.suffix != ".lock"] == []


def test_values_beyond_float32_are_reported_as_infinite(source):
    write_v5(source, {"features": np.array([[1.0, 1e300]])})
    with pytest.raises(DataError, match="1 values are NaN or infinite"):
        load_features(source)


def test_a_cache_that_cannot_be_written_costs_a_warning(source, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "file"))
    matentry._say_once.cache_clear()
    with pytest.warns(UserWarning, match=r"the cache .* cannot be written .* set ZSLBENCH_CACHE"):
        found = load_features(source)
    read = count_reading(monkeypatch)
    assert variables(source).keys() == {"features", "labels"}  # said once, read once
    assert read == []
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
    assert len([path for path in (folder / "mat").iterdir() if path.is_dir()]) == 1


@pytest.mark.parametrize("save", [write_v5, write_v73], ids=["v5", "v7.3"])
def test_images_in_rows_are_told_by_the_labels_and_said(source, save):
    rows = np.arange(12.0).reshape(4, 3)
    save(source, {"features": rows, "labels": np.array([[1], [2], [2], [3]])})
    with pytest.warns(Hint, match=r"res101\.mat: features have shape \(4, 3\) for 4 labels: each image is .* a row"):
        found = load_features(source)
    np.testing.assert_array_equal(found.features, rows)
    assert found.features.flags.c_contiguous
    assert found.fingerprint == array_fingerprint(np.array(rows, np.float32))
    np.testing.assert_array_equal(read_arrays(source, ["features"])["features"], rows)


def test_images_in_rows_of_a_file_without_labels_are_told_by_their_number(source):
    rows = np.arange(12.0).reshape(4, 3)
    write_v5(source, {"features": rows})
    assert load_features(source).features.shape == (3, 4)
    assert load_features(source, 3).features.shape == (3, 4)
    with pytest.warns(Hint, match="a row"):
        found = load_features(source, 4)
    np.testing.assert_array_equal(found.features, rows)
    with pytest.raises(DataError, match=r"features have shape \(4, 3\) for 5 labels"):
        load_features(source, 5)


def test_as_many_images_as_dimensions_are_columns_and_said(source):
    write_v5(source, {"features": np.arange(9.0).reshape(3, 3), "labels": np.array([[1], [2], [3]])})
    with pytest.warns(Hint, match=r"shape \(3, 3\) for 3 labels: each image is taken to be a column"):
        found = load_features(source)
    np.testing.assert_array_equal(found.features, np.arange(9.0).reshape(3, 3).T)
