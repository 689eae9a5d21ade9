"""Search: the whole log of one tuning, from which its tuned preset is read."""

from __future__ import annotations

import hashlib
import json
import math
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zslbench.api.params import Space

if TYPE_CHECKING:
    import pandas as pd


FINALISTS = 4
"""Trials that run on every fold at least."""


def halved(trials: int, fold: int) -> int:
    """Returns how many of so many trials run on a fold, the first being 0."""
    return min(trials, max(FINALISTS, math.ceil(trials / (1 << fold))))


class SearchTrial(BaseModel):
    """One point of the search space, scored on validation classes.

    Attributes:
        params: the values tried; with `epochs` where the best number of them was read off the validation curves.
        state: `complete` where it ran on all folds, `failed` where a run failed; `pruned` where its first epochs were
            hopeless, or where others were better on the first folds.
        values: the metric on each fold that was run, a fraction; at the trial's number of epochs, where it has one.
        early: the best of the first epochs on the first fold, by which later trials may be hopeless; None where the
            number of epochs is not read off the validation curves.
        means: the mean over the first folds, after each of them, at the best number of epochs by then; none where the
            trial was hopeless, or failed. By the first one, further trials are proposed; by each, those are chosen that
            run on the next fold.
        runs: ids of the runs, in the order of folds; none where a whole grid was solved at once.
        seconds: fits and scoring of all folds.
        reason: why it failed.
    """

    model_config = ConfigDict(frozen=True)

    params: dict[str, Any]
    state: Literal["complete", "pruned", "failed"]
    values: list[float] = Field(default_factory=list)
    early: float | None = None
    means: list[float] = Field(default_factory=list)
    runs: list[str] = Field(default_factory=list)
    seconds: float = 0.0
    reason: str = ""

    @property
    def hopeless(self) -> bool:
        """Whether the first epochs were, for which the trial ended; of an old log, it may have been the first fold."""
        return self.state == "pruned" and not self.means

    @property
    def value(self) -> float:
        """The mean over folds."""
        return sum(self.values) / len(self.values)


