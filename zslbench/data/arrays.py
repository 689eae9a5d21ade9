"""The one reader of arrays from files: NumPy's, safetensors, PyTorch's, MATLAB's and HDF5; nothing is unpickled."""

from __future__ import annotations

import io
import json
import math
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zslbench.data import matfile
from zslbench.errors import DataError, UsageError
from zslbench.files import check_expansion, reading

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]

LONE = ""
"""The name of an array whose file gives it none."""
PICKLE, TORCH = b"\x80", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""What a pickle of today begins with, and what PyTorch wrote first into files before they became archives."""
PROTOCOLS, PICKLES = (b"\x02", b"\x03", b"\x04", b"\x05"), (".pkl", ".pickle", ".p")
"""What follows then, and what pickles of all times are called."""
CLASSES = ("classes", "class_names", "allclasses_names")
"""What an array may be called that gives names or numbers of classes, in the order of another's rows or columns."""
FORMATS = ".npy, .npz, .safetensors, .pt, .mat or .h5"


def read_arrays(path: Path, formats: str = FORMATS) -> dict[str, Array]:
    """Reads all arrays of a file, of numbers (at most 64 bits, real) or text. Its content says what it is.

    Args:
        path: .npy, whose array is called `LONE`; .npz; .safetensors, with its metadata as texts; .pt or .pth, a tensor
            (`LONE`) or a dictionary of tensors and lists; .mat, in MATLAB's orientation, cells of text flat; .h5 as
            Python writes it, but for arrays of more than two dimensions.
        formats: what the caller reads arrays from, for the error.

    Returns:
        Arrays by name. Floats that NumPy lacks, bfloat16 for one, become float32.

    Raises:
        UsageError: neither its content nor its suffix is any of these.
        DataError: the file is missing or damaged, an array is of another type, or it declares more than a file of its
            size can hold.
    """
    kind = kind_of(path)
    read = READERS.get(kind)
    if read is None:
        if path.is_file() and path.suffix.lower() in PICKLES:
            raise DataError(f"{path}: {unpickled(path)}")
        raise UsageError(f"{path}: arrays are read from {formats}, not from {path.suffix or 'a file without ending'}")
    with reading(path, kind), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of readers, on damaged files; what matters they raise
        arrays = read(path)
    for name, array in arrays.items():
        _check_type(path, name, array.dtype)
    return arrays


def kind_of(path: Path) -> str:
    """Returns the suffix that is usual for a file's content, its own where the content does not tell."""
    head = b""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return next((kind for kind, begins in KINDS.items() if begins(head)), path.suffix.lower())


def is_arrays(path: Path) -> bool:
    """Returns whether a file's content or name says that it holds arrays."""
    return kind_of(path) in READERS


def unpickled(path: Path) -> str:
    """Says why a pickle is not read, and how its owner makes arrays of it."""
    made = path.with_suffix(".npz").name
    return (
        "it is a pickle, which can run any code and is never read; where you trust it, convert a dictionary of arrays "
        f'by: import numpy, pickle; numpy.savez("{made}", **pickle.load(open("{path.name}", "rb")))'
    )


def called(name: str) -> str:
    """Returns how a message calls an array."""
    return "the array" if name == LONE else f"array {name!r}"


def real_numbers(path: Path, name: str, array: Array) -> Array:
    """Returns an array; raises a DataError if it is not of real numbers."""
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path}: {called(name)} is of type {array.dtype}, not real numbers")
    return array


def whole_numbers(path: Path, what: str, array: Array) -> NDArray[np.int64]:
    """Returns a list of whole numbers as int64, `(N,)`, from whatever type and shape.

    Raises:
        DataError: it is no list, or a value is no whole number of at most 2^53.
    """
    values = real_numbers(path, what, array)
    if max(values.shape, default=1) != values.size:
        raise DataError(f"{path}: {what} has shape {values.shape}; a list of numbers is needed")
    flat = values.ravel()
    with np.errstate(invalid="ignore"):
        bad = ~np.isfinite(flat) | (np.floor(flat) != flat) | (flat > 2**53) | (flat < -(2.0**53))
    if bad.any():
        row = int(bad.argmax())
        raise DataError(f"{path}: {what} holds {flat[row].item()!r} at place {row + 1}; whole numbers are needed")
    return flat.astype(np.int64)


def take_classes(path: Path, found: dict[str, Array]) -> tuple[str, ...] | None:
    """Takes what names the classes of rows or columns out of the arrays of a file, None if nothing does.

    Raises:
        DataError: several arrays do and differ, or one is no list of names or whole numbers.
    """
    given = {name: names_in(path, name, found.pop(name)) for name in CLASSES if name in found}
    if len(set(given.values())) > 1:
        raise DataError(f"{path}: its arrays {' and '.join(given)} differ; keep one of them")
    return next(iter(given.values()), None)


