"""`zslbench runs rm`, `prune`, `export` and `import`: what leaves a store, and what comes into it."""

from __future__ import annotations

import json as jsonlib
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from zslbench.cli.options import DEFAULT_STORE, Filter, Json, StoreFolder
from zslbench.errors import UsageError, printable

if TYPE_CHECKING:
    from zslbench.records.listing import Listed
    from zslbench.records.pruning import Removable
    from zslbench.records.store import Store

Yes = Annotated[bool, Option("--yes", "-y", help="Do not ask.")]


def remove(
    runs: Annotated[list[str], Argument(metavar="ID...", help="Run ids, or their first characters.")],
    yes: Yes = False,
    store: StoreFolder = DEFAULT_STORE,
) -> None:
    """Remove runs with all that is kept of them; it says how much that is, and asks."""
    from zslbench.records import pruning
    from zslbench.records.store import Store

    opened = Store(store, create=False)
    ids = {opened.lookup(run).id for run in runs}
    _execute(pruning.runs(opened, [run for run in _chosen(opened, None) if run.id in ids]), yes)


def prune(
    filter: Filter = None,
    trials: Annotated[bool, Option("--trials", help="Trials of searches; the searches stay.")] = False,
    models: Annotated[bool, Option("--models", help="Kept models; the runs stay.")] = False,
    damaged: Annotated[bool, Option("--damaged", help="Damaged files set aside, and unused ones.")] = False,
    partial: Annotated[bool, Option("--partial", help="Checkpoints of runs that were broken off.")] = False,
    older_than: Annotated[
        float | None, Option(metavar="DAYS", help="Only runs that finished at least so many days ago.", min=0)
    ] = None,
    yes: Yes = False,
    store: StoreFolder = DEFAULT_STORE,
) -> None:
    """Remove what is not needed any more; it says how much that is, and asks.

    With --filter or --older-than alone, whole runs are removed. What is being executed stays.
    """
    from zslbench.records import pruning
    from zslbench.records.store import Store

    if not (trials or models or damaged or partial or filter or older_than is not None):
        raise UsageError("say what: --trials, --models, --damaged, --partial, --older-than DAYS or --filter ...")
    if filter and (damaged or partial) and not (trials or models):
        raise UsageError("--filter: it is of finished runs; leave it out, or give --trials or --models")
    opened = Store(store, create=False)
    some = _chosen(opened, filter) if trials or models or not (damaged or partial) else []
    some = some if older_than is None else pruning.older(some, older_than)
    whole = not (trials or models or damaged or partial)
    items = pruning.runs(opened, some, trials=not whole) if trials or whole else []
    gone = {item.name for item in items}
    items += pruning.models(opened, [run for run in some if run.id not in gone]) if models else []
    items += pruning.damaged(opened) if damaged else []
    items += pruning.partial_runs(opened, older_than) if partial else []
    _execute(items, yes)


def export(
    file: Annotated[Path, Argument(metavar="FILE.zip", help="File to write; an export file there is replaced.")],
    filter: Filter = None,
    no_models: Annotated[bool, Option("--no-models", help="Leave kept models out.")] = False,
    store: StoreFolder = DEFAULT_STORE,
) -> None:
    """Write runs, and the searches that tuned them, to one file that `runs import` reads and checks."""
    from zslbench.bench import Bench

    found = Bench(store=store, on_event=None).export(file, " ".join(filter or []), models=not no_models)
    kinds = _counted({"run": found.runs, "model": found.models, "search": found.searches})
    print(f"{printable(str(file))}: {kinds}; {_bytes(found.size)}")


def import_(
    source: Annotated[Path, Argument(metavar="FILE.zip|STORE", help="An export file, or the folder of a store.")],
    store: StoreFolder = DEFAULT_STORE,
    json: Json = False,
) -> None:
    """Take over runs from an export file or another store; each is checked first, and nothing is overwritten.

    Checksums must hold, and metrics computed again from the stored decisions must be those of the record. The exit
    status is 1 where a run is damaged or another one has its id.
    """
    from zslbench.bench import Bench

    found = Bench(store=store, on_event=None).import_runs(source)
    bad = [one for one in found if one.problem]
    if json:
        print(jsonlib.dumps([asdict(one) for one in found], indent=1))
        raise typer.Exit(int(bool(bad)))
    for one in bad:
        print(printable(f"{one.state} {one.kind} {one.id}: {one.problem}"))
    print_unchecked(name for one in found for name in one.unchecked)
    states = Counter((one.kind, one.state) for one in found)
    added = _counted({"run": states["run", "added"], "search": states["search", "added"]})
    present = states["run", "present"] + states["search", "present"]
    conflicts, damaged = (sum(one.state == state for one in found) for state in ("conflict", "damaged"))
    print(f"added: {added}; there already: {present}; conflicts: {conflicts}; damaged: {damaged}")
    raise typer.Exit(int(bool(bad)))


def print_unchecked(names: Iterable[str]) -> None:
    """Prints which metrics could not be computed again, and in how many records."""
    for name, count in Counter(names).items():
        print(printable(f"{name}: not computed again in {count} records; it needs the model, or its evaluator"))


def _chosen(store: Store, filter: Sequence[str] | None) -> list[Listed]:
    from zslbench.records.filters import chosen
    from zslbench.records.listing import listing

    return chosen(listing(store), filter or [])


def _execute(items: list[Removable], yes: bool) -> None:
    """Says what would go, asks, and removes it."""
    from zslbench.records import pruning

    if not items:
        print("nothing to remove")
        return
    print(f"to remove: {_sum(items)}")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody can be asked here, so nothing was removed; give --yes")
        typer.confirm("Remove this for good?", abort=True)
    gone, busy = pruning.execute(items)
    print(f"removed: {_sum(gone)}")
    if busy:
        print(f"left, because they are being executed: {', '.join(sorted({item.name for item in busy}))}")


def _sum(items: list[Removable]) -> str:
    counts = Counter(item.kind for item in items)
    return f"{_counted({str(kind): count for kind, count in counts.items()})}; {_bytes(sum(i.size for i in items))}"


def _counted(counts: dict[str, int]) -> str:
    """Returns counts in words: `1 run, 3 models`; those of none are left out unless all are."""
    said = [f"{count:,} {_plural(word) if count != 1 else word}" for word, count in counts.items() if count]
    return ", ".join(said) or f"0 {_plural(next(iter(counts), 'run'))}"


def _plural(word: str) -> str:
    return f"{word}es" if word.endswith("ch") else f"{word}s"


def _bytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size / 1e3:,.1f} kB"
