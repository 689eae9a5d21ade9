"""Class embeddings from word vectors, looked up by class name in a file that may have millions of lines."""

from __future__ import annotations

import codecs
import difflib
import gzip
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from zslbench.errors import DataError, UsageError, near_misses
from zslbench.files import reading

SHOWN = 5
"""Unknown words that an error names; it counts the others."""
FORMAT = "a text file is needed with a word and its values on each line, as GloVe and word2vec write it"
LONGEST = 2**20
"""From so many bytes on a line is no line of text."""
FOREIGN = {
    b"PK\x03\x04": "a zip archive, as GloVe comes or torch.save writes; unpack it, or save its vectors as text",
    b"\x80": "a pickle, which is never read; save its vectors as text",
    b"\x93NUMPY": "a NumPy array, which has no words",
    codecs.BOM_UTF16_LE: "text in UTF-16; save it in UTF-8",
    codecs.BOM_UTF16_BE: "text in UTF-16; save it in UTF-8",
    b"\xba\x16\x4f\x2f": "fastText's binary model; take the file .vec beside it",
    b"\x89HDF": "an HDF5 file; save its vectors as text",
}
"""What people take for word vectors, by how it starts."""
BINARY = (
    "word2vec's binary format; gensim rewrites it: KeyedVectors.load_word2vec_format(FILE, binary=True)"
    ".save_word2vec_format(NEW)"
)

_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
Found = Mapping[str, list[float]]


@dataclass(frozen=True)
class WordVectors:
    """Class embeddings looked up by class name.

    Attributes:
        rows: an embedding for each class, `(C, d)`.
        whole: classes whose whole name has an entry of its own; the others are means over words.
    """

    rows: NDArray[np.float64]
    whole: tuple[str, ...]


def words_of(name: str) -> list[str]:
    """Returns the words of a class name: `001.Black_footed_Albatross` is Black, footed, Albatross."""
    composed = unicodedata.normalize("NFC", name)  # else an accent would end a word
    return _WORD.findall(re.sub(r"['’]s\b", "", re.sub(r"^\d+\.", "", composed)))


def from_word_vectors(path: Path, names: Sequence[str], instead: Mapping[str, str] | None = None) -> WordVectors:
    """Looks class names up in a file of word vectors.

    An entry for the whole name (`grizzly_bear`) wins; else the embedding is the mean over the name's words. A word is
    looked up in lower case, then as it is written, then with a capital; without an entry it is divided at hyphens.
    Of several entries of a word the first counts.

    Args:
        path: in GloVe's text format, or in word2vec's, which begins with a line of sizes; also gzipped.
        names: class names.
        instead: what to look up in place of certain names.

    Raises:
        UsageError: `instead` names a class that does not exist.
        DataError: the file has no word vectors, or none for a word; near ones are suggested.
    """
    instead = instead or {}
    for name in instead:
        if name not in names:
            raise UsageError(f"--words {name}=...: the data has no such class{near_misses(name, names)}")
    if set(names) - set(instead) and all(name == f"class {number}" for number, name in enumerate(names, 1)):
        raise DataError(
            f"{path}: the data set has no class names to look up; give them with --names FILE, or describe its classes "
            "in a CSV of texts"
        )
    phrases = {name: unicodedata.normalize("NFC", instead.get(name, name)) for name in names}
    found = _look_up(path, {form for phrase in phrases.values() for form in _all_forms(phrase)})
    rows, whole, unknown = [], [], {}
    for name, phrase in phrases.items():
        own = _first(_whole_forms(phrase), found)
        vectors, missing = ([own], []) if own else _vectors(words_of(phrase), found)
        if own:
            whole.append(name)
        if missing or not vectors:
            unknown[name] = missing or [phrase]
        else:
            rows.append(np.mean(vectors, axis=0))
    if unknown:
        raise DataError(f"{path}: {_unknown_words(path, unknown, phrases)}")
    return WordVectors(np.array(rows), tuple(whole))


def _forms(text: str) -> list[str]:
    return [text.lower(), text, text.capitalize()]


def _whole_forms(phrase: str) -> list[str]:
    words = words_of(phrase)
    titled = ["_".join(word.capitalize() for word in words)]
    return [form for text in (phrase, *(joint.join(words) for joint in "_- ")) for form in _forms(text)] + titled


def _all_forms(phrase: str) -> Iterator[str]:
    yield from _whole_forms(phrase)
    for word in words_of(phrase):
        for part in (word, *word.split("-")):
            yield from _forms(part)


def _first(forms: Iterable[str], found: Found) -> list[float] | None:
    return next((found[form] for form in forms if form in found), None)


def _vectors(words: Iterable[str], found: Found) -> tuple[list[list[float]], list[str]]:
    """Returns the vectors of words, and the words that have none."""
    vectors, missing = [], []
    for word in words:
        if own := _first(_forms(word), found):
            vectors.append(own)
        elif "-" in word:
            inner, lacking = _vectors(word.split("-"), found)
            vectors += inner
            missing += lacking
        else:
            missing.append(word)
    return vectors, missing


