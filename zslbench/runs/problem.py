"""One fold of a data set, cut and scaled: made once in a process, and kept for the fits that follow."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from zslbench.api.cards import Scaling, Setting
from zslbench.api.dataset import Fold, ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.scratch import Scratch, changed
from zslbench.api.views import ClassSet, TestView, TrainView
from zslbench.data.folders import cache_folder
from zslbench.data.scaling import Scaler, SemanticsScaler
from zslbench.evaluation.scorers import ModelScorer

KEPT = 2**30
"""Bytes of the problems that are kept; the newest one is, whatever its size."""
HELD = 2**28
"""Bytes of a problem's test features up to which they are kept scaled; larger ones are read at each measurement."""


@dataclass(frozen=True)
class Problem:
    """What one fold, or all of trainval, gives.

    Attributes:
        train: what a method may see, scaled.
        test: the images to score and all classes, unscaled.
        scale: of features, fitted on the training part.
        semantics: of class embeddings, fitted on the seen classes of the training part.
    """

    train: TrainView
    test: TestView
    scale: Scaler
    semantics: SemanticsScaler
    _copies: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    _checksums: dict[str, int] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._checksums["train"] = _checksum(self.train)

    @classmethod
    def of(
        cls, data: ZSLData, setting: Setting, scaling: Scaling, fold: Fold = None, memory: int | None = None
    ) -> Problem:
        """Cuts a fold (None for the proposed split) and scales it by what its training part says.

        A process keeps the last ones, up to `KEPT` bytes, so that runs that share one do not repeat the work. Features
        that would take more than `memory` bytes are kept on disk.

        Raises:
            DataError: class embeddings cannot be scaled so.
            NotWritten: features are to be on disk, and it is full.
        """
        scratch = Scratch(cache_folder() / "scratch") if memory is not None and needed(data, setting) > memory else None
        key = (id(data), setting, scaling, fold, scratch)
        found = _kept.pop(key, None)
        if found is None or found.data is not data or found.problem.changed:
            if scratch is not None:
                _kept.clear()  # so that the disk need not hold several
            found = _Kept(data, _made(data, setting, scaling, fold, scratch))
        _kept[key] = found
        while len(_kept) > 1 and sum(kept.problem.size for kept in _kept.values()) > KEPT:
            _kept.popitem(last=False)
        return found.problem

    def view(self, device: torch.device) -> TrainView:
        """Returns what a method may see, on a device."""
        if device.type == "cpu":
            return self.train
        return self._copy(f"train on {device}", lambda: self.train.to(device))  # type: ignore[no-any-return]

    def scorer(self, embedder: Embedder[Any], device: torch.device, x: Tensor | None = None) -> ModelScorer:
        """Returns the scores of its test images by a model; `x` are their scaled features, where these are at hand."""
        classes = self._copy("classes", lambda: self.semantics(self.test.classes))
        if x is None:
            x = self._features(device)
        return ModelScorer(embedder, self.test, self.scale, device, x, classes)

    @property
    def size(self) -> int:
        """The bytes of its tensors."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors())

    def tensors(self) -> Iterator[Tensor]:
        """Yields the tensors that a method is shown."""
        for shown in (self.train, *self._copies.values()):
            yield from _tensors(shown)

    @property
    def changed(self) -> bool:
        """Whether a method wrote to what it was shown, so that the next one must not see it."""
        written = any(tensor._version > 0 for tensor in self.tensors())
        shown = {"train": self.train, **self._copies}
        return written or any(_checksum(shown[name]) != own for name, own in self._checksums.items())

    def _features(self, device: torch.device) -> Tensor | None:
        """Returns the test images' scaled features, or None where they are too many, or images are the input."""
        view, features = self.test, self.test.features
        if view.pixels is not None or features is None or len(view) * features[0].size * 4 > HELD:
            return None
        return self._copy(f"test on {device}", lambda: self.scale(view.x(slice(0, len(view)))).to(device))  # type: ignore[no-any-return]

    def _copy(self, name: str, make: Any) -> Any:
        if name not in self._copies:
            self._copies[name] = make()
            self._checksums[name] = _checksum(self._copies[name])
        return self._copies[name]


def _tensors(shown: TrainView | ClassSet | Tensor) -> Iterator[Tensor]:
    if isinstance(shown, Tensor):
        yield shown
    elif isinstance(shown, ClassSet):
        yield from (shown.semantics, shown.seen)
    else:
        yield from (shown.x, shown.y, *_tensors(shown.classes))
        if shown.unlabelled is not None:
            yield shown.unlabelled


def _checksum(shown: TrainView | ClassSet | Tensor) -> int:
    """Returns a sum of what lies in main memory: NumPy can write there without PyTorch's knowing.

    Features on disk are left out; that would read them all.
    """
    on_disk = isinstance(shown, TrainView) and shown.scratch is not None
    arrays = [t.numpy() for t in _tensors(shown) if t.device.type == "cpu" and not (on_disk and t.ndim > 1)]
    if isinstance(shown, TrainView) and shown.pixels is not None:
        arrays.append(shown.pixels.rows)
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return found


class _Kept(NamedTuple):
    """A problem, with the data that it was cut from."""

    data: ZSLData
    problem: Problem


_kept: OrderedDict[tuple[Any, ...], _Kept] = OrderedDict()


def needed(data: ZSLData, setting: Setting) -> int:
    """Returns the bytes of the features that a method is shown, and of the copy that scaling makes."""
    if data.features is None:
        return 0
    images = len(data.train) + (len(data.test_unseen) if setting == "transductive" else 0)
    return 2 * 4 * images * prod(data.features.shape[1:])


def scaled(view: TrainView, scale: Scaler, semantics: SemanticsScaler) -> TrainView:
    """Returns a view with scaled features and class embeddings."""

    def own(x: Tensor) -> Tensor:
        return x if scale.kind == "none" else changed(x, scale, view.scratch)

    unlabelled = None if view.unlabelled is None else own(view.unlabelled)
    return view.with_features(own(view.x), unlabelled).with_classes(semantics(view.classes))


def _made(data: ZSLData, setting: Setting, scaling: Scaling, fold: Fold, scratch: Scratch | None) -> Problem:
    view = data.train_view(setting, fold) if scratch is None else data.train_view(setting, fold, scratch)
    scaler = Scaler.fit(scaling.scale, view.x)
    semantics = SemanticsScaler.fit(scaling.semantics_scale, view.classes.seen_only.semantics)
    return Problem(scaled(view, scaler, semantics), data.test_view(fold), scaler, semantics)