class Search(BaseModel):
    """A search over a method's hyper-parameters on one data set; nothing in it comes from a test image.

    `tuned` are the values it chose, `frame()` is what it tried.
    """

    model_config = ConfigDict(frozen=True)

    method: str
    method_version: int
    code: str = ""
    """Hash of a method that is a single file."""
    base: dict[str, Any]
    """Hyper-parameters and scaling that were fixed, by a preset or by hand."""
    dataset: str
    fingerprint: str
    features: str
    scale: str
    """Of features, unless it was searched."""
    semantics_scale: str = "none"
    """Of class embeddings, likewise."""
    setting: str
    precision: str
    metric: str
    """What was chosen by."""
    higher_is_better: bool = True
    folds: int
    strategy: Literal["grid", "tpe"]
    space: dict[str, Space]
    pretrained: bool = True
    shots: int | float | None = None
    """Training images of each seen class, or their share below 1, drawn by seed 0; None for all."""
    weights: dict[str, str] = Field(default_factory=dict)
    """Hashes of the files of weights, by part of the method."""
    members: dict[str, str] = Field(default_factory=dict)
    """Versions of the methods that are trained as parts of this one."""
    wanted: int
    """Trials asked for."""
    trials: list[SearchTrial] = Field(default_factory=list)

    @property
    def id(self) -> str:
        """Identity: what was tuned, and on what; not how the space was searched."""
        fields = {
            "method", "method_version", "base", "fingerprint", "features",
            "scale", "setting", "precision", "metric", "folds",
        }  # fmt: skip
        fields |= {"code"} if self.code else set()  # ids are older than these fields
        fields |= {"semantics_scale"} if self.semantics_scale != "none" else set()
        fields |= set() if self.pretrained else {"pretrained"}
        fields |= {"weights"} if self.weights else set()
        fields |= set() if self.shots is None else {"shots"}
        fields |= {"members"} if self.members else set()
        canonical = json.dumps(self.model_dump(mode="json", include=fields), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def tried_all(self) -> bool:
        """Whether all trials asked for were made, at least on the first fold."""
        return len(self.trials) >= self.wanted

    @property
    def finished(self) -> bool:
        """Whether all trials asked for were made, and the best of them on all folds."""
        return self.tried_all and not self.due[1]

    def advancing(self, fold: int) -> int:
        """Returns how many trials run on a fold: all on the first, 0, and half as many on each further one."""
        return self.wanted if self.strategy == "grid" else halved(self.wanted, fold)

    def ranked(self, folds: int) -> list[int]:
        """Returns the numbers of the trials that ran on so many folds, by their mean over these, the best one first."""
        able = [number for number, trial in enumerate(self.trials) if len(trial.means) >= folds]
        return sorted(able, key=lambda number: -self.worth(self.trials[number].means[folds - 1]))

    @property
    def due(self) -> tuple[int, list[int]]:
        """The next fold on which trials are to run that ran on those before, and their numbers; none at the end."""
        for fold in range(1, self.folds):
            best = self.ranked(fold)[: self.advancing(fold)]
            if missing := sorted(number for number in best if len(self.trials[number].means) == fold):
                return fold, missing
        return self.folds, []

    @property
    def fits(self) -> int:
        """How many fits were made."""
        return sum(len(trial.values) for trial in self.trials)

    @property
    def fits_left(self) -> int:
        """How many fits there are still to make, at most."""
        made = [sum(len(trial.means) > fold for trial in self.trials) for fold in range(1, self.folds)]
        further = [max(0, self.advancing(fold) - count) for fold, count in enumerate(made, 1)]
        return self.wanted - len(self.trials) + sum(further)

    @property
    def complete(self) -> list[SearchTrial]:
        """The trials that ran on all folds."""
        return [trial for trial in self.trials if trial.state == "complete"]

    @property
    def best(self) -> SearchTrial:
        """The trial with the best mean over folds; the first of equals."""
        return max(self.complete, key=lambda trial: self.worth(trial.value))

    def worth(self, value: float) -> float:
        """Returns a value of the metric such that more is better."""
        return value if self.higher_is_better else -value

    @property
    def tuned(self) -> dict[str, Any]:
        """The tuned preset: all hyper-parameters, and the scaling, that were fixed or chosen."""
        return {**self.base, **self.best.params}

    @property
    def extent(self) -> str:
        """How much was tried: trials, metric and folds."""
        how = "grid of " if self.strategy == "grid" else ""
        return f"{how}{len(self.trials)} trials, {self.metric}, {self.plan}"

    @property
    def plan(self) -> str:
        """The number of folds, and whether fewer trials run on the further ones, in words."""
        older = bool(self.trials) and not any(trial.means for trial in self.trials)  # or all of its trials failed
        halved = self.folds > 1 and self.advancing(1) < self.wanted and not older
        return f"{self.cuts}, the best half after each" if halved else self.cuts

    @property
    def cuts(self) -> str:
        """The number of folds, in words."""
        return "1 fold" if self.folds == 1 else f"{self.folds} folds"

    @property
    def origin(self) -> str:
        """What a record says about where its hyper-parameters come from."""
        return f"tuned: {self.extent} (search {self.id})"

    def frame(self) -> pd.DataFrame:
        """Returns a row for each trial, in their order.

        The columns are what was tried, `param_NAME`; the metric's mean over folds, under its own name, and its value on
        each fold, `fold_0` and so on; `state`, `seconds`, and `reason`, why it failed.
        """
        import pandas as pd  # plugins are found without it

        names = dict.fromkeys(name for trial in self.trials for name in trial.params)
        lines = [
            {
                **{f"param_{name}": trial.params.get(name) for name in names},
                self.metric: trial.value if trial.state == "complete" else float("nan"),
                **{f"fold_{fold}": value for fold, value in zip_longest(range(self.folds), trial.values)},
                **trial.model_dump(include={"state", "seconds", "reason"}),
            }
            for trial in self.trials
        ]
        return pd.DataFrame(lines).rename_axis("trial")

    def __repr__(self) -> str:
        found = "no trial is complete"
        if self.complete:
            values = " ".join(f"{name}={_short(value)}" for name, value in self.best.params.items())
            found = f"best {self.best.value:.4f} with {values}"
        return f"Search({self.method} on {self.dataset}, {self.extent}: {found})"

    def __str__(self) -> str:
        return repr(self)

    def difference(self, other: Search) -> str:
        """Returns how another search of the same thing goes about it differently, or an empty string."""
        if self.strategy != other.strategy:
            return f"it was by {self.strategy}, not by {other.strategy}"
        for name in {**self.space, **other.space}:
            own, theirs = self.space.get(name), other.space.get(name)
            if own != theirs:
                return f"{name} was {own or 'fixed'}, not {theirs or 'fixed'}"
        return ""


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
