"""The MATLAB reader: both file versions give the same values, and bad files give one line."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from matmutation import KINDS
from synthetic import truncate, write_v5, write_v73

from zslbench.data import matentry
from zslbench.data.cache import load_features
from zslbench.data.matfile import indices, read_arrays, read_strings, variables
from zslbench.errors import DataError

WRITERS = pytest.mark.parametrize("write", [write_v5, write_v73], ids=["v5", "v7.3"])
MATRIX = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


@pytest.fixture(params=[write_v5, write_v73], ids=["v5", "v7.3"])
def file(request, tmp_path: Path) -> Path:
    path = tmp_path / "some.mat"
    request.param(path, {"features": MATRIX, "labels": np.array([[3], [1], [2]]), "names": ["één", "", "twee x"]})
    return path


def test_a_matrix_comes_in_matlabs_orientation(file):
    np.testing.assert_array_equal(read_arrays(file, ["features"])["features"], MATRIX)
    assert variables(file)["features"] == (2, 3)


def test_cells_of_strings_come_in_order_with_accents_and_empty_ones(file):
    assert read_strings(file, "names") == ("één", "", "twee x")


def test_an_absent_cell_array_is_none_and_an_absent_optional_array_is_left_out(file):
    assert read_strings(file, "image_files") is None
    assert read_arrays(file, ["labels"], optional=["train_loc"]).keys() == {"labels"}


def test_a_missing_variable_names_file_variable_and_what_is_there(file):
    with pytest.raises(
        DataError, match=r"some\.mat: variable 'att' is missing; the file holds features, labels, names"
    ):
        read_arrays(file, ["att"])


def test_strings_where_numbers_are_needed_and_the_reverse_are_named(file):
    with pytest.raises(DataError, match=r"some\.mat: variable 'names' is not a full matrix of real numbers"):
        read_arrays(file, ["names"])
    with pytest.raises(DataError, match=r"some\.mat: variable 'labels' is not a cell array of strings"):
        read_strings(file, "labels")


def test_a_sparse_matrix_is_refused(tmp_path):
    write_v5(tmp_path / "sparse.mat", {"features": scipy.sparse.csc_matrix(MATRIX)})
    with pytest.raises(DataError, match="not a full matrix"):
        read_arrays(tmp_path / "sparse.mat", ["features"])


def test_a_character_matrix_is_one_string_a_row(tmp_path):
    write_v5(tmp_path / "chars.mat", {"names": np.array(["ab ", "cde"])})
    assert read_strings(tmp_path / "chars.mat", "names") == ("ab", "cde")


@WRITERS
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.3, 0.6, 0.95])
def test_a_truncated_file_gives_one_line_that_names_it(write, keep, tmp_path):
    path = tmp_path / "cut.mat"
    write(path, {"features": np.random.default_rng(0).normal(size=(50, 80))})
    truncate(path, keep)
    with pytest.raises(DataError, match=r"cut\.mat") as caught:
        read_arrays(path, ["features"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"hello, I am text\n" * 50, bytes(5000), b"PK\x03\x04" + bytes(range(256)) * 9]
)
def test_a_file_that_is_not_matlabs_gives_one_line_that_names_it(content, tmp_path):
    path = tmp_path / "other.mat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"other\.mat: ") as caught:
        read_arrays(path, ["features"])
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_said_to_be_so(tmp_path):
    with pytest.raises(DataError, match=r"no\.mat: there is no such file"):
        read_arrays(tmp_path / "no.mat", ["features"])
    with pytest.raises(DataError, match=r"cannot be read"):
        read_arrays(tmp_path, ["features"])


def test_indices_count_from_zero_whatever_the_number_type():
    for dtype in (np.float64, np.uint16, np.int32):
        found = indices(np.array([[3], [1]], dtype=dtype), "labels")
        assert found.dtype == np.int64
        assert found.tolist() == [2, 0]


NO_INDICES = [[1.0, 0.0], [1.0, -1.0], [1.5], [np.nan], [np.inf], [1e300], [-1], [2**63], [2**64 - 1], [True], [1 + 1j]]


@pytest.mark.parametrize("bad", NO_INDICES, ids=str)
def test_an_index_that_is_no_whole_number_from_one_or_would_wrap_is_refused(bad):
    with pytest.raises(DataError, match=r"x\.mat: labels must be whole numbers from 1"):
        indices(np.array(bad), "x.mat: labels")


def crashing(path: Path) -> Path:
    """Writes a file whose values are of no known type, for which scipy reads through a null pointer."""
    write_v5(path, {"features": MATRIX}, compress=False)
    content = path.read_bytes()
    tag = struct.pack("<II", 9, MATRIX.nbytes)
    assert content.count(tag) == 1
    path.write_bytes(content.replace(tag, struct.pack("<II", 8, MATRIX.nbytes)))
    return path


READERS: dict[str, Callable[[Path], object]] = {
    "arrays": lambda path: read_arrays(path, ["features"]),
    "strings": lambda path: read_strings(path, "features"),
    "variables": variables,
    "features": load_features,
}


@pytest.mark.skipif(sys.platform != "linux", reason="that this file crashes the library was seen on Linux")
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_file_that_crashes_the_reading_library_is_one_line(read, tmp_path):
    with pytest.raises(DataError, match=r"x\.mat: damaged; the reading library crashed \(signal \d+\); fetch or save"):
        read(crashing(tmp_path / "x.mat"))


def test_a_file_that_is_read_without_end_is_one_line(file, monkeypatch):
    monkeypatch.setattr(matentry, "SECONDS", 0)
    monkeypatch.setattr(matentry, "file_digest", lambda path: "another")
    with pytest.raises(DataError, match=r"some\.mat: damaged; reading it did not end within 0 s"):
        variables(file)


def test_a_reading_process_that_is_ended_or_fails_is_not_called_damage(file, monkeypatch, tmp_path):
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    for code, message in [
        ("import os; os.kill(os.getpid(), 9)", r"was ended \(signal 9\); is memory short\?"),
        ("raise SystemExit('no such library')", r"failed \(exit status 1: no such library\)"),
        ("", r"failed \(exit status 0: no message\)"),
    ]:
        (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
        (tmp_path / "python").chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
        with pytest.raises(DataError, match=rf"some\.mat: cannot be read, because the process that read it {message}"):
            variables(file)
        monkeypatch.undo()
        monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold the limit")
def test_the_memory_of_the_reading_process_is_limited():
    code = "import numpy; from zslbench.data.matchild import limit_memory; limit_memory(2**28); numpy.ones(2**26)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "MemoryError" in ended.stderr


def test_the_reading_process_imports_no_more_than_it_needs():
    code = "import sys, zslbench.data.matchild as _; print({name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "numpy" in loaded
    assert not [name for name in ("torch", "scipy", "h5py", "pandas", "pydantic", "filelock") if f"'{name}'" in loaded]


def test_a_module_in_the_working_folder_and_plugins_of_hdf5_are_not_run(file, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HDF5_PLUGIN_PATH", str(tmp_path))
    monkeypatch.setenv("HDF5_VOL_CONNECTOR", "stranger")
    assert variables(file)["features"] == (2, 3)
    assert [name for name in matentry._environment() if name.startswith("HDF5")] == ["HDF5_PLUGIN_PRELOAD"]


@pytest.mark.parametrize("compress", [True, False])
def test_a_variable_whose_length_leads_past_the_end_hides_none_behind_it(compress, tmp_path):
    path = tmp_path / "x.mat"
    write_v5(path, {"a": MATRIX, "features": MATRIX}, compress=compress)
    content = bytearray(path.read_bytes())
    content[133] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.mat: cannot be read as a whole MATLAB or HDF5 file"):
        read_arrays(path, ["a"], ["features"])


def test_no_flipped_bit_of_a_compressed_variable_becomes_a_number(tmp_path):
    path = tmp_path / "x.mat"
    write_v5(path, {"features": MATRIX})
    sound, outcomes = path.read_bytes(), set()
    for place in range(136, len(sound), 29):
        content = bytearray(sound)
        content[place] ^= 4
        path.write_bytes(content)
        try:
            outcomes.add(read_arrays(path, ["features"])["features"].tobytes())
        except DataError:
            outcomes.add(b"error")
    assert outcomes <= {b"error", MATRIX.astype(np.float32).tobytes()}


def test_two_variables_of_one_name_are_refused(tmp_path):
    path = tmp_path / "x.mat"
    write_v5(path, {"features": MATRIX, "featurez": MATRIX}, compress=False)
    path.write_bytes(path.read_bytes().replace(b"featurez", b"features"))
    with pytest.raises(DataError, match=r"it holds two variables 'features'"):
        read_arrays(path, ["features"])


def hdf5(path: Path, fill: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def size_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def external(file: h5py.File) -> None:
    file.create_dataset("features", (4, 2), "u1", external=[("/etc/passwd", 0, 8)])


def linked(file: h5py.File) -> None:
    Path(file.filename).with_name("other.h5").write_bytes(b"")
    hdf5(Path(file.filename).with_name("other.h5"), lambda other: other.create_dataset("x", data=MATRIX))
    file["features"] = h5py.ExternalLink("other.h5", "x")


def soft(file: h5py.File) -> None:
    linked(file)
    file.move("features", "outside")
    file["features"] = h5py.SoftLink("/outside")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3, 2), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3, 2))
    file.create_virtual_dataset("features", layout)


def declared(file: h5py.File) -> None:
    file.create_dataset("features", (400_000, 2048), "f4", chunks=(100, 64), fillvalue=1.0)


def in_part(file: h5py.File) -> None:
    file.create_dataset("features", (40, 16), "f8", chunks=(10, 16))[:30] = 1.0


REFUSED = {
    "external storage": (external, "keeps its values in other files"),
    "external link": (linked, "is a link"),
    "soft link": (soft, "is a link"),
    "virtual": (virtual, "keeps its values in other files"),
    "nothing stored": (declared, r"is not whole: it declares 3,276\.8 MB, of which 0% is stored"),
    "stored in part": (in_part, r"is not whole: .* of which 75% is stored"),
    "compound": (lambda file: file.create_dataset("features", (3, 2), [("a", "f4"), ("b", "f4")]), "is of type"),
    "texts": (lambda file: file.create_dataset("features", data=np.array([[b"1", b"2"]])), "is of type"),
    "sequences": (lambda file: file.create_dataset("features", (3, 2), h5py.vlen_dtype("f4")), "is of type"),
    "regions": (lambda file: file.create_dataset("features", (3, 2), h5py.regionref_dtype), "is of type"),
    "complex": (lambda file: file.create_dataset("features", data=MATRIX * 1j), "is of type complex128"),
    "cells of numbers": (
        lambda file: file.create_dataset(
            "features", data=np.array([[file.create_dataset("x", data=MATRIX).ref]], h5py.ref_dtype)
        ),
        "is neither a full matrix of real numbers nor a cell array of strings",
    ),
    "no dimension": (lambda file: file.create_dataset("features", data=1.0), r"has shape \(\)"),
    "three dimensions": (
        lambda file: file.create_dataset("features", data=np.ones((2, 3, 4))),
        r"has shape \(4, 3, 2\); only matrices are read",
    ),
    "empty": (lambda file: file.create_dataset("features", data=h5py.Empty("f4")), "is of type"),
}


@pytest.mark.parametrize(("fill", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_matrix_within_the_file_is_named(fill, why, tmp_path, monkeypatch):
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    path = hdf5(tmp_path / "x.mat", fill)
    with pytest.raises(DataError, match=rf"x\.mat: variable 'features' {why}"):
        load_features(path)
    assert size_below(tmp_path / "cache") < 10_000


def test_a_cell_that_keeps_its_text_in_another_file_is_refused(tmp_path):
    def fill(file: h5py.File) -> None:
        cell = file.create_dataset("cell", (4, 1), "u2", external=[("/etc/passwd", 0, 8)])
        file.create_dataset("names", data=np.array([[cell.ref]], h5py.ref_dtype)).attrs["MATLAB_class"] = np.bytes_(
            "cell"
        )

    with pytest.raises(DataError, match="'names' is not a cell array of strings"):
        read_strings(hdf5(tmp_path / "x.mat", fill), "names")


def zeros_v73(path: Path) -> None:
    hdf5(path, lambda file: file.create_dataset("features", data=np.zeros((100_000, 200), "f4"), compression="gzip"))


def zeros_v5(path: Path) -> None:
    scipy.io.savemat(path, {"features": np.zeros((200, 100_000), "f4")}, do_compression=True)


def declared_v5(path: Path) -> None:
    write_v5(path, {"features": MATRIX}, compress=False)
    path.write_bytes(path.read_bytes().replace(struct.pack("<ii", 2, 3), struct.pack("<ii", 2**14, 2**14)))


@pytest.mark.parametrize("make", [zeros_v73, zeros_v5, declared_v5])
def test_a_small_file_that_declares_a_large_matrix_fills_neither_memory_nor_disk(make, tmp_path, monkeypatch):
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    make(tmp_path / "x.mat")
    with pytest.raises(DataError, match=r"x\.mat: it declares [\d,]+ MB of content in a file of 0\.\d+ MB"):
        load_features(tmp_path / "x.mat")
    assert size_below(tmp_path / "cache") < 10_000


def damages(count: int, *kinds: str) -> list[tuple[str, str, str, int]]:
    script = Path(__file__).parents[1] / "matmutation.py"
    command = [sys.executable, str(script), "--count", str(count), *kinds]
    told = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    lines = [line.split() for line in told.stdout.splitlines() if line.startswith("v")]
    return [(kind, how, outcome, int(times)) for kind, how, outcome, times in lines]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks for each file")
@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_files_give_the_same_one_line_or_another_valid_file(count):
    """What has no checksum of its own may be another valid file: other numbers, another name, an early end."""
    found = damages(count)
    assert {kind for kind, *_ in found} == set(KINDS)
    assert sum(times for *_, times in found) == count * len(KINDS)
    assert {outcome for _, _, outcome, _ in found} <= {"same", "error", "crash", "other", "lost"}
    assert {outcome for kind, how, outcome, _ in found if kind[:3] == "v5z" and how != "cut"} <= {"same", "error"}
    assert {outcome for _, how, outcome, _ in found if how == "cut"} <= {"same", "error", "crash", "lost"}
