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

SHOWN = 3
"""How many names a message shows; it counts the others."""
MANY = 100_000
"""From so many names on, as in files of word vectors, only equal names match."""

Way = Callable[[str], str]


def _nfc(name: str) -> str:
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
    "Unicode forms": _nfc,
    "blanks, '_', '+' and '-'": _blanks,
    "numbers before names": _unnumbered,
    "case": str.casefold,
}
"""What may differ between two names of a class, in the order in which it is made equal."""
PATH_WAYS: Mapping[str, Way] = {
    "Unicode forms": _nfc,
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
        name, own = next((pair for pair in matching.found.items() if pair[0] != pair[1]), ("", ""))
        warnings.warn(
            f"{where}: names are matched without regard to {matching.assumed}: {own!r} is taken for {name!r}",
            Hint,
            stacklevel=2,
        )


def match_all(
    wanted: Sequence[str], found: Sequence[str], where: Path | str, noun: str = "class", only: bool = True
) -> Mapping[str, str]:
    """Returns the name found for each wanted one, and says what was disregarded.

    Args:
        wanted: names of the data set.
        found: names in a file.
        where: the file, for messages.
        noun: what the names are of.
        only: whether the file may have no others.

    Raises:
        DataError: a name is missing, found twice, or wanted by none; all are counted, the first few named.
    """
    if twice := [name for name, count in Counter(found).items() if count > 1]:
        raise DataError(f"{where}: {_listed(twice, noun)} there twice")
    matching = match(wanted, found)
    if matching.missing:
        near = near_misses(matching.missing[0], matching.others, listed=False) if len(found) < MANY else ""
        strange = f"; it has {_shown(matching.others)} instead" if only and matching.others and not near else ""
        raise DataError(f"{where}: {_listed(matching.missing, noun)} missing{near or strange}")
    if only and matching.others:
        raise DataError(f"{where}: {_listed(matching.others, noun)} not in the data{_cause(wanted, matching)}")
    hint(where, matching)
    return matching.found


def class_positions(
    given: Sequence[str], class_names: Sequence[str], where: Path | str, wanted: Sequence[str] | None = None
) -> list[int]:
    """Returns for each wanted class its position in a list that names them, or gives their numbers from 0 or 1.

    Numbers, and names that are matched, are said.

    Args:
        given: names or numbers.
        class_names: all classes of the data set, in the order of their numbers.
        where: the file, for messages.
        wanted: the classes that must be there, and no others; by default all.

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
    found = match_all(wanted, given, where)
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


def _cause(wanted: Sequence[str], matching: Matching) -> str:
    """Explains names too many: one that differs in a trifle from one that is there, or a misspelt one."""
    for disregarded, key in keys():
        of = {key(name): name for name in wanted}
        for name in matching.others:
            if disregarded and (own := of.get(key(name))) is not None:
                return f"; {name!r} differs from {own!r} only in {disregarded}"
    return ""


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def _listed(names: Sequence[str], noun: str) -> str:
    if len(names) == 1:
        return f"{noun} {names[0]!r} is"
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{len(names)} {plural} ({_shown(names)}) are"
