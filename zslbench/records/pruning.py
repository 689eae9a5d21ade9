"""Removing from a store: first a plan that says what would go, then its execution, which leaves what is under way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from zslbench.files import abandoned, writing
from zslbench.records.listing import Listed
from zslbench.records.store import OWN, RECORD, Busy, Store

Kind = Literal["run", "trial", "model", "damaged run", "damaged file", "partial run"]


@dataclass(frozen=True)
class Removable:
    """Something that would go.

    Attributes:
        name: the id of a run, or a path within the store.
        size: its bytes.
        remove: removes it; raises Busy where another process executes the run.
    """

    kind: Kind
    name: str
    size: int
    remove: Callable[[], None]


def runs(store: Store, some: Iterable[Listed], trials: bool = False) -> list[Removable]:
    """Returns these runs, or the trials of searches among them, as what would go."""

    def one(run: Listed) -> Removable:
        kind: Kind = "trial" if run.on == "validation" else "run"
        return Removable(kind, run.id, run.size, lambda: store.remove(run.id))

    return [one(run) for run in some if run.on == "validation" or not trials]


def models(store: Store, some: Iterable[Listed]) -> Iterator[Removable]:
    """Yields the kept models of these runs; their records stay."""
    for run in some:
        record = store.find(run.id) if run.model else None
        path = store.model_path(record) if record else None
        if path is not None:
            yield _file("model", store, path, run.id)


def damaged(store: Store) -> Iterator[Removable]:
    """Yields what was set aside, what killed processes left unfinished, and folders of runs without a record."""
    found = set(store.root.glob("runs/*/*.damaged*")) | set(store.root.glob("tuned/*.damaged*"))
    for pattern in (".*.part", "runs/*/.*.part", "tuned/.*.part"):
        found |= {path for path in store.root.glob(pattern) if abandoned(path)}
    orphans = {folder for folder in store.root.glob("runs/*") if _orphaned(folder)}
    for path in sorted(path for path in found if path.is_file() or path.is_symlink()):
        if path.parent not in orphans:
            yield _file("damaged file", store, path, path.parent.name if path.parent.parent.name == "runs" else "")
    for folder in sorted(orphans):
        yield Removable("damaged run", folder.name, _size(folder), _remover(store, folder.name))


def _orphaned(folder: Path) -> bool:
    """Whether a folder of a run has no record, and nothing in it but what the store made."""
    if not folder.is_dir() or folder.is_symlink() or os.path.lexists(folder / RECORD):
        return False
    return {path for pattern in OWN for path in folder.glob(pattern)} == set(folder.iterdir())


def partial_runs(store: Store, older_than: float | None = None) -> Iterator[Removable]:
    """Yields checkpoints of runs that nobody executes; all, or those that have not changed for so many days."""
    for folder in sorted(store.root.glob("partial/*")):
        if older_than is None or time.time() - folder.stat().st_mtime > older_than * 86400:
            yield Removable("partial run", folder.name, _size(folder), _discarder(store, folder.name))


def older(some: Iterable[Listed], days: float) -> list[Listed]:
    """Returns the runs that were finished more than so many days ago; those without a date are not among them."""
    limit = datetime.now(UTC) - timedelta(days=days)
    return [run for run in some if run.date and _instant(run.date) < limit]


def execute(items: Iterable[Removable]) -> tuple[list[Removable], list[Removable]]:
    """Removes what a plan says; returns what went, and what stayed because another process executes its run.

    Raises:
        NotWritten: a file cannot be removed; what went before is gone.
    """
    gone, busy = [], []
    for item in items:
        try:
            item.remove()
            gone.append(item)
        except Busy:
            busy.append(item)
    return gone, busy


def _file(kind: Kind, store: Store, path: Path, run: str) -> Removable:
    def remove() -> None:
        if not run:
            with writing(path):
                path.unlink(missing_ok=True)
            return
        with store.claim(run, wait=False), writing(path):
            path.unlink(missing_ok=True)

    return Removable(kind, run if kind == "model" else _within(store, path), path.lstat().st_size, remove)


def _remover(store: Store, run: str) -> Callable[[], None]:
    return lambda: store.remove(run)


def _discarder(store: Store, run: str) -> Callable[[], None]:
    def discard() -> None:
        with store.claim(run, wait=False):
            store.discard_partial(run)

    return discard


def _within(store: Store, path: Path) -> str:
    return str(path.relative_to(store.root))


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _instant(date: str) -> datetime:
    found = datetime.fromisoformat(date)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
