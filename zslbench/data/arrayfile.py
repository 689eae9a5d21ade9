"""Files of arrays as layouts see them: names and shapes first, values when they are asked for."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zslbench.api.layout import ArrayFile
from zslbench.data import matfile
from zslbench.data.arrays import FORMATS, kind_of, read_arrays, variable
from zslbench.data.made import Progress
from zslbench.data.matchild import MAPS, POOLS
from zslbench.data.parquet import open_parquet
from zslbench.data.shardrows import forget
from zslbench.data.tarshards import open_tars
from zslbench.errors import DataError, UsageError

Array = NDArray[Any]

Opener = Callable[[Sequence[Path], Progress | None], ArrayFile]
OPENERS: dict[str, Opener] = {".parquet": open_parquet, ".tar": open_tars}
"""How shards are opened, by the suffix of their kind."""
WITH_SHARDS = f"{FORMATS}, or shards from .parquet or .tar"
TARS = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
"""What compressed tars are called."""


def open_arrays(path: Path) -> ArrayFile:
    """Opens a file of arrays; its content says of which kind it is, whatever its name.

    Raises:
        UsageError: it is of no kind that holds arrays.
        DataError: it is missing, damaged, or a pickle.
    """
    if kind := _shard_kind(path):
        return OPENERS[kind]([path], None)
    if kind_of(path) not in (".mat", ".h5", ".hdf5"):
        arrays = read_arrays(path, WITH_SHARDS)
        shapes = {name: array.shape for name, array in arrays.items()}
        return ArrayFile(path, shapes, False, partial(_given, path, arrays), partial(_pooled, path, arrays))
    shapes, matlab = matfile.variables(path), matfile.is_matlab(path)
    if not matlab:
        shapes = {name: shape[::-1] for name, shape in shapes.items()}
    return ArrayFile(path, shapes, matlab, partial(_variable, path, matlab), partial(matfile.read_pooled, path))


def open_files(paths: Sequence[Path], progress: Progress | None = None) -> list[ArrayFile]:
    """Opens files of arrays, of which all in Parquet are shards of one, and so are all tars of samples.

    Args:
        paths: the files; those of shards in the order of their images.
        progress: is told how many images are read of features in shards.

    Raises:
        UsageError: one is of no kind that holds arrays.
        DataError: one is missing, damaged, a pickle, or a shard unlike the first.
    """
    shards, files = _shards(paths), [path for path in paths if not _shard_kind(path)]
    return [*(OPENERS[kind](own, progress) for kind, own in shards.items()), *map(open_arrays, files)]


def forget_rows(paths: Sequence[Path]) -> None:
    """Removes what the cache has of features in shards, once a data set holds them."""
    for own in _shards(paths).values():
        forget(own)


def _shards(paths: Sequence[Path]) -> dict[str, list[Path]]:
    kinds = [_shard_kind(path) for path in paths]
    every = {kind: [path for path, own in zip(paths, kinds, strict=True) if own == kind] for kind in OPENERS}
    return {kind: own for kind, own in every.items() if own}


def _shard_kind(path: Path) -> str:
    kind = kind_of(path)
    return kind if kind in OPENERS else ".tar" if path.name.lower().endswith(TARS) else ""


def split_name(text: str) -> tuple[Path, str]:
    """Splits `FILE:ARRAY` into the file and the name of an array in it, which is empty where `text` is a file.

    Raises:
        UsageError: there is no such file.
    """
    path = Path(text).expanduser()
    head, colon, name = text.rpartition(":")
    if path.is_file() or not colon or not Path(head).expanduser().is_file():
        return path, ""
    return Path(head).expanduser(), name


def opened(option: str, text: str) -> tuple[ArrayFile, str]:
    """Opens `FILE` or `FILE:ARRAY`, and checks that there is such an array; its name is empty if none was given.

    Raises:
        UsageError: there is no such file or array, or it is of no kind that holds arrays.
        DataError: it is damaged.
    """
    path, name = split_name(text)
    if not path.is_file():
        raise UsageError(f"{option} {text}: there is no such file; give one that holds arrays ({WITH_SHARDS})")
    file = open_arrays(path)
    if name and name not in file.shapes:
        raise UsageError(f"{option} {text}: {path} has no array {name!r}; it has {', '.join(file.shapes) or 'none'}")
    return file, name


def _given(path: Path, arrays: dict[str, Array], name: str) -> Array:
    if name not in arrays:
        raise DataError(f"{path}: it has no array {name!r}")
    return arrays[name]


def _variable(path: Path, matlab: bool, name: str) -> Array:
    array = variable(path, name)
    return array if matlab else array.T


def _pooled(path: Path, arrays: dict[str, Array], name: str, how: str) -> NDArray[np.float32]:
    maps = _given(path, arrays, name)
    if maps.ndim != MAPS or maps.dtype.kind not in "fiu":
        raise DataError(f"{path}: array {name!r} has shape {maps.shape}; (images, channels, height, width) is needed")
    with np.errstate(all="ignore"), warnings.catch_warnings():
        return np.asarray(POOLS[how](maps), dtype=np.float32)
