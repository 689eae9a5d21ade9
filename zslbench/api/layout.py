"""The layout interface: which arrays of a user's files play which role, told by what is inside the files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]

POOLS = ("mean", "max", "keep")
"""How feature maps `(N, C, H, W)` become rows: over places, or with all places kept."""
ROLES = ("features", "labels", "semantics", "original_semantics", "class_names", "image_files")
"""What an array can be; each is a field of `Found`."""


@dataclass(frozen=True)
class ArrayFile:
    """A file that holds arrays, none of which is read before it is asked for.

    Attributes:
        path: where it is.
        shapes: name -> shape. The name is empty where a file holds one array and gives it none. Shapes are NumPy's;
            those of MATLAB's files are MATLAB's.
        matlab: whether MATLAB's conventions hold: images and classes are columns, and numbers count from 1.
        load: returns an array by name, of real numbers or of text.
        pool: returns rows, `(N, D)` float32, by the name of feature maps `(N, C, H, W)` and one of `POOLS`.
        further: how many files its arrays go on in, where they are shards of which `path` is the first.
    """

    path: Path
    shapes: Mapping[str, tuple[int, ...]]
    matlab: bool
    load: Callable[[str], Array]
    pool: Callable[[str, str], Array]
    further: int = 0

    def called(self, name: str) -> str:
        """Returns how messages call an array: by file and name, or by the file alone."""
        own = self.path.name + (f" and {self.further} more" if self.further else "")
        return f"{own}: {name}" if name else own


@dataclass(frozen=True)
class Choices:
    """What a user decides where files leave it open.

    Attributes:
        take: role, one of `ROLES` -> array that is to play it: its name, `FILE` or `FILE:NAME`.
        pool: one of `POOLS`; empty if nothing was said.
    """

    take: Mapping[str, str] = field(default_factory=dict)
    pool: str = ""


@dataclass(frozen=True)
class Found:
    """What a layout finds in files. The harness settles orientation, and whether numbers count from 0 or 1.

    Attributes:
        features: a row for each image, or a column: the number of labels tells. Or a function that returns them: it is
            called when all else is known to fit, because features can be large.
        labels: class of each image as numbers or names, a list; None if the files do not say.
        parts: images of `trainval_loc`, `test_seen_loc`, `test_unseen_loc`, as numbers or masks; empty if the files do
            not say.
        semantics: class embeddings, a row for each class, or a column; None if there are none.
        original_semantics: the same before they were normalised, or None.
        class_names: in the order of the classes, or None.
        image_files: in the order of the images, or None.
        origin: role -> the array it was taken from, as `ArrayFile.called` returns it.
        columns: roles whose items are columns if their shape does not tell.
        notes: what else a user should know of how the files were understood, a sentence each.
    """

    features: Array | Callable[[], Array]
    labels: Array | None = None
    parts: Mapping[str, Array] = field(default_factory=dict)
    semantics: Array | None = None
    original_semantics: Array | None = None
    class_names: Array | None = None
    image_files: Array | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    columns: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


class Layout(ABC):
    """A way in which people lay out features in files. Third parties subclass it and register the class.

    It is created without arguments.
    """

    @abstractmethod
    def recognises(self, files: Sequence[ArrayFile], choices: Choices) -> bool:
        """Returns whether the files are laid out so, by the names and shapes of what they hold; must be quick.

        Two layouts that recognise the same files are an error that the user settles, so be strict.
        """

    @abstractmethod
    def read(self, files: Sequence[ArrayFile], choices: Choices) -> Found:
        """Reads the files.

        Raises:
            DataError: they are not as this layout needs them; one line names the file and the cause.
        """
