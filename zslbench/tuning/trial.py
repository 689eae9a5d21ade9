"""A trial of a search: its run on each fold, when it is dropped, and which number of epochs is its best."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zslbench.api.params import Space
from zslbench.errors import one_line
from zslbench.files import NotWritten
from zslbench.records.record import RunRecord
from zslbench.records.search import Search, SearchTrial
from zslbench.runs.entrant import Entrant, Run
from zslbench.tuning.space import ROUND, floor, patience, proposed
from zslbench.tuning.sweep import without_metric


@dataclass
class Trial:
    """A trial under way.

    Attributes:
        number: its place in the log.
        point: the values that it tries.
        records: what came of its runs, one for each fold.
        reason: why it failed.
    """

    entrant: Entrant
    search: Search
    number: int
    point: dict[str, Any]
    records: list[RunRecord] = field(default_factory=list)
    reason: str = ""

    @property
    def epochs(self) -> Space | None:
        """Where the number of epochs is chosen from, if it is read off the validation curves."""
        space = self.search.space
        return None if "epochs" in proposed(self.entrant, space) else space.get("epochs")

    def run(self, fold: int) -> Run:
        """Returns the run on a fold; on further ones, no epoch counts that one before has not."""
        params, epochs = {**self.entrant.fixed, **self.point}, self.epochs
        if epochs:
            params["epochs"] = min(map(len, map(self._watched, self.records)), default=0) or max(epochs.grid())
        run = self.entrant.run(0, "validation", fold, params=params, origin=f"trial of search {self.search.id}")
        if epochs is None:
            return run
        after = patience(epochs)
        can_be_dropped = fold == 0 and after < params["epochs"] and self.search.strategy == "tpe"
        before = self.search.trials[: self.number // ROUND * ROUND]
        seen = [trial.early for trial in before if trial.early is not None and not trial.hopeless]
        return run.stopping(self.search.metric, after, floor(seen) if can_be_dropped else None)

    def add(self, outcome: RunRecord | Exception) -> None:
        """Takes what came of the run on the next fold; once one failed, nothing."""
        if isinstance(outcome, NotWritten):  # a full disk says nothing of the trial, which the same command repeats
            raise outcome
        if self.reason:
            return
        if isinstance(outcome, Exception):
            self.reason = one_line(outcome)
        elif self.search.metric not in outcome.metrics:
            because = next(iter(outcome.not_applicable.values()), "it was not evaluated")
            raise without_metric(self.entrant, self.search.metric, because)
        else:
            self.records.append(outcome)

    @property
    def early(self) -> float | None:
        """The best of the first epochs on the first fold, where they may end a trial."""
        if not self.records or not self.records[0].spec.stop_on:
            return None
        first = self.records[0]
        return max(self._curve(first)[: first.spec.stop_after], key=self.search.worth)

    @property
    def dropped(self) -> bool:
        """Whether the trial ended because its first epochs were hopeless."""
        early, below = self.early, self.records[0].spec.stop_below if self.records else None
        return early is not None and below is not None and self.search.worth(early) < self.search.worth(below)

    def _watched(self, record: RunRecord) -> list[dict[str, float]]:
        return record.training.watched if record.training else []

    def _curve(self, record: RunRecord) -> list[float]:
        """The metric after each epoch where their number is to be chosen, else the one value at the end."""
        watched = self._watched(record)
        if self.epochs and watched:
            return [metrics[self.search.metric] for metrics in watched]
        return [record.metrics[self.search.metric]]

    def _choice(self, trained: int) -> list[int]:
        return [n for n in range(1, trained + 1) if self.epochs and self.epochs.holds(n)] or [trained]

    def _best(self, records: list[RunRecord]) -> tuple[int, float]:
        """Returns the number of epochs with the best mean over these runs, the first of equals, and that mean."""
        curves = [self._curve(record) for record in records]
        means = np.mean([curve[: min(map(len, curves))] for curve in curves], axis=0)
        best = max(self._choice(len(means)), key=lambda epochs: self.search.worth(means[epochs - 1]))
        return best, float(means[best - 1])

    def ended(self) -> SearchTrial:
        """Returns the log entry; the best number of epochs is that of the mean over folds, the first of equals."""
        params, values = dict(self.point), [self._best([record])[1] for record in self.records]
        counts = bool(self.records) and not self.dropped and not self.reason
        whole = counts and len(self.records) == self.search.folds
        means = [self._best(self.records[: fold + 1]) for fold in range(len(self.records))] if counts else []
        if counts:
            best, _ = means[-1]
            values = [self._curve(record)[best - 1] for record in self.records]
            if self.epochs and all(map(self._watched, self.records)):
                params["epochs"] = best
        return SearchTrial(
            params=params,
            state="failed" if self.reason else "complete" if whole else "pruned",
            values=values,
            early=self.early,
            means=[mean for _, mean in means],
            runs=[record.id for record in self.records],
            seconds=sum(record.training.seconds for record in self.records if record.training),
            reason=self.reason,
        )
