"""The one reader of arrays: what every format gives, and one clean error for what is damaged, foreign or too large."""

from __future__ import annotations

import io
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import scipy.io
import torch

from zslbench.data.arrays import LONE, read_arrays, whole_numbers
from zslbench.errors import DataError, UsageError

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def npy(array: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


@pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8", "i1", "<u8", "?", "<U3", "S3"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_and_text_of_every_type_come_back(tmp_path: Path, kind: str, order: Any) -> None:
    array = np.asarray(ROWS.astype(kind), order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", one=array, other=array[0, 0])
    np.savez_compressed(tmp_path / "b.npz", one=array, other=array[0, 0])
    np.testing.assert_array_equal(read_arrays(tmp_path / "a.npy")[LONE], array)
    for name in ("a.npz", "b.npz"):
        found = read_arrays(tmp_path / name)
        assert list(found) == ["one", "other"] and found["other"].shape == ()
        np.testing.assert_array_equal(found["one"], array)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn, torch.int16])
def test_tensors_of_every_type_come_back(tmp_path: Path, kind: torch.dtype) -> None:
    tensor = torch.tensor(ROWS).to(kind)
    torch.save(
        {"one": torch.nn.Parameter(tensor, requires_grad=False), "names": ["a", "b"], "epoch": 3}, tmp_path / "a.pt"
    )
    torch.save(tensor.float().T, tmp_path / "old.pth", _use_new_zipfile_serialization=False)  # which knows no float8
    safetensors.torch.save_file({"one": tensor}, tmp_path / "a.safetensors", {"format": "pt", "note": "x"})
    found = read_arrays(tmp_path / "a.pt")
    np.testing.assert_array_equal(found["one"], ROWS)
    assert found["names"].tolist() == ["a", "b"] and found["epoch"] == 3
    np.testing.assert_array_equal(read_arrays(tmp_path / "old.pth")[LONE], ROWS.T)
    found = read_arrays(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(found["one"], ROWS)
    assert list(found) == ["note", "one"] and found["note"] == "x"


def test_matlabs_variables_come_in_its_orientation_and_cells_as_text(tmp_path: Path) -> None:
    cells = np.array(["a", "größe"], dtype=object)
    scipy.io.savemat(tmp_path / "a.mat", {"one": ROWS, "names": cells, "text": "abc"})
    found = read_arrays(tmp_path / "a.mat")
    np.testing.assert_array_equal(found["one"], ROWS)
    assert found["names"].tolist() == ["a", "größe"] and found["text"].tolist() == ["abc"]


def test_an_archive_is_read_by_what_it_holds(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, one=ROWS)
    torch.save({"one": torch.tensor(ROWS)}, tmp_path / "a.npz")
    for name in ("a.npy", "a.npz"):
        np.testing.assert_array_equal(read_arrays(tmp_path / name)["one"], ROWS)


def encrypted(path: Path) -> None:
    archive(path, {"a.npy": npy(ROWS)})
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(mark) + offset] |= 1
    path.write_bytes(content)


