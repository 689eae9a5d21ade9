"""Where scores come from: a trained model, a matrix made by any other code, or only decisions, of a stored run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Decisions, Scorer
from zslbench.api.views import ClassSet, TestView
from zslbench.errors import NeedsScores, NotApplicable, RunError

FEATURES_AT_ONCE = 2**24
"""Numbers in the features of crops that are held in memory at a time."""


class ModelScorer(Scorer):
    """Scores of a trained model; features are read and scaled chunk by chunk, unless `x` has them all.

    Where the input is images, an image's scores are the mean over its crops.
    """

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
        chosen = self.view.classes.select(classes).to(self.device)
        if self.view.pixels is None:
            return self._scores(self._features(rows), chosen)
        step = max(1, FEATURES_AT_ONCE // self.view.x(slice(0, 1)).numel())
        parts = []
        for start in range(rows.start, rows.stop, step):
            x = self._features(slice(start, min(start + step, rows.stop)))
            parts.append(self._scores(x.flatten(0, 1), chosen).view(*x.shape[:2], -1).mean(dim=1))
        return torch.cat(parts)

    def reconstruct(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns the centre crops of some test images, and what the model makes of them, `(n, 3, H, W)` in [0, 1].

        Raises:
            NotApplicable: the input is no images, or the method makes none.
        """
        if self.view.pixels is None:
            raise NotApplicable("its input is features, not images")
        assert self.embedder is not None
        original = self.view.pixels.centres(np.arange(rows.start, rows.stop)).to(self.device, torch.float32) / 255
        with torch.no_grad():
            made = self.embedder.reconstruct(self._features(rows)[:, 0], original)
        if made.shape != original.shape:
            raise RunError(f"reconstruct() gave shape {tuple(made.shape)}; {tuple(original.shape)} is needed")
        return original, made.float()

    def _features(self, rows: slice) -> Tensor:
        return self.scale(self.view.x(rows)).to(self.device) if self.x is None else self.x[rows]

    def _scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        assert self.embedder is not None
        with torch.no_grad():
            scores = self.embedder.scores(x, classes)
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


class StoredScorer(Scorer):
    """The decisions of a stored run, whose model is gone: enough for every metric that follows from them."""

    def __init__(self, view: TestView, decisions: Decisions, conventional: Decisions | str | None = None) -> None:
        """Takes decisions among all classes, and those among unseen classes or why there are none.

        With None these follow from the others: right where the score of a class does not depend on which are asked for.
        """
        super().__init__(view)
        self.generalized = decisions
        self._conventional = conventional

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], class_names: Sequence[str]) -> StoredScorer:
        """Returns the scorer of a record's arrays and class names; its class embeddings have no columns."""
        d = Decisions.of(arrays)
        first_unseen = int(d.y[~d.seen].min(initial=len(class_names)))
        seen = torch.arange(len(class_names)) < first_unseen
        classes = ClassSet(torch.zeros(len(class_names), 0), tuple(class_names), seen)
        return cls(TestView(arrays["images"], d.y, classes, None), d)

    @cached_property
    def conventional(self) -> Decisions:
        """Test images of unseen classes, decided among unseen classes; raises NotApplicable where there are none."""
        if isinstance(self._conventional, str):
            raise NotApplicable(self._conventional)
        if self._conventional is not None:
            return self._conventional
        d = self.generalized
        own = {name: array[~d.seen] for name, array in d.arrays().items()}
        none = np.zeros(len(own["y"]), dtype=np.int64)
        own |= {"best_seen": none - np.inf, "ties_seen": none, "hit_seen": none > 0, "choice_seen": none - 1}
        return Decisions.of(own)

    def scores(self, rows: slice, classes: NDArray[np.int64]) -> Tensor:
        """Raises NeedsScores: they were not kept."""
        raise NeedsScores("it needs the score of every class, and only decisions are kept")
