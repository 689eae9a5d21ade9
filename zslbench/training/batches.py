"""Batches of a training view: features gathered on the device, and crops read from disk ahead of their step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from zslbench.api.embedder import Batch, Part
from zslbench.api.views import TrainView
from zslbench.training import together

AHEAD = 2
"""Batches whose crops are read while a step is computed."""


class Batches:
    """Makes batches; all that is random about them comes from one generator, in the same state in every process.

    Losses draw from `own`, which is the same one where there is but one process.
    """

    def __init__(self, view: TrainView, generator: torch.Generator, own: torch.Generator) -> None:
        self.view = view
        self.generator = generator
        self.own = own
        self._reader = ThreadPoolExecutor(1) if view.pixels is not None else None

    def draw(self, size: int, count: int) -> Iterator[Batch]:
        """Yields batches that go through all images before any comes again; the last one of a pass may be smaller.

        Where the input is images, each comes as one of its crops.
        """
        if self.view.pixels is None:
            for rows in self.rows(size, count):
                yield self._batch(rows[together.share(len(rows))], len(rows), None, None)
            return
        made = 0
        while made < count:
            for batch in self._one_pass(size):
                yield batch
                made += 1
                if made == count:
                    break

    def rows(self, size: int, count: int) -> Iterator[Tensor]:
        """Yields the images of each batch, `(B,)`; a pass is ordered when it begins."""
        images, device = len(self.view.x), self.view.x.device
        parts: Iterator[Tensor] = iter(())
        for _ in range(count):
            rows = next(parts, None)
            if rows is None:
                order = torch.randperm(images, generator=self.generator, device=device)
                parts = iter(torch.split(order, size))
                rows = next(parts)
            yield rows

    def _one_pass(self, size: int) -> Iterator[Batch]:
        x, device = self.view.x, self.view.x.device
        order = torch.randperm(len(x), generator=self.generator, device=device)
        crops = torch.randint(x.shape[1], (len(x),), generator=self.generator, device=device)
        parts = [
            (len(rows), rows[together.share(len(rows))], which[together.share(len(rows))])
            for rows, which in zip(torch.split(order, size), torch.split(crops, size), strict=True)
        ]
        waiting: deque[Future[Tensor]] = deque()
        for i, (whole, rows, which) in enumerate(parts):
            waiting.extend(self._read(*part[1:]) for part in parts[i + len(waiting) : i + 1 + AHEAD])
            yield self._batch(rows, whole, which, waiting.popleft().result())

    def _read(self, rows: Tensor, crops: Tensor) -> Future[Tensor]:
        assert self._reader is not None and self.view.pixels is not None
        return self._reader.submit(self.view.pixels.read, rows.cpu().numpy(), crops.cpu().numpy())

    def _batch(self, rows: Tensor, whole: int, crops: Tensor | None, pixels: Tensor | None) -> Batch:
        view = self.view
        part = None
        if together.processes() > 1:
            part = Part(whole, together.share(whole).start, together.weight(whole), self.generator)
        return Batch(
            x=view.x[rows] if crops is None else view.x[rows, crops],
            y=view.y[rows],
            classes=view.classes,
            generator=self.own,
            pixels=None if pixels is None else pixels.to(view.x.device, torch.float32) / 255,
            part=part,
        )
