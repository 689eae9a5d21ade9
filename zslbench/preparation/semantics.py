"""Class embeddings from texts that describe the classes, and the file in which `--semantics` reads any."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.api.text_encoder import TextEncoder
from zslbench.data.arrays import is_arrays
from zslbench.data.names import class_positions
from zslbench.data.semantics import NOT_ATTRIBUTES
from zslbench.data.tables import HEADS, decoded, first_twice, read_rows, read_table
from zslbench.discovery.plugins import registry
from zslbench.errors import DataError, PluginError, UsageError, one_line
from zslbench.files import is_clutter, reading, write_whole

COLUMNS = ("class", "text")
NUMBERED = re.compile(r"(\d+)[.:)]?\s+(\S.*)")
"""A line with a number before a name."""


def is_texts(path: Path) -> bool:
    """Returns whether a path is said to hold texts: a folder, a table or JSON."""
    return path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".json")


def read_names(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Reads what classes are really called, where their names in the data set say nothing.

    Args:
        path: a name a line, in the data set's order; or a table, or lines, of numbers from 0 or 1 or old names, and
            names. A head is passed over; classes that are not in the data are left out with a warning.
        names: the classes.

    Returns:
        The real name of each class, by its own.

    Raises:
        DataError: a class is missing or there twice, or a name is empty or there twice.
    """
    table = read_rows(path)
    rows = list(table.rows.values())
    pairs = [NUMBERED.fullmatch(row[0]) if len(row) == 1 else None for row in rows]
    if all(pairs):
        rows = [[pair[1], pair[2]] for pair in pairs if pair]
    width = max(map(len, rows))
    if width > 2:
        raise DataError(f"{path}: it has {width} columns; a name a line, or two columns, class and name, are needed")
    if rows[0][0].lower() in HEADS or (width == 2 and len(rows) == len(names) + 1):
        rows = rows[1:]
    if empty := [row[0] for row in rows if len(row) < width or not row[-1]]:
        raise DataError(f"{path}: the name of class {empty[0]!r} is empty")
    if width == 2:
        positions = class_positions([row[0] for row in rows], names, path, only=False)
        rows = [rows[position] for position in positions]
    if len(rows) != len(names):
        raise DataError(f"{path}: it has {len(rows)} names; the data set has {len(names)} classes")
    called = [row[-1] for row in rows]
    if (twice := first_twice(called)) is not None:
        raise DataError(f"{path}: the name {twice!r} is there twice")
    table.say()
    return dict(zip(names, called, strict=True))


def read_texts(path: Path, names: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Reads the texts of each class, of which it may have several; `class_positions` matches names and numbers.

    Args:
        path: a table with the columns `class` and `text`; JSON that maps each class to a text or a list of them; or a
            folder with a file `CLASS.txt` for each class, a text a line.
        names: the classes; by default those that the file names.

    Raises:
        DataError: it is none of these, or lacks a class; near misses are named. Others are left out with a warning.
    """
    read = _folder_of_texts if path.is_dir() else _json_of_texts if path.suffix.lower() == ".json" else _table_of_texts
    texts: dict[str, list[str]] = {}
    for where, name, text in read(path):
        if not name or not text:
            raise DataError(f"{path}: {where}: its class or its text is empty")
        texts.setdefault(name, []).append(text)
    if names is None:
        return texts
    given = list(texts)
    positions = class_positions(given, names, path, only=False)
    return {name: texts[given[position]] for name, position in zip(names, positions, strict=True)}


def _table_of_texts(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yields where each text is, its class and the text."""
    table = read_table(path)
    head = [cell.lower() for cell in table.head]
    if not set(COLUMNS) <= set(head):
        raise DataError(f"{path}: its first line must name the columns class and text")
    table.say()
    for number, row in table.body.items():
        yield f"row {number}", row[head.index("class")], row[head.index("text")]


def _json_of_texts(path: Path) -> Iterator[tuple[str, str, str]]:
    text, _ = decoded(path)
    with reading(path, "JSON"):
        content = json.loads(text, object_pairs_hook=list)  # a dictionary would keep the last of two equal names
    if not isinstance(content, list) or not all(isinstance(pair, tuple) for pair in content):
        raise DataError(f"{path}: it must map each class to a text or a list of texts")
    if (twice := first_twice([name for name, _ in content])) is not None:
        raise DataError(f"{path}: {twice!r} is there twice")
    for name, value in content:
        own = [value] if isinstance(value, str) else value
        if not isinstance(own, list) or not own or not all(isinstance(text, str) for text in own):
            raise DataError(f"{path}: {name!r} has no text or list of texts")
        for text in own:
            yield repr(name), name.strip(), text.strip()


def _folder_of_texts(path: Path) -> Iterator[tuple[str, str, str]]:
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() == ".txt" and not is_clutter(file.name)]
    if not files:
        raise DataError(f"{path}: it has no file CLASS.txt")
    for file in files:
        lines = [line.strip() for line in decoded(file)[0].splitlines() if line.strip()]
        for line in lines or [""]:
            yield file.name, file.stem, line


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
    if is_arrays(path):
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
