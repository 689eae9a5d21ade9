"""Repeating a stored run: it is trained again from its record alone, in a store of its own, and compared."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from zslbench.engines.dispatch import Dispatcher
from zslbench.errors import RunError
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.runs.remeasure import run_of


@dataclass(frozen=True)
class Repeated:
    """A stored run and the same one trained again.

    Attributes:
        stored, again: their records; metrics that only one has count for nothing.
        identical: whether all decisions on test images are the same, bit for bit.
    """

    stored: RunRecord
    again: RunRecord
    identical: bool

    @property
    def changes(self) -> dict[str, float]:
        """The change of each metric that both have."""
        both = self.stored.metrics.keys() & self.again.metrics.keys()
        return {name: self.again.metrics[name] - self.stored.metrics[name] for name in sorted(both)}


def repeat(store: Store, record: RunRecord, root: Path, dispatcher: Dispatcher, dataset: str | None = None) -> Repeated:
    """Trains a stored run again; `dataset` says where its data set is found, if its record does not.

    Raises:
        UsageError, DataError, PluginError: its method or data set cannot be found, or are others now.
        RunError: it failed.
    """
    run = replace(run_of(record, root, dataset), calibrated=record.validated and record.spec.on == "test")
    errors: dict[str, Exception] = {}
    with tempfile.TemporaryDirectory(prefix="zslbench-") as folder:
        own = Store(Path(folder))
        measured = tuple(record.measured)
        outcomes = dispatcher.execute([run], store=own, existing="rerun", errors=errors, evaluators=measured)
        found = outcomes.get(run.id)
        for name, error in errors.items():
            raise RunError(f"{name}: {error}") from error
        assert isinstance(found, RunRecord)
        before, after = store.arrays(record), own.arrays(found)
    both = before.keys() & after.keys()
    return Repeated(record, found, all(before[name].tobytes() == after[name].tobytes() for name in both))
