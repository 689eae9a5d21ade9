"""RunRecord: everything that is kept about a finished run."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from zslbench.records.spec import RunSpec


class Training(BaseModel):
    """How the final model was trained."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float
    """Time of the final fit."""
    seconds_validation: float = 0.0
    """Time of the fit on the training part of trainval, made to choose gamma or the number of epochs."""
    epochs: int | None = None
    losses: list[dict[str, float]] = Field(default_factory=list)
    """Mean of each loss, one entry an epoch."""
    watched: list[dict[str, float]] = Field(default_factory=list)
    """Metrics on validation classes after each epoch of the main stage; only where a run is scored on them."""


PROTOCOL = {
    "accuracy": "per-class top-1: the mean over classes of the accuracy in each class",
    "scores": "raw, as the method gives them; ties are shared among the tied classes",
    "ausuc": "exact: one point for each interval of gamma, trapezoid rule, per-class accuracies of raw scores",
}
"""AUSUC depends on how accuracies are averaged and on the scale of the scores, so every record says both."""


class RunRecord(BaseModel):
    """One run: what was asked, what came out, and where every number is from. Metrics are fractions in [0, 1]."""

    model_config = ConfigDict(frozen=True)

    id: str
    spec: RunSpec
    params: dict[str, Any]
    """All hyper-parameters, defaults included."""
    params_from: str = "default"
    """`default`, `preset NAME: source`, `given`, or a combination."""
    protocol: dict[str, str] = Field(default_factory=lambda: dict(PROTOCOL))
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % bootstrap intervals over test images, stratified by class."""
    not_applicable: dict[str, str] = Field(default_factory=dict)
    """Evaluators that the method cannot answer, with the reason."""
    measured: dict[str, int] = Field(default_factory=dict)
    """Evaluators that were asked, and their versions: each has metrics here, or is not applicable."""
    measured_later: dict[str, str] = Field(default_factory=dict)
    """Of those that measured it after it was stored: when, and by which version."""
    validated: bool = False
    """Whether a fit on the training part of trainval was scored on validation classes too."""
    validation: dict[str, float] = Field(default_factory=dict)
    """Metrics of that fit on validation classes."""
    no_conventional: str = ""
    """Why the method cannot choose among unseen classes alone, if it cannot."""
    class_names: list[str] = Field(default_factory=list)
    """Classes in the order that stored decisions refer to: seen, then unseen."""
    per_class: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Per-class top-1 by task (`u->u`, `u->t`, `s->t`) and class name."""
    training: Training | None = None
    """None for scores that were made elsewhere."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    arrays: str = ""
    """File beside the record with each test image's decisions; named by the hash of its content."""
    model: str = ""
    """File beside the record with the final model, if it was kept; named likewise."""

    @property
    def search(self) -> str:
        """The id of the search that chose its hyper-parameters; empty where none did."""
        named = re.search(r"\(search ([0-9a-f]{16})\)$", self.params_from)
        return named[1] if named else ""

    @property
    def pretraining(self) -> str:
        """What the network behind the features was trained on; unknown to records that are older than the question."""
        return str(self.provenance.get("pretraining", "unknown"))

    @property
    def tuned(self) -> bool:
        """Whether a search chose its hyper-parameters."""
        return self.params_from.startswith("tuned: ")

    @property
    def external(self) -> bool:
        """Whether the scores were made by other code and only evaluated here."""
        return self.training is None
