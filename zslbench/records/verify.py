"""Verification of a store: whether all that is kept is whole, and whether numbers follow from what they are made of."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from zslbench.errors import DataError
from zslbench.files import NotWritten
from zslbench.records.recomputed import PRECISION, check_metrics
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.records.store import Busy, Store
from zslbench.training.checkpoint import load_checkpoint

T = TypeVar("T")


@dataclass(frozen=True)
class Checked:
    """Something in a store, and what is wrong with it.

    Attributes:
        kind: what it is; a leftover is a file or folder that no run reads, such as one set aside.
        name: the id of the run or search, or the path of a leftover within the store.
        problem: one line; empty where it is whole.
        unchecked: metrics of a record that do not follow from its decisions alone; its checksum covers them.
    """

    kind: Literal["record", "search", "checkpoint", "leftover"]
    name: str
    problem: str = ""
    unchecked: list[str] = field(default_factory=list)


def verify(store: Store) -> list[Checked]:
    """Checks all that is stored; what is damaged is set aside, so that the next command makes it again.

    Of each record: the checksum, the id, the hash of its decisions, and every metric, interval and per-class accuracy
    that follows from them, computed again. Of each search: the checksum, the id, and the values of trials whose runs
    are stored. Of each checkpoint: the checksum. A store that cannot be written is checked all the same.
    """
    return [*_records(store), *_searches(store), *_checkpoints(store), *_leftovers(store)]


def _records(store: Store) -> Iterator[Checked]:
    for run in store.ids():
        if not os.path.lexists(store.record_path(run)):
            continue
        record, problem = _told(partial(store.find, run))
        unchecked: list[str] = []
        if record is not None:
            try:
                unchecked = check_metrics(record, store.arrays(record))
            except (DataError, ValueError) as error:
                problem = str(error)
                _set_aside(store, record, problem)
            problem = problem or _wrong_model(store, record) or _told(partial(store.note, run))[1]
        if record is not None or problem:  # it may have been removed meanwhile
            yield Checked("record", run, problem, unchecked)


def _wrong_model(store: Store, record: RunRecord) -> str:
    """Sets a damaged model aside, whose run stays: no number is made of it. Returns what is wrong with it."""
    path = store.model_path(record)
    try:
        if path is not None:
            store.model(record)
    except DataError as error:
        store.set_aside(path or store.root, str(error), "model")
        return str(error)
    return ""


def _set_aside(store: Store, record: RunRecord, problem: str) -> None:
    """Sets a record aside, unless another process is making the run again or has done so."""
    with suppress(Busy, NotWritten), store.claim(record.id, wait=False):
        if store.find(record.id) == record:
            store.set_aside(store.record_path(record.id), problem)


def _searches(store: Store) -> Iterator[Checked]:
    for name in store.searches():
        search, problem = _told(partial(store.find_search, name))
        if search is not None and (problem := wrong_trial(search, store)):
            store.set_aside(store.search_path(name), problem, "log of a search")
        if search is not None or problem:
            yield Checked("search", name, problem)


def wrong_trial(search: Search, store: Store) -> str:
    """Returns which trial contradicts its runs, or itself; an empty string where none does."""
    for number, trial in enumerate(search.trials):
        if trial.state == "complete" and len(trial.values) != search.folds:
            return f"trial {number} is complete, and has {len(trial.values)} values on {search.folds} folds"
        for run, value in zip(trial.runs, trial.values, strict=False):
            record = store.find(run)
            if record is None or search.metric not in record.metrics:
                continue
            watched = record.training.watched if record.training else []
            known = [record.metrics[search.metric], *(own.get(search.metric, np.nan) for own in watched)]
            if not np.isclose(value, known, rtol=PRECISION).any():
                return f"trial {number} has {search.metric} {value:.6g}, which its run {run} never had"
        if trial.means and not np.isclose(trial.value, trial.means[-1], rtol=PRECISION):
            return f"trial {number} has the mean {trial.means[-1]:.6g}, but that of its values is {trial.value:.6g}"
    return ""


def _checkpoints(store: Store) -> Iterator[Checked]:
    for path in sorted(store.root.glob("partial/*/*.safetensors")):
        state, problem = _told(partial(load_checkpoint, path))
        if state is not None or problem:
            yield Checked("checkpoint", str(path.relative_to(store.root)), problem)


def _leftovers(store: Store) -> Iterator[Checked]:
    """Yields what a killed process left, and what was set aside; a run under way may own some of it."""
    found: set[Path] = set()
    for pattern in ("**/.*.part", "runs/*/*.damaged*", "tuned/*.damaged*"):
        found |= set(store.root.glob(pattern))
    found |= {path for path in store.root.glob("runs/*") if not path.is_dir() or not any(path.glob("record.json*"))}
    found |= {path for path in store.root.glob("partial/*") if store.record_path(path.name).exists()}
    for path in sorted(found):
        yield Checked("leftover", str(path.relative_to(store.root)))


def _told(read: Callable[[], T | None]) -> tuple[T | None, str]:
    """Returns what is read, and the warning about a damaged file, or the error that says that it cannot be read."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = read()
        except DataError as error:
            return None, str(error)
    return found, str(caught[0].message) if caught and not found else ""
