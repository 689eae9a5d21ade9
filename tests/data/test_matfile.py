"""The MATLAB reader: both file versions give the same values, and bad files give one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
from synthetic import truncate, write_v5, write_v73

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


@pytest.mark.parametrize("bad", [0.0, -1.0, 1.5, np.nan, np.inf])
def test_an_index_that_is_no_whole_number_from_one_is_refused(bad):
    with pytest.raises(DataError, match=r"x\.mat: labels must be whole numbers from 1"):
        indices(np.array([[1.0], [bad]]), "x.mat: labels")
