"""Progress: what is known about a run while it trains."""

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
    """Time since this fit began, including time before an interruption."""
    step: int
    """Epochs since this fit began, including earlier stages and epochs before an interruption."""
    fit: str = "final"
    """`validation` for the fit on the training part of trainval, `final` for the fit whose scores are recorded;
    `final-1-NAME`, ... for the fits of members within it."""
    watched: dict[str, float] = field(default_factory=dict)
    """Metrics on validation classes after this epoch, if the fit is watched on them."""