def names_in(path: Path, what: str, array: Array) -> tuple[str, ...]:
    """Returns names, or whole numbers as text; a single text, as safetensors' metadata are, must be a list in JSON."""
    if array.dtype.kind not in "US":
        return tuple(map(str, whole_numbers(path, what, array).tolist()))
    if array.ndim == 0:
        try:
            listed = json.loads(texts(array)[0])
        except ValueError:
            listed = None
        if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
            raise DataError(f"{path}: {what} is a single text; a list of names is needed, or one in JSON")
        return tuple(listed)
    if max(array.shape) != array.size:
        raise DataError(f"{path}: {what} has shape {array.shape}; a list of names is needed")
    return tuple(name.strip() for name in texts(array))


def parse_npy(path: Path, name: str, content: bytes) -> Array:
    """Returns the array of an .npy file in memory: it must hold just what its head declares.

    Raises:
        DataError: it holds more or less, or no numbers and no text.
    """
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise DataError(f"{path}: {called(name)} has version {version} of the format; save plain numbers or text")
    shape, fortran, dtype = readers[version](stream)
    _check_type(path, name, dtype)
    declared, there = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
    if min(shape, default=0) < 0 or declared != there or not dtype.itemsize:
        raise DataError(f"{path}: {called(name)} declares {declared} bytes of values and has {there}; it is damaged")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")


def parse_arrays(path: Path, name: str, kind: str, content: bytes) -> dict[str, Array]:
    """Reads all arrays of a file in an archive, as `read_arrays` does those of a file.

    Args:
        path: the archive, for messages.
        name: what the file in it is called.
        kind: .npy, .npz, .pt or .pth.
        content: the file.

    Raises:
        DataError: it is damaged, or an array is of another type.
    """
    where = Path(f"{path}: {name}")
    with reading(where, kind), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays = _from_numpy(where, content) if kind in (".npy", ".npz") else _from_pt(where, content)
    for own, array in arrays.items():
        _check_type(where, own, array.dtype)
    return arrays


def _read_numpy(path: Path) -> dict[str, Array]:
    return _read_archive(path) if _is_zipped(path) else _from_numpy(path, path.read_bytes())


def _from_numpy(path: Path, content: bytes) -> dict[str, Array]:
    if content.startswith(b"PK"):
        return _read_archive(path, content)
    if content.startswith(PICKLE):
        raise DataError(f"{path}: {unpickled(path)}")
    return {LONE: parse_npy(path, LONE, content)}


def _is_zipped(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _read_archive(path: Path, content: bytes | None = None) -> dict[str, Array]:
    """Reads a zip file, NumPy's or PyTorch's: what is at `path`, or content that is in memory."""
    with zipfile.ZipFile(path if content is None else io.BytesIO(content)) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if len(set(names)) < len(names):
            raise DataError(f"{path}: two members of the archive have one name; save it again")
        for member in members:
            if member.flag_bits & 1:
                raise DataError(f"{path}: {member.filename} is encrypted; save it without a password")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise DataError(f"{path}: {member.filename} is compressed by an unusual method; save it by numpy.savez")
        size = path.stat().st_size if content is None else len(content)
        check_expansion(path, sum(member.file_size for member in members), of=size)
        if any(name.endswith("data.pkl") for name in names):
            if (bad := archive.testzip()) is not None:  # PyTorch does not compare checksums
                raise DataError(f"{path}: {bad} in it is damaged: its checksum is another; save it again")
            return _read_torch(path, path.read_bytes() if content is None else content)
        if strange := [name for name in names if not name.endswith(".npy")]:
            raise DataError(f"{path}: {strange[0]} in it is no array; numpy.savez writes only .npy files")
        return {name[:-4]: parse_npy(path, name[:-4], archive.read(name)) for name in names}


def _read_torch(path: Path, content: bytes) -> dict[str, Array]:
    """Reads what PyTorch saved, from memory, where a length that is damaged cannot ask for more than there is."""
    import torch

    if not content.startswith((b"PK", TORCH)):
        raise DataError(f"{path}: {unpickled(path) if content.startswith(PICKLE) else 'PyTorch did not save it'}")
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path}: it is damaged, or holds objects of Python beside tensors, which only unpickling could read; "
            "save the tensors alone, by torch.save({'features': x, 'labels': y}, FILE)"
        ) from error
    found = loaded if isinstance(loaded, dict) else {LONE: loaded}
    return {str(name): _from_torch(path, str(name), value, len(content)) for name, value in found.items()}


def _read_pt(path: Path) -> dict[str, Array]:
    return _read_archive(path) if _is_zipped(path) else _read_torch(path, path.read_bytes())


