"""The image files of a data set on disk: found by the names that its list has, wherever they lie below a folder."""

from __future__ import annotations

import filecmp
import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise, takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zslbench.api.images import Images, UnreadableImage
from zslbench.data.contents import Digest, digests
from zslbench.data.decoding import CONVERT, NOT_READ, SUFFIXES, load_image
from zslbench.data.names import composed
from zslbench.errors import DataError, Hint
from zslbench.files import is_clutter

IMAGE_PARTS = ("trainval", "test_seen", "test_unseen")
"""Of a split; `_loc` is put behind them in its file."""
NAMED = 3
"""How many files a message names."""


class Copies(NamedTuple):
    """Images of one content."""

    rows: tuple[int, ...]
    """Which they are, ascending, two at least."""
    parts: tuple[str, ...]
    """The parts of the split that have any of them: trainval, test_seen, test_unseen."""

    @property
    def in_several_parts(self) -> bool:
        """Whether what is tested on was trained on, or is tested on as an image of seen and of unseen classes."""
        return len(self.parts) > 1


class FileImages(Images):
    """Images in files of their own, or boxes cut from them; a file may be missing.

    Attributes:
        paths: the file of each image, None where there is none.
        fingerprint: SHA-256 of names, sizes and boxes: reading terabytes to notice a change would cost more than it
            saves.

    Args:
        names: what the images are called.
        paths: the file of each.
        boxes: what of each file is the image, `(N, 4)` as `load_image` takes them.
    """

    def __init__(
        self, names: Sequence[str], paths: Sequence[Path | None], boxes: NDArray[np.int64] | None = None
    ) -> None:
        self.paths = list(paths)
        self._names, self._boxes = list(names), boxes
        self._digests: list[Digest | None] = []

    def __len__(self) -> int:
        return len(self._names)

    def name(self, row: int) -> str:
        """Returns the path, or the name by which it was looked for."""
        return str(self.paths[row] or self._names[row])

    def read(self, row: int) -> Image.Image:
        """Decodes a file to RGB, and cuts out the box.

        Raises:
            UnreadableImage: there is no such file, or it is no image or a damaged one.
            DataError: it has another content than when the fingerprint was taken.
        """
        path = self.paths[row]
        if path is None:
            raise UnreadableImage("missing")
        try:
            return load_image(path, None if self._boxes is None else self._boxes[row].tolist())
        finally:
            if self._digests and not _same(path, self._digests[row]):
                raise DataError(f"{path}: it changed since the data set was read; issue the command again")

    def select(self, rows: NDArray[np.int64]) -> FileImages:
        """Returns some of the images; what is known of their contents is kept, whatever the files hold by now."""
        boxes = None if self._boxes is None else self._boxes[rows]
        chosen = FileImages([self._names[row] for row in rows], [self.paths[row] for row in rows], boxes)
        chosen._digests = [self._digests[row] for row in rows] if self._digests else []
        return chosen

    @property
    def missing(self) -> list[int]:
        """The images without a file."""
        return [row for row, path in enumerate(self.paths) if path is None]

    @cached_property
    def fingerprint(self) -> str:  # type: ignore[override]  # computed when it is first asked for
        """Hashes names, contents and boxes; raises a DataError if a name is no text."""
        digest = hashlib.sha256()
        for name, (content, *box) in zip(self._names, self._contents(), strict=True):
            try:
                digest.update(f"{name}\0{content or 'missing'}\0".encode())
            except UnicodeEncodeError:
                raise DataError(f"{name!r}: the name is not UTF-8; rename the file") from None
            digest.update(np.array(box, dtype="<i8").data)
        return digest.hexdigest()

    def copies(self, parts: Mapping[str, NDArray[np.int64]]) -> list[Copies]:
        """Finds images that are the same, byte by byte: of files of the same content, and the same box of them.

        `parts` are the rows of each variable of a split file.
        """
        rows_of: defaultdict[tuple[object, ...], list[int]] = defaultdict(list)
        for row, content in enumerate(self._contents()):
            if content[0]:
                rows_of[content].append(row)
        members = {part: set(parts[f"{part}_loc"].tolist()) for part in IMAGE_PARTS}
        return [
            Copies(tuple(rows), tuple(part for part in IMAGE_PARTS if not members[part].isdisjoint(rows)))
            for rows in rows_of.values()
            if len(rows) > 1
        ]

    def _contents(self) -> list[tuple[object, ...]]:
        """Returns of each image the SHA-256 of its file, None where there is none to read, and its box."""
        self._digests = self._digests or digests(self.paths)
        boxes = [[]] * len(self) if self._boxes is None else self._boxes.tolist()
        return [(known and known.sha256, *box) for known, box in zip(self._digests, boxes, strict=True)]


def _same(path: Path, known: Digest | None) -> bool:
    return digests([path]) == [None] if known is None else known.still_of(path)


def find_images(names: Sequence[str], folder: Path) -> list[Path | None]:
    """Finds the file below a folder that each name means: the one that shares most of the end of its path.

    Names may be absolute paths on another disk, as in the GBU release. A file must share as much as tells a name
    apart from all others: `b/1.jpg` is missing if only `a/1.jpg` is there, where the list has both. For names without
    a file, one is taken that differs in case or in the form of an accent alone; a `Hint` says so.

    Raises:
        DataError: two files of different content fit a name equally well.
    """
    files = images_below(folder)
    found = _find(names, names, folder, files, str)
    if len(found) < len(set(names)):
        left = set(files) - set(found.values())
        lost = [name for name in dict.fromkeys(names) if name not in found]
        if others := _find(lost, names, folder, [path for path in files if path in left], _folded):
            name, path = next(iter(others.items()))
            warnings.warn(
                f"{folder}: {len(others)} images are matched without regard to case and Unicode forms: "
                f"{path.relative_to(folder).as_posix()!r} is taken for {name!r}",
                Hint,
                stacklevel=2,
            )
            found |= others
    return [found.get(name) for name in names]