def twice(path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", npy(ROWS))
        file.writestr("a.npy", npy(2 * ROWS))


def forged(path: Path) -> None:
    """A head that declares 8 GB."""
    archive(path, {"a.npy": npy(ROWS).replace(b"(3, 4), }" + b" " * 9, b"(2000000000,), }  ")})


def declared(path: Path) -> None:
    """A zip directory that declares 4 GB."""
    archive(path, {"a.npy": npy(ROWS)})
    content = bytearray(path.read_bytes())
    start = content.find(b"PK\x01\x02") + 24
    content[start : start + 4] = b"\xff\xff\xff\xfe"
    path.write_bytes(content)


def damaged_tensor(path: Path) -> None:
    torch.save(torch.tensor(ROWS), path)
    content = path.read_bytes()
    path.write_bytes(content.replace(ROWS.tobytes(), (ROWS + 1).tobytes()))


def wrote(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def saved(content: object) -> Callable[[Path], object]:
    return lambda path: torch.save(content, path)


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "long double": (
        ".npy",
        wrote(npy(ROWS.astype(np.longdouble))),
        "the array is of type float128; save it as float32",
    ),
    "complex": (".npy", wrote(npy(ROWS + 1j)), "the array is of type complex64; save it as float32 or float64"),
    "objects": (".npy", wrote(npy(np.array([None]), allow_pickle=True)), "the array holds Python objects"),
    "records": (".npy", wrote(npy(np.zeros(2, dtype="f4,i4"))), "save it as float32 or float64"),
    "dates": (".npy", wrote(npy(np.zeros(2, dtype="M8[s]"))), "is of type datetime64[s]"),
    "pickle": (".npy", wrote(pickle.dumps(ROWS)), "it is a pickle, which can run any code and is never read"),
    "more than declared": (
        ".npy",
        wrote(npy(ROWS) + bytes(4)),
        "declares 48 bytes of values and has 52; it is damaged",
    ),
    "less than declared": (".npy", wrote(npy(ROWS)[:-4]), "declares 48 bytes of values and has 44; it is damaged"),
    "negative shape": (".npy", wrote(npy(ROWS).replace(b"(3, 4)", b"(-3,-4)")), "it is damaged"),
    "no expression": (".npy", wrote(npy(ROWS).replace(b"(3, 4)", b"'''(3,")), "cannot be read as .npy"),
    "odd version": (".npy", wrote(npy(ROWS).replace(b"NUMPY\x01", b"NUMPY\x03")), "has version (3, 0) of the format"),
    "head of 4 GB": (".npy", wrote(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"), "cannot be read as .npy"),
    "empty": (".npz", wrote(b""), "cannot be read as .npz"),
    "encrypted": (".npz", encrypted, "a.npy is encrypted; save it without a password"),
    "bzip2": (".npz", lambda p: archive(p, {"a.npy": npy(ROWS)}, zipfile.ZIP_BZIP2), "compressed by an unusual method"),
    "two of one name": (".npz", twice, "two members of the archive have one name"),
    "no array": (".npz", lambda p: archive(p, {"a.txt": b"x"}), "a.txt in it is no array"),
    "objects inside": (".npz", lambda p: np.savez(p, a=np.array([None])), "array 'a' holds Python objects"),
    "forged head": (".npz", forged, "array 'a' declares 8000000000 bytes of values and has"),
    "forged directory": (".npz", declared, "it declares 4,278 MB of content in a file of 0.00 MB"),
    "bomb": (
        ".npz",
        lambda p: np.savez_compressed(p, a=np.zeros(9_000_000)),
        "the file is damaged, or made to fill memory",
    ),
    "function": (".pt", saved(print), "cannot be read as .pt (UnpicklingError"),
    "module": (".pt", saved(torch.nn.Linear(2, 2)), "cannot be read as .pt (UnpicklingError"),
    "sparse": (".pt", saved(torch.tensor(ROWS).to_sparse()), "is a sparse or quantized tensor"),
    "dictionary inside": (".pt", saved({"model": {"w": torch.ones(2)}}), "array 'model' is dict, neither a tensor nor"),
    "mixed list": (".pt", saved({"names": ["a", 1]}), "array 'names' is list, neither a tensor nor a list"),
    "one value as many": (".pt", saved(torch.zeros(1).expand(10**10)), "made to fill memory"),
    "other values": (".pt", damaged_tensor, "its checksum is another; save it again"),
    "no tensors": (".safetensors", wrote(b"\xff" * 100), "cannot be read as .safetensors"),
    "complex tensor": (".pt", saved(torch.ones(2, dtype=torch.complex64)), "is of type complex64"),
    "no matrix": (".mat", wrote(b"MATLAB"), "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_damaged_foreign_or_too_large_is_one_line_and_takes_no_memory(tmp_path: Path, case: str) -> None:
    suffix, write, said = BAD[case]
    path = tmp_path / f"bad{suffix}"
    write(path)
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as error:
            read_arrays(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value) and "\n" not in str(error.value)
    assert peak < 5e7


def test_what_is_not_there_or_of_another_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_arrays(tmp_path / "nowhere.npz")
    with pytest.raises(UsageError, match=r"arrays are read from .*, not from \.h5"):
        read_arrays(tmp_path / "a.h5")


@pytest.mark.parametrize("values", [[1.5], [np.nan], [np.inf], [1e300], [[1, 2], [3, 4]], ["1"], [2**63]])
def test_whole_numbers_are_no_others(values: Any) -> None:
    with pytest.raises(DataError, match=r"^a.npz: ") as error:
        whole_numbers(Path("a.npz"), "images", np.array(values))
    assert "images" in str(error.value)


@pytest.mark.parametrize("values", [[3.0, 1.0], [[3], [1]], [[3, 1]], np.array([3, 1], dtype=np.uint8)])
def test_whole_numbers_come_from_every_type_and_shape(values: Any) -> None:
    found = whole_numbers(Path("a.npz"), "images", np.array(values))
    assert found.tolist() == [3, 1] and found.dtype == np.int64
