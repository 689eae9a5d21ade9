"""Progress: what is known of a run while it trains."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """Where training stands after an epoch."""

    stage: str
    epoch: int
    epochs: int
    losses: dict[str, float]
    """Mean of each loss over the epoch, named `objective` or `objective/term`."""
    seconds: float
    """Since this fit began, time before an interruption included."""
    step: int
    """Epochs since this fit began, those of earlier stages and before an interruption included."""
    fit: str = "final"
    """`validation` for the fit on the training part of trainval, `final` for the one whose scores are recorded."""
    watched: dict[str, float] = field(default_factory=dict)
    """Metrics on validation classes after this epoch, where a fit is watched on them."""
