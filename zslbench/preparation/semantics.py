"""Class embeddings from texts that describe the classes, and the file in which `--semantics` reads any."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zslbench.api.cards import Pool
from zslbench.api.text_encoder import TextEncoder
from zslbench.data.arrays import is_arrays
from zslbench.data.names import class_positions, composed
from zslbench.data.semantics import BETWEEN, NOT_ATTRIBUTES, POOL, TEMPLATES, WEIGHTS
from zslbench.data.tables import HEADS, decoded, first_twice, read_rows
from zslbench.discovery.plugins import registry
from zslbench.errors import DataError, PluginError, UsageError, ZSLBenchError, one_line
from zslbench.files import in_file_names, reading, write_whole
from zslbench.preparation.texts import named_texts
from zslbench.preparation.word_vectors import from_word_vectors

NUMBERED = re.compile(r"(\d+)[.:)]?\s+(\S.*)")
"""A line with a number before a name."""


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


def choose_text_encoder(name: str | None) -> str:
    """Returns the full name of a text encoder: the one asked for, else the only one that is installed.

    Raises:
        UsageError: there is none of this name, none at all, or several and no name.
        PluginError: the plugin of a family cannot be imported.
    """
    known = [f"{name}NAME" if name.endswith(":") else name for name in registry().names("text-encoder")]
    if not known:
        raise UsageError("no text encoder is installed; the plugin zslbench-text has one")
    if name is None and (len(known) > 1 or known[0].endswith(":NAME")):
        raise UsageError(f"several text encoders are installed; choose one with --encoder: {', '.join(known)}")
    return registry().maker("text-encoder", name or known[0], TextEncoder)[0]


def load_text_encoder(name: str, weights: str = "") -> TextEncoder:
    """Returns a text encoder.

    Args:
        name: in full.
        weights: the fingerprint that it must have, if it has one.

    Raises:
        PluginError: it cannot be loaded.
        DataError: its weights are not at hand, or not those that are wanted.
    """
    _, make = registry().maker("text-encoder", name, TextEncoder)
    try:
        encoder: TextEncoder = make()
    except ZSLBenchError:
        raise
    except Exception as error:
        raise PluginError(f"text encoder {_owner(name)} cannot be loaded ({one_line(error)})") from error
    if weights and encoder.fingerprint != weights:
        raise DataError(f"text encoder {name}: its weights are not those that made the class embeddings of the run")
    return encoder


def _owner(name: str) -> str:
    family = name.partition(":")[0] + ":" if ":" in name else name
    return f"{name!r} of plugin {registry().entry('text-encoder', family).plugin!r}"


def read_templates(given: Sequence[str]) -> list[str]:
    """Returns the texts in which names of classes are to stand for `{}`: as given, or a line each in files.

    Raises:
        UsageError: one has no `{}`, and is no file.
        DataError: a line of a file has no `{}`, or a template has characters that cannot be written down.
    """
    templates: list[str] = []
    for text in given:
        where, lines = "--template", [text.strip()]
        if "{}" not in text:
            path = Path(text).expanduser()
            if not path.is_file():
                raise UsageError(f"--template {text!r}: it has no {{}} where the name goes, and there is no such file")
            where, lines = str(path), [line.strip() for line in decoded(path)[0].splitlines() if line.strip()]
        if wrong := [line for line in lines or [""] if "{}" not in line]:
            raise DataError(f"{where}: the line {wrong[0]!r} has no {{}} where the name of a class goes")
        if wrong := [line for line in lines if '"' in line or BETWEEN.strip() in line or not line.isprintable()]:
            raise DataError(f"{where}: {wrong[0]!r}: double quotes, '|' and control characters cannot be used")
        templates += lines
    return list(dict.fromkeys(templates))


def prompts(names: Sequence[str], templates: Sequence[str]) -> dict[str, list[str]]:
    """Returns the texts of each class: its name, as `spoken`, in each template."""
    said = zip(names, spoken(names), strict=True)
    return {name: [template.replace("{}", text) for template in templates] for name, text in said}


def spoken(names: Sequence[str]) -> list[str]:
    """Returns names of classes as one says them: `001.Black_footed_Albatross` is Black footed Albatross.

    Underscores and plus signs are blanks; a number in front goes if all names have one.
    """
    plain = [composed(name) for name in names]
    if all(re.match(r"\d+[.\s_-]+\S", name) for name in plain):
        plain = [re.sub(r"^\d+[.\s_-]+", "", name) for name in plain]
    return [" ".join(re.sub(r"[_+]", " ", name).split()) for name in plain]


def embed(
    texts: Mapping[str, Sequence[str]], encoder: TextEncoder, name: str, pool: Pool = "mean"
) -> NDArray[np.float64]:
    """Returns an embedding of each class's texts, `(C, d)`: those of its texts, pooled.

    `name` is the encoder's, for errors.

    Raises:
        PluginError: the encoder does not return a finite vector for each text.
    """
    vectors = _encode(encoder, name, [text for own in texts.values() for text in own])
    ends = np.cumsum([len(own) for own in texts.values()])
    parts = np.split(vectors.astype(np.float64), ends[:-1])
    return np.array([part.mean(axis=0) if pool == "mean" else part.max(axis=0) for part in parts])


def notes(encoder: TextEncoder, templates: Sequence[str] = (), pool: Pool = "mean") -> list[str]:
    """Returns what a file of class embeddings says of how an encoder made them, a line each."""
    said = [f"{TEMPLATES}{BETWEEN.join(templates)}"] if templates else []
    said += [f"{POOL}{pool}"] if pool != "mean" else []
    return said + ([f"{WEIGHTS}{encoder.fingerprint}"] if encoder.fingerprint else [])


@dataclass(frozen=True)
class Made:
    """Class embeddings that were made.

    Attributes:
        rows: one for each class, `(C, d)`.
        source: what they were made from, and by which text encoder, for the head of the file.
        said: the same for people.
        called: parts of the file's name.
        notes: further lines of its head.
        guesses: names in the file that are no class's name letter by letter, and the classes they are taken for.
    """

    rows: NDArray[np.float64]
    source: str
    said: str
    called: tuple[str, ...]
    notes: tuple[str, ...] = ()
    guesses: Mapping[str, str] = field(default_factory=dict)


def from_words(path: Path, names: Sequence[str], instead: Mapping[str, str]) -> Made:
    """Makes class embeddings of word vectors; see `from_word_vectors`."""
    vectors = from_word_vectors(path, names, instead)
    whole = len(vectors.whole)
    said = f"{whole} names have an entry, {len(names) - whole} are means over words"
    return Made(vectors.rows, path.name, said, (path.stem,))


def from_texts(
    path: Path,
    names: Sequence[str],
    encoder: str | None,
    pool: Pool = "mean",
    renames: Mapping[str, str] | None = None,
) -> Made:
    """Makes class embeddings of texts in a file; see `named_texts`, `choose_text_encoder` and `embed`."""
    chosen, found = choose_text_encoder(encoder), named_texts(path, names, renames)
    loaded, texts = load_text_encoder(chosen), {name: own for name, (_, own) in found.items()}
    rows = embed(texts, loaded, chosen, pool)
    counts = sorted({len(own) for own in texts.values()})
    said = f"texts embedded by {chosen}"
    if counts[-1] > 1:
        said += f", the {pool} of {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} a class"
    called = (path.stem, in_file_names(chosen), *(["max"] if pool == "max" else []))
    guesses = {given: name for name, (given, _) in found.items() if given != name}
    source = f"{path.name}{', max of texts,' * (pool == 'max')} by {chosen}"
    return Made(rows, source, said, called, tuple(notes(loaded, pool=pool)), guesses)


def from_names(names: Sequence[str], encoder: str | None, templates: Sequence[str] = ()) -> Made:
    """Makes class embeddings of names of classes in templates, by default that of the text encoder.

    Args:
        names: what the classes are called.
        encoder: as for `choose_text_encoder`.
        templates: as for `read_templates`.

    Raises:
        DataError: the classes have numbers only.
    """
    if all(name == f"class {number}" for number, name in enumerate(names, 1)):
        raise DataError("the data set has no class names to embed; give them with --names FILE, or texts with --from")
    chosen, own = choose_text_encoder(encoder), read_templates(templates)
    loaded = load_text_encoder(chosen)
    own = own or [loaded.template]
    texts = prompts(names, own)
    first = texts[names[0]]
    more = f" and {len(first) - 1} more templates" if len(first) > 1 else ""
    said = f"class names embedded by {chosen}, the first as {first[0]!r}{more}"
    rows, called = embed(texts, loaded, chosen), ("names", in_file_names(chosen))
    return Made(rows, f"names of classes by {chosen}", said, called, tuple(notes(loaded, own)))


def write(path: Path, names: Sequence[str], rows: NDArray[np.float64], source: str, notes: Sequence[str] = ()) -> bool:
    """Writes class embeddings for `--semantics`, marked as no attributes; returns whether they were not there already.

    `source` ends with ` by ENCODER` where texts were encoded; `notes` are those that `origin_of` reads.

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
    lines = [f"{NOT_ATTRIBUTES}, from {' '.join(source.split())}", *notes]
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
