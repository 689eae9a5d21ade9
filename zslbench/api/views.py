"""Views: what a method may see (`TrainView`) and what only evaluators see (`TestView`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api.cards import Setting
from zslbench.api.images import Pixels
from zslbench.api.scratch import Scratch, copied, split
from zslbench.errors import DataError


@dataclass(frozen=True)
class ProblemShape:
    """What a method needs to build its networks: D features, A attributes, the classes to train on, their names.

    `seen` is how many of the classes have training images; these come first.
    """

    features: int
    attributes: int
    classes: int
    names: tuple[str, ...] = ()
    seen: int | None = None

    @property
    def seen_only(self) -> ProblemShape:
        """The shape of the problem without its unseen classes."""
        seen = self.classes if self.seen is None else self.seen
        return replace(self, classes=seen, names=self.names[:seen], seen=seen)


@dataclass(frozen=True)
class ClassSet:
    """The classes to choose from for an image.

    Attributes:
        semantics: class embeddings, `(C, A)` float32.
        names: class names, C of them.
        seen: which classes have training images, `(C,)` bool.
    """

    semantics: Tensor
    names: tuple[str, ...]
    seen: Tensor

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: torch.device | str) -> ClassSet:
        """Returns the same classes on a device."""
        return ClassSet(self.semantics.to(device), self.names, self.seen.to(device))

    def select(self, which: Iterable[int]) -> ClassSet:
        """Returns the classes at these positions, in this order."""
        index = [int(i) for i in which]
        rows = torch.tensor(index, dtype=torch.long, device=self.semantics.device)
        return ClassSet(self.semantics[rows], tuple(self.names[i] for i in index), self.seen[rows])

    @property
    def unseen_only(self) -> ClassSet:
        """The classes without training images."""
        return self.select((~self.seen).nonzero().flatten().tolist())

    @property
    def seen_only(self) -> ClassSet:
        """The classes with training images."""
        return self.select(self.seen.nonzero().flatten().tolist())


@dataclass(frozen=True)
class TrainView:
    """All that a method may see in training.

    Attributes:
        setting: what the method uses, as it declared.
        x: visual features of the training images, `(N, D)` float32; `(N, K, D)` for K crops if the input is images.
        y: the class of each image, `(N,)` int64, a position in `classes`.
        classes: the seen classes; in the semantic-transductive and transductive settings the unseen ones follow.
        unlabelled: features of unlabelled images of unseen classes, in the transductive setting only.
        pixels: the crops themselves, if the input is images.
        scratch: where features larger than memory lie; `x` and `unlabelled` are then on the CPU, whatever the device,
            and over files on disk.
    """

    setting: Setting
    x: Tensor
    y: Tensor
    classes: ClassSet
    unlabelled: Tensor | None = None
    pixels: Pixels | None = None
    scratch: Scratch | None = None

    @property
    def device(self) -> torch.device:
        """Where batches, classes and parameters are."""
        return self.y.device

    def parts(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields features and classes of the training images on the device, part by part: `(n, D)`, `(n,)`.

        Use it instead of `x` where all images count, so that features may be larger than memory. A part has up to 2**26
        values, 256 MB in float32; smaller data are one part.
        """
        parts = split(self.x)
        for x, y in zip(parts, torch.split(self.y, len(parts[0])), strict=True):
            yield x.to(self.device), y

    def sums(self, of: Callable[[Tensor, Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Returns sums over the training images, part by part, such as X'X: `sums(lambda x, y: (x.T @ x,))`.

        Args:
            of: returns the sums over the images of one part, given their features `(n, D)` in float64 and their
                classes `(n,)`.
        """
        totals: tuple[Tensor, ...] = ()
        for x, y in self.parts():
            own = of(x.double(), y)
            totals = tuple(a + b for a, b in zip(totals, own, strict=True)) if totals else own
        return totals

    @property
    def semantics(self) -> Tensor:
        """Class embeddings of `classes`, `(C, A)`."""
        return self.classes.semantics

    @property
    def shape(self) -> ProblemShape:
        """The sizes that a method is built for."""
        seen = int(self.classes.seen.sum())
        return ProblemShape(self.x.shape[-1], self.semantics.shape[1], len(self.classes), self.classes.names, seen)

    def to(self, device: torch.device | str) -> TrainView:
        """Returns the same view on a device; features on disk stay there."""
        view = replace(self, y=self.y.to(device), classes=self.classes.to(device))
        if self.scratch is not None:
            return view
        unlabelled = None if self.unlabelled is None else self.unlabelled.to(device)
        return view.with_features(self.x.to(device), unlabelled)

    def with_features(self, x: Tensor, unlabelled: Tensor | None) -> TrainView:
        """Returns the view with other features, for example scaled ones."""
        return replace(self, x=x, unlabelled=unlabelled)

    def with_classes(self, classes: ClassSet) -> TrainView:
        """Returns the view with other embeddings of the same classes."""
        return replace(self, classes=classes)

    @property
    def inductive(self) -> TrainView:
        """The view without unseen classes and unlabelled images."""
        return replace(self, setting="inductive", classes=self.classes.seen_only, unlabelled=None)

    def cut(self, classes: float = 0.25, images: float = 0.2) -> Cut:
        """Cuts the view by class into a smaller problem of the same kind, for what must know how unseen classes look.

        It draws from torch's global random numbers; call it in `solve`, where the run's seed decides them.

        Args:
            classes: share of the seen classes that play unseen ones; at least 2 do, and at least 2 stay seen.
            images: share of the images of each other class that is held out; at least one stays.

        Raises:
            DataError: fewer than 4 seen classes.
        """
        seen = self.classes.seen.nonzero().flatten().cpu()
        if len(seen) < 4:
            raise DataError(f"{len(seen)} seen classes are too few to cut some of them off; 4 are needed")
        count = min(max(2, round(classes * len(seen))), len(seen) - 2)
        order = torch.randperm(len(seen))
        rest, cut_off = seen[order[count:].sort().values], seen[order[:count].sort().values]
        y = self.y.cpu()
        is_cut, held_out = torch.isin(y, cut_off), torch.zeros(len(y), dtype=torch.bool)
        for c in rest.tolist():
            rows = (y == c).nonzero().flatten()
            most = min(max(1, round(images * len(rows))), len(rows) - 1)
            held_out[rows[torch.randperm(len(rows))[:most]]] = True
        return self._cut(torch.cat([rest, cut_off]), len(rest), is_cut, held_out)

    def _cut(self, classes: Tensor, stay: int, is_cut: Tensor, held_out: Tensor) -> Cut:
        chosen = self.classes.select(classes.tolist())
        chosen = replace(chosen, seen=torch.arange(len(classes), device=self.y.device) < stay)
        place = torch.full((len(self.classes),), -1, dtype=torch.int64)
        place[classes] = torch.arange(len(classes))
        y = place.to(self.y.device)[self.y]
        inside, outside = ((~is_cut & ~held_out).to(y.device), (is_cut | held_out).to(y.device))
        train = replace(
            self,
            x=self._taken(inside),
            y=y[inside],
            classes=chosen.seen_only if self.setting == "inductive" else chosen,
            unlabelled=self._taken(is_cut.to(y.device)) if self.setting == "transductive" else None,
            pixels=None if self.pixels is None else self.pixels.select(inside.nonzero().flatten().cpu().numpy()),
        )
        return Cut(train, self._taken(outside), y[outside], chosen)

    def _taken(self, which: Tensor) -> Tensor:
        if self.scratch is None:
            return self.x[which]
        return copied(self.x, which.nonzero().flatten().cpu(), self.scratch)


@dataclass(frozen=True)
class Cut:
    """A view cut by class: some of its seen classes play unseen ones, and images of the others are held out.

    Attributes:
        train: what is left to train on.
        x: features of the images that are not, of both kinds of classes, `(M, D)`; on disk where the view's are.
        y: the class of each, `(M,)`, a position in `classes`.
        classes: all of them; `seen` says which are left to train on, and these come first.
    """

    train: TrainView
    x: Tensor
    y: Tensor
    classes: ClassSet


@dataclass(frozen=True)
class TestView:
    """The test images and all classes; for evaluators only.

    Attributes:
        images: row of each test image in the data set, `(N,)`: first images of seen classes, then of unseen classes.
        y: class of each image, `(N,)`, a position in `classes`.
        classes: all classes, seen first.
        features: the data set's features, `(images, D)`, or `(images, K, D)` for K crops, possibly on disk; None if
            only scores are evaluated.
        pixels: crops of the test images, in the order of `images`, if the input is images.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    images: NDArray[np.int64]
    y: NDArray[np.int64]
    classes: ClassSet
    features: NDArray[np.float32] | None
    pixels: Pixels | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which test images belong to a seen class, `(N,)`."""
        mask: NDArray[np.bool_] = self.classes.seen.cpu().numpy()[self.y]
        return mask

    def x(self, rows: slice | NDArray[np.int64]) -> Tensor:
        """Reads the features of some test images, `(n, D)` or `(n, K, D)` float32."""
        if self.features is None:
            raise ValueError("this view was made without features")
        return torch.from_numpy(np.asarray(self.features[self.images[rows]], dtype=np.float32))
