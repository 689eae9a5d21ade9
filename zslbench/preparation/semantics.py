"""Class embeddings from texts that describe the classes, and the file in which `--semantics` reads any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.api.text_encoder import TextEncoder
from zslbench.data.semantics import NOT_ATTRIBUTES
from zslbench.data.tables import read_table
from zslbench.discovery.plugins import registry
from zslbench.errors import DataError, PluginError, UsageError, near_misses, one_line
from zslbench.files import reading, write_whole

COLUMNS = ("class", "text")


def read_texts(path: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Reads the texts of each class from a CSV with the columns `class` and `text`; a class may have several lines.

    Raises:
        DataError: the file is no such CSV, names no class of these, or lacks one; near misses are named.
    """
    head, rows = read_table(path)
    if not set(COLUMNS) <= set(head):
        raise DataError(f"{path}: its first line must name the columns class and text")
    texts: dict[str, list[str]] = {name: [] for name in names}
    for number, row in rows.items():
        name, text = (row[head.index(column)] for column in COLUMNS)
        if not name or not text:
            raise DataError(f"{path}: row {number}: its class or its text is empty")
        if name not in texts:
            raise DataError(f"{path}: row {number}: {name!r} is no class of the data{near_misses(name, names)}")
        texts[name].append(text)
    if missing := [name for name, own in texts.items() if not own]:
        more = f", nor for {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{path}: it has no text for class {missing[0]!r}{more}; every class needs one")
    return texts


def choose_text_encoder(name: str | None) -> str:
    """Returns the name of a text encoder: the one asked for, else the only one that is installed.

    Raises:
        UsageError: there is none of this name, none at all, or several and no name.
    """
    known = registry().names("text-encoder")
    if not known:
        raise UsageError("no text encoder is installed; the plugin zslbench-text has one")
    if name is None and len(known) > 1:
        raise UsageError(f"several text encoders are installed; choose one with --encoder: {', '.join(known)}")
    return registry().entry("text-encoder", name or known[0]).name


def load_text_encoder(name: str) -> TextEncoder:
    """Returns a registered text encoder.

    Raises:
        PluginError: it cannot be loaded.
    """
    encoder_class = registry().resolve("text-encoder", name, TextEncoder)
    try:
        encoder: TextEncoder = encoder_class()
    except Exception as error:
        plugin = registry().entry("text-encoder", name).plugin
        raise PluginError(f"text encoder {name!r} of plugin {plugin!r} cannot be loaded ({one_line(error)})") from error
    return encoder


def embed(texts: Mapping[str, Sequence[str]], encoder: TextEncoder, name: str) -> NDArray[np.float64]:
    """Returns the mean embedding of each class's texts, `(C, d)`; `name` is the encoder's, for errors.

    Raises:
        PluginError: the encoder does not return a finite vector for each text.
    """
    vectors = _encode(encoder, name, [text for own in texts.values() for text in own])
    ends = np.cumsum([len(own) for own in texts.values()])
    return np.array([part.mean(axis=0, dtype=np.float64) for part in np.split(vectors, ends[:-1])])


def write(path: Path, names: Sequence[str], rows: NDArray[np.float64], source: str) -> bool:
    """Writes class embeddings for `--semantics`, marked as no attributes; returns whether they were not there already.

    Raises:
        UsageError: the file exists and differs, or its name says that it is no text.
        DataError: a class name or an embedding does not suit such a file, or the file cannot be written.
    """
    if path.suffix == ".npy":
        raise UsageError(f"--out {path}: it is written as text; name it .csv")
    if strange := [name for name in names if "," in name or name != name.strip() or not name.isprintable()]:
        raise DataError(f"class {strange[0]!r}: a name with commas or outer blanks cannot be written to {path}")
    if zero := [name for name, row in zip(names, rows, strict=True) if not row.any()]:
        raise DataError(f"{source}: the embedding of class {zero[0]!r} is zero")
    lines = [f"{NOT_ATTRIBUTES}, from {' '.join(source.split())}"]
    lines += [",".join([name, *map(str, row)]) for name, row in zip(names, rows.astype(np.float32), strict=True)]
    content = "\n".join([*lines, ""]).encode()
    if path.exists():
        with reading(path, advice="name another file with --out"):
            if path.read_bytes() != content:
                raise UsageError(f"{path} is there already and differs; remove it, or name another file with --out")
        return False
    write_whole(path, content)
    return True


def _encode(encoder: TextEncoder, name: str, texts: list[str]) -> NDArray[np.float32]:
    try:
        vectors = encoder.encode(texts)
    except Exception as error:
        raise PluginError(f"text encoder {name!r} failed ({one_line(error)})") from error
    if not isinstance(vectors, np.ndarray) or vectors.dtype != np.float32:
        kind = vectors.dtype if isinstance(vectors, np.ndarray) else type(vectors).__name__
        raise PluginError(f"text encoder {name!r} returned {kind}, not a float32 array")
    if vectors.ndim != 2 or len(vectors) != len(texts) or not vectors.size:
        raise PluginError(f"text encoder {name!r} returned shape {vectors.shape} for {len(texts)} texts")
    if not np.isfinite(vectors).all():
        raise PluginError(f"text encoder {name!r} returned values that are NaN or infinite")
    return vectors
