"""Batches of a training view: features gathered on the device, and what lies on disk read ahead of its step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from zslbench.api.embedder import Batch, Part
from zslbench.api.scratch import fetch
from zslbench.api.views import TrainView
from zslbench.training import together

AHEAD = 2
"""Batches that are read from disk while a step is computed."""


class _Drawn(NamedTuple):
    """What is in a batch, or in this process's part of it.

    Attributes:
        whole: images in the whole batch.
        rows: the images, `(B,)`; on the CPU where they are read from disk.
        crops: which crop of each, if the input is images.
    """

    whole: int
    rows: Tensor
    crops: Tensor | None


class _Read(NamedTuple):
    """What was read from disk for a batch: features, crops, or both; on the CPU."""

    x: Tensor | None = None
    pixels: Tensor | None = None


class Batches:
    """Makes batches; all that is random about them comes from one generator, in the same state in every process.

    Losses draw from `own`, which is the same one where there is but one process.
    """

    def __init__(self, view: TrainView, generator: torch.Generator, own: torch.Generator) -> None:
        self.view = view
        self.generator = generator
        self.own = own
        self._reader = None if view.pixels is None and view.scratch is None else ThreadPoolExecutor(1)

    def draw(self, size: int, count: int) -> Iterator[Batch]:
        """Yields batches that go through all images before any comes again; the last one of a pass may be smaller.

        Where the input is images, each comes as one of its crops.
        """
        while count > 0:
            drawn = self._one_pass(size)[:count]
            count -= len(drawn)
            yield from self._read_ahead(drawn) if self._reader else (self._batch(one, _Read()) for one in drawn)

    def rows(self, size: int, count: int) -> Iterator[Tensor]:
        """Yields the images of each batch, `(B,)`; a pass is ordered when it begins."""
        while count > 0:
            rows = torch.split(self._order(), size)[:count]
            count -= len(rows)
            yield from rows

    def _order(self) -> Tensor:
        return torch.randperm(len(self.view.x), generator=self.generator, device=self.view.device)

    def _one_pass(self, size: int) -> list[_Drawn]:
        order, crops = self._order(), None
        if self.view.pixels is not None:
            many = (len(order),)
            crops = torch.randint(self.view.x.shape[1], many, generator=self.generator, device=order.device)
        if self._reader is not None:
            order, crops = order.cpu(), None if crops is None else crops.cpu()
        drawn = []
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            own = together.share(len(rows))
            drawn.append(_Drawn(len(rows), rows[own], None if crops is None else crops[start : start + size][own]))
        return drawn

    def _read_ahead(self, drawn: Sequence[_Drawn]) -> Iterator[Batch]:
        """Yields the batches of a pass; those of the next are drawn after all that the steps of this one draw."""
        assert self._reader is not None
        waiting: deque[Future[_Read]] = deque()
        for i, one in enumerate(drawn):
            waiting.extend(self._reader.submit(self._read, later) for later in drawn[i + len(waiting) : i + 1 + AHEAD])
            yield self._batch(one, waiting.popleft().result())

    def _read(self, drawn: _Drawn) -> _Read:
        x, pixels = None, None
        if self.view.scratch is not None:
            x = self._features(drawn)
        if self.view.pixels is not None:
            assert drawn.crops is not None
            pixels = self.view.pixels.read(drawn.rows.numpy(), drawn.crops.numpy())
        return _Read(x, pixels)

    def _features(self, drawn: _Drawn) -> Tensor:
        """Reads features on disk in the order in which they lie there; with NumPy, which starts no further threads."""
        source, pinned = self.view.x.flatten(0, -2), self.view.device.type == "cuda"  # a crop a row, if there are any
        result = torch.empty((len(drawn.rows), source.shape[-1]), dtype=source.dtype, pin_memory=pinned)
        rows, order = (tensor.numpy() for tensor in drawn.rows.sort())
        if drawn.crops is not None:
            rows = rows * self.view.x.shape[1] + drawn.crops.numpy()[order]
        fetch(source, rows.tolist())
        result.numpy()[order] = source.numpy()[rows]
        return result

    def _batch(self, drawn: _Drawn, read: _Read) -> Batch:
        view, (whole, rows, crops) = self.view, drawn
        part = None
        if together.processes() > 1:
            part = Part(whole, together.share(whole).start, together.weight(whole), self.generator)
        if read.x is not None:
            x = read.x.to(view.device, non_blocking=True)
        else:
            x = view.x[rows] if crops is None else view.x[rows, crops]
        return Batch(
            x=x,
            y=view.y[rows],
            classes=view.classes,
            generator=self.own,
            pixels=None if read.pixels is None else read.pixels.to(view.device, torch.float32) / 255,
            part=part,
        )
