"""MATLAB files as written: scipy and our own reader find in them what went in, and memory stays small."""

from __future__ import annotations

import errno
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from zslbench.data import matfile
from zslbench.data.matfile import read_arrays, read_strings, write_mat
from zslbench.errors import DataError

NAMES = ["a/1.png", "Ährenfeld/日本.png", "c"]
ROWS = np.arange(15, dtype=np.float32).reshape(3, 5) / 7


@pytest.fixture(params=["5", "7.3"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "7.3":
        monkeypatch.setattr(matfile, "V5_BYTES", ROWS.nbytes)
    return str(request.param)


def test_our_reader_finds_what_was_written(tmp_path: Path, version: str) -> None:
    path = tmp_path / "new" / "x.mat"
    labels = np.array([[1.0], [2.0], [2.0]])
    write_mat(path, {"labels": labels, "image_files": NAMES, "source": "{}"}, {"features": ROWS})
    assert h5py.is_hdf5(path) == (version == "7.3")
    found = read_arrays(path, ["features", "labels"])
    np.testing.assert_array_equal(found["features"], ROWS.T)
    assert found["features"].dtype == np.float32
    np.testing.assert_array_equal(found["labels"], labels)
    assert read_strings(path, "image_files") == tuple(NAMES)
    assert read_strings(path, "source") == ("{}",)
    assert [file.name for file in path.parent.iterdir()] == ["x.mat"]


@pytest.mark.parametrize("last", ["c", "blank "])
def test_many_texts_are_a_matrix_of_characters_unless_it_would_change_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    monkeypatch.setattr(matfile, "V5_BYTES", ROWS.nbytes)
    monkeypatch.setattr(matfile, "CELLS", 2)
    names = [*NAMES[:2], "𝄞", "", last]
    write_mat(tmp_path / "x.mat", {"image_files": names}, {"features": ROWS})
    assert read_strings(tmp_path / "x.mat", "image_files") == tuple(names)
    with h5py.File(tmp_path / "x.mat") as file:
        assert file["image_files"].attrs["MATLAB_class"] == (b"cell" if last == "blank " else b"char")


def test_equal_content_gives_equal_files(tmp_path: Path, version: str) -> None:
    for name in ("x.mat", "y.mat"):
        write_mat(tmp_path / name, {"image_files": NAMES}, {"features": ROWS})
    assert (tmp_path / "x.mat").read_bytes() == (tmp_path / "y.mat").read_bytes()


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 3), (4097, 2)])
def test_scipy_reads_matrices_of_any_length(tmp_path: Path, shape: tuple[int, int]) -> None:
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    write_mat(tmp_path / "x.mat", {"a": np.ones((2, 2))}, {"features": rows})
    np.testing.assert_array_equal(scipy.io.loadmat(tmp_path / "x.mat")["features"], rows.T)


def test_a_large_matrix_is_not_held_in_memory(tmp_path: Path, version: str) -> None:
    rows = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(200_000, 100))
    tracemalloc.start()
    write_mat(tmp_path / "x.mat", {}, {"features": rows})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows.nbytes == 80_000_000
    assert peak < 10_000_000


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(rows: np.ndarray) -> Iterator[np.ndarray]:
        yield rows
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(matfile, "_blocks", full)
    with pytest.raises(DataError, match=r"x\.mat: cannot be written \(No space left on device\)"):
        write_mat(tmp_path / "x.mat", {"a": np.ones(1)}, {"features": ROWS})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a file")
    with pytest.raises(DataError, match=r"x\.mat: cannot be written"):
        write_mat(tmp_path / "f" / "x.mat", {"a": np.ones(1)})
