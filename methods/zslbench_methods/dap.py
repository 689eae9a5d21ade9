"""DAP (Lampert, Nickisch & Harmeling, CVPR 2009, TPAMI 2014): direct attribute prediction."""

from __future__ import annotations

from torch import Tensor

from zslbench import ProblemShape, TrainView
from zslbench_methods.attributes import AttributeEmbedder, AttributeParams
from zslbench_methods.logistic import BinaryRegressions


class DAPParams(AttributeParams):
    """Those of attribute methods."""


class DAP(AttributeEmbedder[DAPParams]):
    """p(a_m | x) is a logistic regression of its own for each attribute m."""

    def build(self, shape: ProblemShape) -> None:
        """Creates A regressions."""
        super().build(shape)
        self.attributes = BinaryRegressions(shape.features, shape.attributes)

    def log_odds(self, x: Tensor) -> Tensor:
        """Returns the logits of the regressions, `(B, A)`."""
        return self.attributes.logits(x)

    def solve(self, view: TrainView) -> None:
        """Fits all regressions at once; the problem separates into one for each attribute."""
        self.attributes.fit(view.x, self.learn_classes(view)[view.y], self.params.l2)
