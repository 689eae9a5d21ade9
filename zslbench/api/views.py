"""Views: what a method may see (`TrainView`) and what only evaluators see (`TestView`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api.cards import Setting
from zslbench.api.images import Pixels


@dataclass(frozen=True)
class ProblemShape:
    """What a method needs to build its networks: D features, A attributes, the classes to train on, their names."""

    features: int
    attributes: int
    classes: int
    names: tuple[str, ...] = ()


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
    """

    setting: Setting
    x: Tensor
    y: Tensor
    classes: ClassSet
    unlabelled: Tensor | None = None
    pixels: Pixels | None = None

    @property
    def semantics(self) -> Tensor:
        """Class embeddings of `classes`, `(C, A)`."""
        return self.classes.semantics

    @property
    def shape(self) -> ProblemShape:
        """The sizes that a method is built for."""
        return ProblemShape(self.x.shape[-1], self.semantics.shape[1], len(self.classes), self.classes.names)

    def to(self, device: torch.device | str) -> TrainView:
        """Returns the same view on a device."""
        unlabelled = None if self.unlabelled is None else self.unlabelled.to(device)
        x, y, classes = self.x.to(device), self.y.to(device), self.classes.to(device)
        return replace(self, x=x, y=y, classes=classes, unlabelled=unlabelled)

    def with_features(self, x: Tensor, unlabelled: Tensor | None) -> TrainView:
        """Returns the view with other features, for example scaled ones."""
        return replace(self, x=x, unlabelled=unlabelled)

    def with_classes(self, classes: ClassSet) -> TrainView:
        """Returns the view with other embeddings of the same classes."""
        return replace(self, classes=classes)


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
