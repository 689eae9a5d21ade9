"""RunSpec: what identifies a run. Two runs with the same id would train the same model.

How a model is measured is no part of it: a record says which evaluators measured it, and in which version.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zslbench.api.cards import SCALINGS, Input, Scale, Scaling, SemanticsScale, Setting

SCHEMA = 2
LABELS = {"dataset", "semantics"}
"""Fields that name things for people; the fingerprint says which data it is, wherever the folder lies."""


class RunSpec(BaseModel):
    """Everything that decides what is trained, and nothing else (no evaluators, no device, no time, no packages).

    A field with a default is hashed only where it differs from it, so that a field added later keeps old ids.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = Field(default=SCHEMA)
    method: str
    method_version: int
    code: str = ""
    """Hash of a method that is a single file; an installed one raises its version when its meaning changes."""
    params: dict[str, Any]
    """The hyper-parameters that differ from the method's defaults."""
    dataset: str
    """The data set's name or folder, for people; `fingerprint` identifies it."""
    fingerprint: str
    """Hash of labels, class embeddings, splits and features."""
    features: str
    semantics: str = "att"
    """Which class embeddings, for people; `fingerprint` identifies them."""
    scale: Scale
    semantics_scale: SemanticsScale = "none"
    setting: Setting | Literal["unknown"]
    """What the method may use; unknown only for scores made elsewhere."""
    seed: int
    on: Literal["test", "validation"] = "test"
    """`validation` scores validation classes cut from trainval and never touches a test image."""
    fold: int = 0
    """Which cut of the seen classes into training and validation classes."""
    stop_on: str = ""
    """The metric of its validation classes whose curve ends training; of trials, whose model is of the best epoch."""
    stop_after: int = 0
    """Epochs without a better value of that metric after which training ends."""
    stop_below: float | None = None
    """Training ends after the first `stop_after` epochs, too, where none of them was as good as this value."""
    precision: Literal["32", "bf16"] = "32"
    input: Input = "features"
    """What the method was given of an image."""
    pretrained: bool = True
    """Whether networks start from pretrained weights where there are some; images only."""
    shots: int | float | None = None
    """Training images of each seen class, or their share below 1; drawn by the seed. None for all."""
    weights: dict[str, str] = Field(default_factory=dict)
    """Hash of the file of weights given for a part of the method, by part; images only."""
    members: dict[str, str] = Field(default_factory=dict)
    """Version of each method that is trained as a part of this one, and its code where it is a single file."""

    @property
    def bootstrapped(self) -> bool:
        """Whether its metrics have intervals; those of a trial that ends by its curve would be read by nobody."""
        return not self.stop_on

    @property
    def scaling(self) -> Scaling:
        """How its data were scaled."""
        return Scaling(**{name: getattr(self, name) for name in SCALINGS})

    @cached_property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        values = {"schema_version": self.schema_version} | self.model_dump(
            mode="json", exclude=LABELS, exclude_defaults=True
        )
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
