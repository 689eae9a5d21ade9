"""Several runs of one method as one: their fits go in lockstep, and each run is claimed, measured and stored alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar

import torch

from zslbench import interruption
from zslbench.api.cards import Setting
from zslbench.api.embedder import Embedder, GradientParams
from zslbench.api.engine import Listener
from zslbench.api.views import ClassSet, TrainView
from zslbench.errors import UsageError, one_line
from zslbench.records.record import RunRecord
from zslbench.records.store import Busy
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup, fulfil
from zslbench.runs.fit import fit_new
from zslbench.runs.isolation import CPU, contained, known_state
from zslbench.runs.resolve import received
from zslbench.training import together
from zslbench.training.device import choose_device, seeded
from zslbench.training.lockstep import AT_ONCE, FEWEST, in_lockstep
from zslbench.training.rehearsal import reason_of
from zslbench.training.trainer import Fit

T = TypeVar("T")
Stack = int | Literal["auto"]
Outcomes = list[tuple[Run, RunRecord | Exception | None]]


def checked_stack(given: object) -> Stack:
    """Returns a number of fits, or `auto`; raises a UsageError for anything else."""
    if given == "auto":
        return "auto"
    try:
        count = int(str(given))
    except ValueError:
        count = 0
    if count < 1:
        raise UsageError(f"--stack {given}: give a whole number from 1, or auto")
    return count


def able(run: Run) -> bool:
    """Whether a run may be trained as one with others: by gradients, on features, in one process."""
    by_gradients = isinstance(run.params, GradientParams)
    return by_gradients and run.spec.input == "features" and not together.launched_together()


def bundles(runs: Sequence[Run], stack: Stack, workers: int = 1) -> Iterator[list[Run]]:
    """Yields the runs in lists that are to be executed together, most of them of one run.

    Runs of one method on one data set are, where they train by gradients on features; of `auto`, if there are enough
    of them for each of the workers.
    """
    alike: dict[Any, list[Run]] = {}
    for run in runs:
        key: Any = (run.entrant.method, id(run.entrant.data), run.spec.on) if stack != 1 and able(run) else run.id
        alike.setdefault(key, []).append(run)
    most, fewest = (AT_ONCE, FEWEST) if stack == "auto" else (stack, 2)
    for group in alike.values():
        size = min(most, -(-len(group) // workers))
        size = -(-len(group) // -(-len(group) // size))  # lists of about the same length
        if size < fewest:
            size = 1
        yield from (group[start : start + size] for start in range(0, len(group), size))


def fulfil_together(runs: Sequence[Run], setup: Setup, listener: Listener) -> Outcomes:
    """Returns each run with what `fulfil` returns for it, or raises: Busy where another process executes it."""
    if len(runs) == 1:
        return [(runs[0], outcome(partial(fulfil, runs[0], setup, listener, wait=False)))]
    device = choose_device(setup.device)
    works = [partial(fulfil, run, setup, listener, wait=False) for run in runs]
    most = None if setup.stack == "auto" else setup.stack
    with known_state(0), contained(), seeded(0, device):
        found = in_lockstep(works, device, most)
    return list(zip(runs, found, strict=True))


def fulfil_all(
    lists: Iterable[Sequence[Run]], setup: Setup, listener: Listener
) -> Iterator[tuple[Run, RunRecord | Exception | None]]:
    """Yields each run with what came of it, those of one list together.

    A run that another process executes is put off, and waited for at the end.
    """
    busy = []
    for some in lists:
        interruption.check()
        for run, found in fulfil_together(some, setup, listener):
            if isinstance(found, Busy):
                busy.append(run)
            else:
                yield run, found
    for run in busy:
        interruption.check()
        yield run, outcome(partial(fulfil, run, setup, listener, wait=True))


def fulfil_sent_together(
    sent: Mapping[str, str], setup: Setup, listener: Listener
) -> Iterator[tuple[str, RunRecord | Exception | None]]:
    """Yields the ids of runs that another process sent, with what came of each; it waits where one is executed."""
    with suppress(OSError):  # another machine need not have that folder
        os.chdir(setup.folder)
    planned = {name: outcome(partial(received, text)) for name, text in sent.items()}
    yield from ((name, one) for name, one in planned.items() if isinstance(one, Exception))
    names = {id(run): name for name, run in planned.items()}
    runs = [run for run in planned.values() if isinstance(run, Run)]
    yield from ((names[id(run)], found) for run, found in fulfil_all([runs] if runs else [], setup, listener))


def outcome(work: Callable[[], T]) -> T | Exception:
    """Returns what the work does, or the error that it raises."""
    try:
        return work()
    except Exception as error:  # a plugin's method may raise anything
        return error


def why_alone(method: type[Embedder[Any]], setting: Setting) -> str:
    """Returns why fits of a method cannot be trained as one; empty where they can, or it has no loss to be trained by.

    It is tried, on a small random problem, with values that differ in all that is of type float.
    """
    kind = method.params_type
    if not issubclass(kind, GradientParams):
        return ""
    if method.input != "features":
        return "its input is images"
    view, most = _small_view(setting), FEWEST
    works = [partial(fit_new, partial(_small, method, kind, i), view, i, Fit(CPU)) for i in range(most)]
    with known_state(0), contained(), seeded(0, CPU), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = in_lockstep(works, CPU, most)
    errors = [one for one in found if isinstance(one, Exception)]
    if errors:
        return one_line(errors[0])
    alone = any(not isinstance(one, Exception) and one[1].losses and one[1].stacked == 1 for one in found)
    return reason_of(method) if alone else ""


def _small(method: type[Embedder[Any]], kind: type[GradientParams], which: int) -> Embedder[Any]:
    """Returns an embedder whose numbers differ from another's as far as their bounds allow."""
    values: dict[str, Any] = {"epochs": 1, "batch_size": 16}
    for name, value in kind(**values):
        if isinstance(value, float) and name not in values:
            with suppress(UsageError):
                kind.parse({**values, name: value * (1 - which / 20)}, "")
                values[name] = value * (1 - which / 20)
    return method(kind(**values))


def _small_view(setting: Setting) -> TrainView:
    """Returns 48 images of 6 seen classes; 2 unseen ones follow where the setting shows them."""
    random = torch.Generator().manual_seed(0)
    seen = torch.arange(8) < 6
    classes = ClassSet(torch.rand(8, 5, generator=random) + 0.1, tuple(map(str, range(8))), seen)
    x = torch.rand(48, 6, generator=random)
    unlabelled = torch.rand(16, 6, generator=random) if setting == "transductive" else None
    shown = classes.seen_only if setting == "inductive" else classes
    return TrainView(setting, x, torch.arange(48) % 6, shown, unlabelled)
