"""Texts that describe classes, as people and language models write them down, and whose classes they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from zslbench.data.names import class_positions, match
from zslbench.data.tables import HEADS, decoded, first_twice, is_number, read_rows, read_table
from zslbench.errors import DataError, near_misses
from zslbench.files import is_clutter, reading

COLUMNS = ("class", "text")
FIRST = 2**16
"""Bytes of a first line that are looked at."""
LINE = re.compile(r"\s*([^\t:]*[^\t:\s])\s*(?:\t|:\s)\s*(\S.*)")
"""A class and a text on a line of a `.txt`, divided by a tab or a colon."""


def is_texts(path: Path) -> bool:
    """Returns whether a path holds texts: a folder, a table, JSON, or a `.txt` of lines `CLASS: TEXT`."""
    if path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".json"):
        return True
    if path.suffix.lower() != ".txt" or not path.is_file():
        return False
    with reading(path), path.open("rb") as file:
        found = LINE.fullmatch(file.readline(FIRST).decode("utf-8-sig", "replace").strip())
    return found is not None and not all(map(is_number, found[2].split()))  # else it is a word and its vector


def read_texts(path: Path, names: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Reads the texts of each class, of which it may have several; `class_positions` matches names and numbers.

    Args:
        path: a table with the columns `class` and `text`; JSON that maps each class to a text or a list of them; a
            folder with a file `CLASS.txt` for each class, a text a line; or a `.txt` with a line `CLASS: TEXT` or
            `CLASS<tab>TEXT` for each text.
        names: the classes; by default those that the file names.

    Raises:
        DataError: it is none of these, or lacks a class; near misses are named. Others are left out with a warning.
    """
    if names is not None:
        return {name: own for name, (_, own) in named_texts(path, names).items()}
    readers = {".json": _json_of_texts, ".txt": _lines_of_texts}
    read = _folder_of_texts if path.is_dir() else readers.get(path.suffix.lower(), _table_of_texts)
    texts: dict[str, list[str]] = {}
    for where, name, text in read(path):
        if not name or not text:
            raise DataError(f"{path}: {where}: its class or its text is empty")
        texts.setdefault(name, []).append(text)
    return texts


def named_texts(
    path: Path, names: Sequence[str], renames: Mapping[str, str] | None = None
) -> dict[str, tuple[str, list[str]]]:
    """Reads the texts of the classes of a data set as `read_texts` does, and what the file calls the classes.

    Args:
        path: as for `read_texts`.
        names: the classes.
        renames: names in the file, and the classes that they mean, where no name matches.

    Returns:
        By class, the name that it has in the file, and its texts.

    Raises:
        DataError: a class is missing; near misses are named. Others are left out with a warning.
    """
    texts, instead = read_texts(path), renames or {}
    if absent := [name for name in instead if name not in texts]:
        raise DataError(f"{path}: it has no class {absent[0]!r}, which --rename names{near_misses(absent[0], texts)}")
    named, given = set(instead.values()), list(texts)
    rest = [name for name in names if name not in named]
    others = [name for name in given if name not in instead]
    positions = class_positions(others, rest, path, only=False) if rest else []
    found = dict(zip(rest, (others[position] for position in positions), strict=True))
    found |= {own: name for name, own in instead.items()}
    return {name: (found[name], texts[found[name]]) for name in names}


def read_renames(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Reads which class a name in a file of texts means: a table, or lines, of that name and the class.

    Returns:
        The class of the data set by the name in the file.

    Raises:
        DataError: a line has no two names, a class is not in the data, or a name or class is there twice.
    """
    table = read_rows(path)
    rows = list(table.rows.values())
    if rows[0][0].lower() in (*HEADS, "file", "from") and rows[0][-1] not in names:
        rows = rows[1:]
    if wrong := [row for row in rows if len(row) != 2 or not all(row)]:
        raise DataError(f"{path}: {','.join(wrong[0])!r}: two columns are needed, the name in the file and the class")
    for column in (0, 1):
        if (twice := first_twice([row[column] for row in rows])) is not None:
            raise DataError(f"{path}: {twice!r} is there twice")
    meant = match(names, [row[1] for row in rows])
    if meant.others:
        strange = meant.others[0]
        raise DataError(f"{path}: class {strange!r} is not in the data{near_misses(strange, names)}")
    table.say()
    own = {given: name for name, given in meant.found.items()}
    return {row[0]: own[row[1]] for row in rows}


def _lines_of_texts(path: Path) -> Iterator[tuple[str, str, str]]:
    for number, line in enumerate(decoded(path)[0].splitlines(), 1):
        if not line.strip():
            continue
        if (found := LINE.fullmatch(line)) is None:
            raise DataError(f"{path}: line {number} is not `CLASS: TEXT`, nor a class and a text divided by a tab")
        yield f"line {number}", found[1], found[2].strip()


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