class Listing(NamedTuple):
    """What lies below a folder, at any depth."""

    images: list[Path]
    """Known by their suffixes, in the order of their paths, however accents are encoded."""
    others: Counter[str]
    """How many further files there are, by suffix in lower case."""

    @property
    def not_read(self) -> str:
        """Counts pictures of formats that are not read; empty if there are none."""
        return _counted({suffix: count for suffix, count in self.others.items() if suffix in NOT_READ})

    @property
    def no_images(self) -> str:
        """Counts files that are no pictures; empty if there are none."""
        return _counted({suffix: count for suffix, count in self.others.items() if suffix not in NOT_READ})


def files_below(folder: Path) -> Listing:
    """Lists the files below a folder; hidden ones, and what desktops and file servers leave, are passed over."""
    images, others, visited = [], Counter[str](), set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(parent)) in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not is_clutter(name))
        for name in files:
            suffix = Path(name).suffix.lower()
            if suffix in SUFFIXES and not is_clutter(name):
                images.append(Path(parent, name))
            elif not is_clutter(name):
                others[suffix] += 1
    return Listing(sorted(images, key=lambda path: _ordered(path.relative_to(folder).as_posix())), others)


def images_below(folder: Path) -> list[Path]:
    """Returns the images that `files_below` lists."""
    return files_below(folder).images


def say_not_read(where: Path, listing: Listing) -> None:
    """Warns of pictures of formats that are not read, and counts what is no picture."""
    if listing.not_read:
        warnings.warn(f"{where}: not read: {listing.not_read}; {CONVERT}", stacklevel=2)
    if listing.no_images:
        warnings.warn(f"{where}: no images, and passed over: {listing.no_images}", Hint, stacklevel=2)


def what_is_there(folder: Path, name: str) -> str:
    """Returns what a folder has in place of an image that is missing, and so the likely cause."""
    listing = files_below(folder)
    files = [path.relative_to(folder) for path in listing.images]
    wanted = PurePosixPath(name)
    if other := next((path for path in files if path.stem == wanted.stem and path.suffix != wanted.suffix), None):
        return f"what lies there has other suffixes, as {other.as_posix()} has"
    if files:
        return f"there are {len(files)} images of other names, {files[0].as_posix()} for one"
    if listing.not_read:
        return f"it has only {listing.not_read}, which cannot be read; {CONVERT}"
    return "there are no images below it"


def _counted(suffixes: Mapping[str, int]) -> str:
    """Returns counts of files by suffix: `12 .heic and 1 .cr2 files`."""
    counts = [f"{count} {suffix or '(no suffix)'}" for suffix, count in sorted(suffixes.items())]
    files = "file" if sum(suffixes.values()) == 1 else "files"
    return f"{' and '.join(filter(None, [', '.join(counts[:-1]), counts[-1]]))} {files}" if counts else ""


def _ordered(path: str) -> tuple[str, str]:
    return composed(path), path


def _folded(name: str) -> str:
    return composed(name).casefold()


def _find(
    wanted: Sequence[str], names: Sequence[str], folder: Path, files: Sequence[Path], key: Callable[[str], str]
) -> dict[str, Path]:
    """Finds the files of wanted names, all names being `names`, where `key` makes no two of these equal."""
    there: defaultdict[str, list[Path]] = defaultdict(list)
    for path in files:
        there[key(path.name)].append(path)
    keys = {name: key(name) for name in dict.fromkeys(names)}
    enough, count = _distinctive(list(keys.values())), Counter(keys.values())
    found = {}
    for name in dict.fromkeys(wanted):
        own = keys[name]
        candidates = there.get(PurePosixPath(own).name, []) if count[own] == 1 else []
        if best := _best(own, folder, candidates, enough[own], key):
            found[name] = best
    return found


def _distinctive(names: Sequence[str]) -> dict[str, int]:
    """Returns how many parts of the end of each name tell it apart from all other names."""
    parts = sorted((PurePosixPath(name).parts[::-1], name) for name in set(names))
    enough = dict.fromkeys(names, 1)
    for (one, first), (other, second) in pairwise(parts):
        shared = _common(one, other)
        enough[first] = max(enough[first], min(shared + 1, len(one)))
        enough[second] = max(enough[second], min(shared + 1, len(other)))
    return enough


def _best(name: str, folder: Path, candidates: list[Path], enough: int, key: Callable[[str], str]) -> Path | None:
    if own := [path for path in candidates if key(path.relative_to(folder).as_posix()) == name]:
        return _alone(name, own, folder)
    wanted = PurePosixPath(name).parts[::-1]
    shared = [_common(wanted, [key(part) for part in path.parts[::-1]]) for path in candidates]
    most = max(shared, default=0)
    if most < enough:
        return None
    best = [path for path, length in zip(candidates, shared, strict=True) if length == most]
    return _alone(name, best, folder)


def _alone(name: str, files: list[Path], folder: Path) -> Path:
    """Returns the first of several files of the same content."""
    for other in files[1:]:
        if not filecmp.cmp(files[0], other, shallow=False):
            raise DataError(f"{files[0]} and {other} both fit the image {name}; keep one of them below {folder}")
    return files[0]


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Returns how many items two sequences begin with in common."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
