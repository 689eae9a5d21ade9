"""Where scores come from: a trained model, a matrix made by other code, or the decisions of a stored run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Decisions, Scorer, among_unseen
from zslbench.api.views import ClassSet, TestView
from zslbench.errors import NeedsScores, NotApplicable, RunError

FEATURES_AT_ONCE = 2**24
"""Numbers in the features of crops that are held in memory at a time."""


class ModelScorer(Scorer):
    """Scores of a trained model; features are read and scaled chunk by chunk, unless `x` has them all.

    `classes` are the view's as the model is shown them, if their embeddings are scaled.
    Where the input is images, an image's scores are the mean over its crops.
    """

    embedder: Embedder[Any]

    def __init__(
        self,
        embedder: Embedder[Any],
        view: TestView,
        scale: Callable[[Tensor], Tensor],
        device: torch.device,
        x: Tensor | None = None,
        classes: ClassSet | None = None,
    ) -> None:
        super().__init__(view)
        self.embedder, self.scale, self.device, self.x = embedder, scale, device, x
        self.classes = view.classes if classes is None else classes
        self.independent = type(embedder).scores is Embedder.scores
        self._last: tuple[NDArray[np.int64], ClassSet] | None = None

    def scores(self, rows: slice, classes: NDArray[np.int64]) -> Tensor:
        """Returns the model's scores in float32, `(n, C)`."""
        chosen = self._selected(classes)
        if self.view.pixels is None:
            return self._scores(self._features(rows), chosen)
        step = max(1, FEATURES_AT_ONCE // self.view.x(slice(0, 1)).numel())
        parts = []
        for start in range(rows.start, rows.stop, step):
            x = self._features(slice(start, min(start + step, rows.stop)))
            parts.append(self._scores(x.flatten(0, 1), chosen).view(*x.shape[:2], -1).mean(dim=1))
        return torch.cat(parts)

    def _selected(self, classes: NDArray[np.int64]) -> ClassSet:
        """Returns some classes on the device; those of the last part again."""
        if self._last is None or not np.array_equal(self._last[0], classes):
            self._last = classes, self.classes.select(classes).to(self.device)
        return self._last[1]

    def reconstruct(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns the centre crops of some test images, and what the model makes of them; see `Scorer`."""
        if self.view.pixels is None:
            raise NotApplicable("its input is features, not images")
        original = self.view.pixels.centres(np.arange(rows.start, rows.stop)).to(self.device, torch.float32) / 255
        with torch.no_grad():
            made = self.embedder.reconstruct(self._features(rows)[:, 0], original)
        if made.shape != original.shape:
            raise RunError(f"reconstruct() gave shape {tuple(made.shape)}; {tuple(original.shape)} is needed")
        return original, made.float()

    def embeddings(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns features and embeddings of some test images; see `Scorer`."""
        if type(self.embedder).embed is Embedder.embed:
            raise NotApplicable("it has no embedding of images")
        x = self._features(rows)
        x = x if self.view.pixels is None else x[:, 0]
        with torch.no_grad():
            return x, self.embedder.embed(x).float()

    def _features(self, rows: slice) -> Tensor:
        return self.scale(self.view.x(rows)).to(self.device) if self.x is None else self.x[rows]

    def _scores(self, x: Tensor, classes: ClassSet) -> Tensor:
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

    independent = True

    def __init__(self, matrix: NDArray[np.floating[Any]], view: TestView) -> None:
        super().__init__(view)
        self.matrix = matrix

    def scores(self, rows: slice, classes: NDArray[np.int64]) -> Tensor:
        """Returns a part of the matrix."""
        return torch.from_numpy(np.array(self.matrix[rows][:, classes]))


class StoredScorer(Scorer):
    """Decisions that were kept; what needs more asks the kept model, or raises `NeedsScores` where there is none."""

    def __init__(
        self,
        view: TestView,
        decisions: Decisions,
        conventional: Decisions | str | None = None,
        model: Callable[[], Scorer] | None = None,
    ) -> None:
        """Takes the decisions of a run among all classes, and its images and classes.

        `conventional` are those of images of unseen classes among these alone, or why the method has none; None where
        they are those among all classes, without the seen ones. `model` gives the scores of the kept model of the run.
        """
        super().__init__(view)
        self.generalized, self._conventional, self._model = decisions, conventional, model

    @cached_property
    def conventional(self) -> Decisions:
        """Test images of unseen classes, decided among unseen classes."""
        if isinstance(self._conventional, str):
            raise NotApplicable(self._conventional)
        return among_unseen(self.generalized) if self._conventional is None else self._conventional

    def ranks(self) -> dict[str, NDArray[np.int32]]:
        """Returns the model's, or raises `NeedsScores`."""
        return self.model.ranks()

    def scores(self, rows: slice, classes: NDArray[np.int64]) -> Tensor:
        """Returns the model's, or raises `NeedsScores`."""
        return self.model.scores(rows, classes)

    def embeddings(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns the model's, or raises `NeedsScores`."""
        return self.model.embeddings(rows)

    def reconstruct(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns the model's, or raises `NeedsScores`."""
        return self.model.reconstruct(rows)

    @cached_property
    def model(self) -> Scorer:
        """The scores of the kept model."""
        if self._model is None:
            raise NeedsScores("it needs the model, and these runs kept decisions alone")
        return self._model()
