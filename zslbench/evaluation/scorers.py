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


class ModelScorer(Scorer):
    """Scores of a trained model; features are read and scaled chunk by chunk."""

    def __init__(
        self, embedder: Embedder[Any], view: TestView, scale: Callable[[Tensor], Tensor], device: torch.device
    ) -> None:
        super().__init__(view)
        self.embedder = embedder
        self.scale = scale
        self.device = device

    def scores(self, rows: slice, classes: NDArray[np.int64]) -> Tensor:
        """Returns the model's scores in float32, `(n, C)`."""
        assert self.embedder is not None
        x = self.scale(self.view.x(rows)).to(self.device)
        with torch.no_grad():
            return self.embedder.scores(x, self.view.classes.select(classes).to(self.device)).float()


class MatrixScorer(Scorer):
    """Scores from a matrix in the order of the view's images and classes, `(N, C)`."""

    def __init__(self, matrix: NDArray[np.floating[Any]], view: TestView) -> None:
        super().__init__(view)
        self.matrix = matrix

    def scores(self, rows: slice, classes: NDArray[np.int64]) -> Tensor:
        """Returns a part of the matrix."""
        return torch.from_numpy(np.array(self.matrix[rows][:, classes]))
