"""Small scored test sets in which ties abound."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from toy import matrix_scorer

from zslbench.api.evaluator import Scorer


class Scored(NamedTuple):
    """Scores `(N, C)`, the class of each image, and which classes are seen; images of seen classes come first."""

    scores: NDArray[np.float64]
    y: NDArray[np.int64]
    seen: NDArray[np.bool_]

    @property
    def scorer(self) -> Scorer:
        return matrix_scorer(*self)


@st.composite
def scored(draw: st.DrawFn, most_classes: int = 6, most_images: int = 12) -> Scored:
    """Integer scores in a small range, both kinds of class, at least one image of each kind."""
    seen_classes = draw(st.integers(1, most_classes - 1))
    unseen_classes = draw(st.integers(1, most_classes - seen_classes))
    seen = np.arange(seen_classes + unseen_classes) < seen_classes
    y_seen = draw(st.lists(st.integers(0, seen_classes - 1), min_size=1, max_size=most_images // 2))
    y_unseen = draw(st.lists(st.integers(seen_classes, len(seen) - 1), min_size=1, max_size=most_images // 2))
    y = np.array(y_seen + y_unseen)
    row = st.lists(st.integers(-2, 2), min_size=len(seen), max_size=len(seen))
    scores = draw(st.lists(row, min_size=len(y), max_size=len(y)))
    return Scored(np.array(scores, dtype=np.float64), y, seen)