def _from_pt(path: Path, content: bytes) -> dict[str, Array]:
    return _read_archive(path, content) if content.startswith(b"PK") else _read_torch(path, content)


def _from_torch(path: Path, name: str, value: object, size: int) -> Array:
    import torch

    if isinstance(value, torch.Tensor):
        return _from_tensor(path, name, value, size)
    flat = list(value) if isinstance(value, list | tuple) else [value]
    if flat and (all(isinstance(x, str) for x in flat) or all(isinstance(x, int | float) for x in flat)):
        return np.array(flat if isinstance(value, list | tuple) else flat[0])
    raise DataError(f"{path}: {called(name)} is {type(value).__name__}, neither a tensor nor a list of numbers or text")


def _from_tensor(path: Path, name: str, tensor: Tensor, size: int) -> Array:
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise DataError(f"{path}: {called(name)} is a sparse or quantized tensor; save it by .to_dense().float()")
    check_expansion(path, tensor.numel() * tensor.element_size(), called(name), size)
    if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
        tensor = tensor.float()
    array: Array = tensor.detach().numpy()
    return array


def _read_safetensors(path: Path) -> dict[str, Array]:
    import safetensors

    size = path.stat().st_size
    with safetensors.safe_open(path, framework="pt") as file:  # NumPy has no bfloat16
        arrays = {name: _from_tensor(path, name, file.get_tensor(name), size) for name in file.keys()}  # noqa: SIM118
        texts = {name: np.array(text) for name, text in (file.metadata() or {}).items() if name != "format"}
    return texts | arrays


def _read_mat(path: Path) -> dict[str, Array]:
    return {name: variable(path, name) for name in matfile.variables(path)}


def _read_hdf5(path: Path) -> dict[str, Array]:
    turned = not matfile.is_matlab(path)
    shapes = matfile.variables(path)
    found = {name: variable(path, name) for name, shape in shapes.items() if not turned or len(shape) <= 2}
    return {name: array.T for name, array in found.items()} if turned else found


def variable(path: Path, name: str) -> Array:
    """Reads a variable of a MATLAB or HDF5 file, of numbers or text, in MATLAB's orientation.

    Raises:
        DataError: the file is missing or damaged, or the variable is neither.
    """
    try:
        return matfile.read_arrays(path, [name])[name]
    except DataError:  # text, or a file that says so once more
        return np.array(matfile.read_strings(path, name) or (), dtype=np.str_)


def _check_type(path: Path, name: str, dtype: np.dtype[Any]) -> None:
    if dtype.kind == "O":
        raise DataError(f"{path}: {called(name)} holds Python objects, which only unpickling could read; save numbers")
    if dtype.kind not in "biufUS" or (dtype.kind == "f" and dtype.itemsize > 8):
        raise DataError(f"{path}: {called(name)} is of type {dtype}; save it as float32 or float64")


Reader = Callable[[Path], dict[str, Array]]
READERS: dict[str, Reader] = {
    ".npy": _read_numpy,
    ".npz": _read_numpy,
    ".safetensors": _read_safetensors,
    ".pt": _read_pt,
    ".pth": _read_pt,
    ".mat": _read_mat,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}
HDF5, HDF5_BLOCK, HEAD_BYTES = b"\x89HDF\r\n\x1a\n", 512, 520
"""What HDF5 begins with, in MATLAB's files after a block of this size; and how much of a file tells its kind."""
MAT_VERSIONS = (b"\x00\x01IM", b"\x01\x00MI")
KINDS: dict[str, Callable[[bytes], bool]] = {
    ".npy": lambda head: head.startswith(b"\x93NUMPY"),
    ".npz": lambda head: _first_member(head).endswith((b".npy", b"data.pkl")),  # PyTorch's archives are read alike
    ".pt": lambda head: head.startswith(PICKLE) and head[1:2] in PROTOCOLS,
    ".h5": lambda head: head.startswith(HDF5),
    ".mat": lambda head: head[HDF5_BLOCK:].startswith(HDF5) or head[124:128] in MAT_VERSIONS,
    ".safetensors": lambda head: head[8:9] == b"{" and not any(head[5:8]),
    ".parquet": lambda head: head.startswith(b"PAR1"),
    ".tar": lambda head: head[257:262] == b"ustar",
}


def _first_member(head: bytes) -> bytes:
    """Returns the name of the first member of a zip archive, empty if it is none: workbooks are archives too."""
    return head[30 : 30 + int.from_bytes(head[26:28], "little")] if head.startswith(b"PK\x03\x04") else b""


def texts(array: Array) -> list[str]:
    """Returns the texts of an array, flat; bytes are read as UTF-8, and what cannot be is replaced."""
    values: Iterable[Any] = array.ravel().tolist()
    return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values]
