"""Where scores come from: a trained model, or a matrix made by any other code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Scorer
from zslbench.api.views import TestView
from zslbench.errors import RunError


class ModelScorer(Scorer):
    """Scores of a trained model; features are read and scaled chunk by chunk, unless `x` has them all."""

    def __init__(
        self,
        embedder: Embedder[Any],
        view: TestView,
        scale: Callable[[Tensor], Tensor],
        device: torch.device,
        x: Tensor | None = None,
    ) -> None:
        super().__init__(view)
        self.embedder = embedder
        self.scale = scale
        self.device = device
        self.x = x

    def scores(self, rows: slice, classes: NDArray[np.int64]) -> Tensor:
        """Returns the model's scores in float32, `(n, C)`."""
        assert self.embedder is not None
        x = self.scale(self.view.x(rows)).to(self.device) if self.x is None else self.x[rows]
        with torch.no_grad():
            scores = self.embedder.scores(x, self.view.classes.select(classes).to(self.device))
        if not isinstance(scores, Tensor) or scores.shape != (len(x), len(classes)):
            given = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"type {type(scores).__name__}"
            raise RunError(
                f"scores() of {len(x)} images and {len(classes)} classes have {given}; a tensor of shape "
                f"({len(x)}, {len(classes)}) is needed"
            )
        return scores.float()

    def check_independence(self) -> None:
        """Scores a few test images alone.

        Raises:
            RunError: their scores depend on which other test images are scored with them.
        """
        together = self.generalized
        every_class = np.arange(len(self.view.classes))
        seen = self.view.classes.seen.cpu()
        for row in {0, len(self.view) // 2, len(self.view) - 1}:
            alone = float(self.scores(slice(row, row + 1), every_class)[:, seen.to(self.device)].max())
            if not np.isclose(alone, together.best_seen[row], rtol=1e-2, atol=1e-3 * np.abs(together.best_seen).max()):
                raise RunError("the method's scores of a test image depend on the other test images scored with it")


class MatrixScorer(Scorer):
    """Scores from a matrix in the order of the view's images and classes, `(N, C)`."""

    def __init__(self, matrix: NDArray[np.floating[Any]], view: TestView) -> None:
        super().__init__(view)
        self.matrix = matrix

    def scores(self, rows: slice, classes: NDArray[np.int64]) -> Tensor:
        """Returns a part of the matrix."""
        return torch.from_numpy(np.array(self.matrix[rows][:, classes]))
