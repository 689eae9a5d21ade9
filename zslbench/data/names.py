"""Names of classes and files as people write them: matched where that is one to one, else the mismatch is explained."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath

from zslbench.errors import DataError, Hint, near_misses

SHOWN = 10
"""How many names a message shows; it counts the others."""
FEW = 3
"""The same where it shows several lists of them, or what is of less use."""
LISTED = 1000
"""Among how many names near misses are looked for; files of word vectors have millions."""
MANY = 100_000
"""From so many names on, as in files of word vectors, only equal names match."""

Way = Callable[[str], str]


def composed(name: str) -> str:
    """Returns a name with each accent in one character with its letter (NFC); files of a Mac have them apart."""
    return unicodedata.normalize("NFC", name)


def _blanks(name: str) -> str:
    return " ".join(re.sub(r"[_+\-\s]+", " ", name).split())


def _unnumbered(name: str) -> str:
    return re.sub(r"^\s*\d+[.\s_+-]+(?=\S)", "", name)


def _slashes(name: str) -> str:
    return name.replace("\\", "/")


def _suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) + suffix.lower()


CLASS_WAYS: Mapping[str, Way] = {
    "Unicode forms": composed,
    "blanks, '_', '+' and '-'": _blanks,
    "numbers before names": _unnumbered,
    "case": str.casefold,
}
"""What may differ between two names of a class, in the order in which it is made equal."""
PATH_WAYS: Mapping[str, Way] = {
    "Unicode forms": composed,
    "backslashes and slashes": _slashes,
    "case of suffixes": _suffix,
    "case": str.casefold,
}
"""The same for paths of files."""


@dataclass(frozen=True)
class Matching:
    """Which name that was found means which wanted one.

    Attributes:
        found: wanted name -> the name that was found for it.
        missing: wanted names without one, in their order.
        others: names found that none wants, in their order.
        assumed: what was disregarded, `case` for instance; empty if the names are equal.
    """

    found: Mapping[str, str]
    missing: tuple[str, ...]
    others: tuple[str, ...]
    assumed: str = ""


def keys(ways: Mapping[str, Way] = CLASS_WAYS) -> Iterator[tuple[str, Way]]:
    """Yields what to disregard, and the function that makes names equal which differ in nothing else.

    The first disregards nothing; then single ways follow, then pairs, and so on.
    """
    for size in range(len(ways) + 1):
        for chosen in combinations(ways, size):
            yield " and ".join(chosen), _chain([ways[name] for name in chosen])


def match(wanted: Sequence[str], found: Sequence[str], ways: Mapping[str, Way] = CLASS_WAYS) -> Matching:
    """Matches names, disregarding as little as matches most of them.

    A way of disregarding is taken only where it is one to one over all names: it makes no two of the wanted names
    equal, nor two of those found that would match.

    Args:
        wanted: names of the data set; one that comes twice counts once.
        found: names in a file or folder; likewise. Of very many only equal ones match.
        ways: `CLASS_WAYS` or `PATH_WAYS`.
    """
    wanted, found = list(dict.fromkeys(wanted)), list(dict.fromkeys(found))
    best: dict[str, str] = {}
    assumed = ""
    for disregarded, key in keys(ways if len(found) < MANY else {}):
        pairs = _pairs(wanted, found, key)
        if pairs is not None and len(pairs) > len(best):
            best, assumed = pairs, disregarded
        if len(best) == len(wanted):
            break
    taken = set(best.values())
    missing = tuple(name for name in wanted if name not in best)
    return Matching(best, missing, tuple(name for name in found if name not in taken), assumed)


def hint(where: Path | str, matching: Matching) -> None:
    """Says once what was disregarded; nothing where names are equal."""
    if matching.assumed:
        (name, own), *more = [pair for pair in matching.found.items() if pair[0] != pair[1]]
        others = f", and likewise {len(more)} more" if more else ""
        warnings.warn(
            f"{where}: names are matched without regard to {matching.assumed}: {own!r} is taken for {name!r}{others}",
            Hint,
            stacklevel=2,
        )


def match_all(
    wanted: Sequence[str],
    found: Sequence[str],
    where: Path | str,
    noun: str = "class",
    only: bool = True,
    how: str = "",
) -> Mapping[str, str]:
    """Returns the name found for each wanted one, and says what was disregarded.

    Args:
        wanted: names of the data set.
        found: names in a file.
        where: the file, for messages.
        noun: what the names are of.
        only: whether the file may have no others; else they are left out with a warning.
        how: the end of an error, such as how the file was read.

    Raises:
        DataError: a name is missing, found twice, or wanted by none; all are in one message, the first few by name.
    """
    matching = match(wanted, found)
    taken, cause = set(matching.found.values()), _cause(matching)
    if twice := [name for name, count in Counter(found).items() if count > 1 and (only or name in taken)]:
        raise DataError(f"{where}: {listed(twice, noun)} {_are(twice)} there twice{how}")
    if matching.missing:
        lost = f"{listed(matching.missing, noun)} {_are(matching.missing)} missing"
        raise DataError(f"{where}: {lost}{instead(matching) or cause}{how}")
    strange = f"{where}: {listed(matching.others, noun)} {_are(matching.others)} not in the data"
    if matching.others and (only or cause):
        raise DataError(f"{strange}{cause}{how}")
    if matching.others:
        warnings.warn(f"{strange}; {'it is' if len(matching.others) == 1 else 'they are'} left out", stacklevel=2)
    hint(where, matching)
    return matching.found


def class_positions(
    given: Sequence[str],
    class_names: Sequence[str],
    where: Path | str,
    wanted: Sequence[str] | None = None,
    only: bool = True,
) -> list[int]:
    """Returns for each wanted class its position in a list that names them, or gives their numbers from 0 or 1.

    Numbers, and names that are matched, are said.

    Args:
        given: names or numbers.
        class_names: all classes of the data set, in the order of their numbers.
        where: the file, for messages.
        wanted: the classes that must be there; by default all.
        only: whether there may be no others; else they are left out with a warning.

    Raises:
        DataError: a class is missing, unknown or there twice, or the list may hold names as well as numbers.
    """
    numbers = [int(name) for name in given if re.fullmatch(r"[0-9]{1,9}", name)]
    wanted = class_names if wanted is None else wanted
    own = [class_names.index(name) for name in wanted]
    base = next((base for base in (0, 1) if sorted(numbers) == sorted(base + c for c in own)), None)
    matching = match(wanted, given)
    if base is not None and len(given) == len(numbers):
        positions = [numbers.index(base + c) for c in own]
        pairs = zip(wanted, positions, strict=True)
        if any(matching.found.get(name, given[position]) != given[position] for name, position in pairs):
            raise DataError(f"{where}: its classes may be names or numbers from {base}, which differ; give the names")
        if matching.missing:
            warnings.warn(f"{where}: its classes are taken for their numbers, from {base}", Hint, stacklevel=2)
        return positions
    found = match_all(wanted, given, where, only=only)
    return [given.index(found[name]) for name in wanted]


def _chain(ways: Sequence[Way]) -> Way:
    def key(name: str) -> str:
        for way in ways:
            name = way(name)
        return name

    return key


def _pairs(wanted: Sequence[str], found: Sequence[str], key: Way) -> dict[str, str] | None:
    """Returns the pairs of equal keys, or None where they are not one to one."""
    of = {key(name): name for name in wanted}
    if len(of) < len(wanted):
        return None
    pairs: dict[str, str] = {}
    for name in found:
        if (own := of.get(key(name))) is not None:
            if own in pairs:
                return None
            pairs[own] = name
    return pairs


def instead(matching: Matching) -> str:
    """Says what was found in place of missing names, and which may mean which."""
    return f"; it has {shown(matching.others)} instead{meant(matching)}" if matching.others else ""


def meant(matching: Matching) -> str:
    """Asks for each of the first missing names whether a near one was meant; of very many none is near."""
    if len(matching.others) > LISTED:
        return ""
    near = {name: near_misses(name, matching.others, listed=False) for name in matching.missing[:SHOWN]}
    return "".join(f"{text.removesuffix('?')} for {name!r}?" for name, text in near.items() if text)


def shown(names: Sequence[str], most: int = SHOWN) -> str:
    """Returns the first names in quotes, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def listed(names: Sequence[str], noun: str) -> str:
    """Returns names in quotes with their number and what they are of."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{noun} {names[0]!r}" if len(names) == 1 else f"{len(names)} {plural} ({shown(names)})"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def _cause(matching: Matching) -> str:
    """Explains a name too many, or one that is missing, that differs in a trifle from one that was matched."""
    for disregarded, key in keys():
        of = {key(name): name for name in matching.found}
        for name in (*matching.others, *matching.missing):
            if disregarded and (own := of.get(key(name))) is not None:
                return f"; {name!r} differs from {own!r} only in {disregarded}; keep one of the two"
    return ""