def _look_up(path: Path, wanted: set[str]) -> dict[str, list[float]]:
    """Returns the vectors of wanted words; lines are compared as bytes, and parsed only where they may be wanted."""
    starts = {form.encode().split()[0] for form in wanted if form.strip()}
    found: dict[str, list[float]] = {}
    size, sized = 0, False
    for number, first, line in _lines(path):
        if size and first not in starts:
            continue
        fields = line.split()
        if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
            sized = True
            continue  # word2vec's line of sizes
        if not size:
            size = len(fields) - 1
            if sized and any(byte < 32 or byte > 126 for byte in line[len(first) :]):
                raise DataError(f"{path}: it is {BINARY}; {FORMAT}")
            if not _numbers(fields[1:]):
                raise DataError(f"{path}: line {number} is no word with its values; {FORMAT}")
        end = max(1, len(fields) - size)  # a word may have blanks in it
        word = b" ".join(fields[:end]).decode(errors="replace")
        if word in wanted and len(fields) - end == size:
            if not (values := _numbers(fields[end:])):
                raise DataError(f"{path}: line {number}: a value of {word!r} is no finite number")
            found.setdefault(word, values)
        elif len(fields) <= size or _numbers(fields[1:end]):
            word = first.decode(errors="replace")
            raise DataError(f"{path}: line {number}: {word!r} has {len(fields) - 1} values, the first word has {size}")
    if not size:
        raise DataError(f"{path}: it has no word; {FORMAT}")
    return found


def _lines(path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """Yields the number of each line that is not empty, what it begins with up to the first blank, and the line."""
    with reading(path, "text", FORMAT), path.open("rb") as raw:
        packed = raw.peek(2).startswith(b"\x1f\x8b")
        with cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw as file:
            for number, line in enumerate(iter(partial(file.readline, LONGEST), b""), 1):
                if number == 1:
                    line = line.removeprefix(codecs.BOM_UTF8)
                    _check_format(path, line)
                if len(line) == LONGEST:
                    raise DataError(f"{path}: line {number} is longer than {LONGEST} bytes, as in {BINARY}; {FORMAT}")
                if stripped := line.strip():
                    yield number, re.split(rb"\s", stripped, maxsplit=1)[0], stripped


def _check_format(path: Path, start: bytes) -> None:
    """Raises a DataError that says what a file is, by how it starts, where that is no text in UTF-8."""
    for magic, kind in FOREIGN.items():
        if start.startswith(magic):
            raise DataError(f"{path}: it is {kind}; {FORMAT}")


def _numbers(fields: Sequence[bytes]) -> list[float]:
    """Returns the values, or nothing where one of them is no finite number."""
    try:
        values = [float(field) for field in fields]
    except ValueError:
        return []
    return values if all(map(math.isfinite, values)) else []


def _unknown_words(path: Path, unknown: Mapping[str, list[str]], phrases: Mapping[str, str]) -> str:
    """Says which words have no vector, and how to name others for their classes."""
    pairs = [(name, word) for name, missing in unknown.items() for word in missing]
    shown = pairs[:SHOWN]
    near = _near(path, {word.lower() for _, word in shown})
    listed = ", ".join(f"{word!r} (class {name!r})" for name, word in shown)
    more = f" and {len(pairs) - SHOWN} more words" if len(pairs) > SHOWN else ""
    advice = []
    for name in dict.fromkeys(name for name, word in shown if word.lower() in near):
        words = [near.get(word.lower(), word) for word in words_of(phrases[name])]
        advice.append(f"--words {name + '=' + ' '.join(words)!r}")
    instead = f"did you mean {' '.join(advice)}" if advice else "give other words by --words 'CLASS=OTHER WORDS'"
    return f"no vector for {listed}{more}; {instead}{'?' if advice else ', or describe the classes in a CSV of texts'}"


def _near(path: Path, unknown: set[str]) -> dict[str, str]:
    """Returns for each unknown word, where there is one, two known words that it is made of, or one like it."""
    halves = {word: [(word[:i], word[i:]) for i in range(2, len(word) - 1)] for word in unknown}
    pieces = {piece for cuts in halves.values() for cut in cuts for piece in cut}
    present: set[str] = set()
    alike: dict[str, list[str]] = {word: [] for word in unknown}
    for _, first, _ in _lines(path):
        known = first.decode(errors="replace").lower()
        if known in pieces:
            present.add(known)
        for word, candidates in alike.items():
            if known[0] == word[0] and abs(len(known) - len(word)) < 3:
                candidates.append(known)
    near = {}
    for word in unknown:
        cuts = [cut for cut in halves[word] if set(cut) <= present]
        if close := difflib.get_close_matches(word, alike[word], n=1, cutoff=0.8):
            near[word] = close[0]
        elif cuts:
            near[word] = " ".join(max(cuts, key=lambda cut: min(map(len, cut))))
    return near
