"""Several fits in lockstep: each runs as it would alone, up to its next epoch, and epochs that are alike are one.

A fit is a greenlet: it stops in the middle of its work where an epoch is to be played, and goes on when the driver has
played it. One runs at a time, in a random state of its own.
"""

from __future__ import annotations

import contextvars
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from greenlet import getcurrent, greenlet

from zslbench import interruption
from zslbench.training.device import Randomness
from zslbench.training.epoch import Epoch, History

T = TypeVar("T")

AT_ONCE = 32
"""Fits that go in lockstep unless another number is asked for."""
FEWEST = 4
"""Fits below which `auto` plays each alone: what a stacked step costs beside is shared by too few."""
LARGE = 2**18
"""Bytes of one fit beyond which `auto` wants twice as many: 4 fits of SP-AEN on digits, of 0.5 MB, take 1.2 times as
long as one, and 8 take 0.75 times.
"""
BYTES = 2**23
"""Bytes up to which `auto` makes a stack: those of its parameters and buffers, or of the largest tensor in its losses.

Measured on two cores of a Xeon with 2 MB of L2 cache each, by `benchmarks/stacking.py`: CPU time per fit falls up to 32
small models (8 kB) in one stack, is lowest for 16 of 0.4 MB, and rises above that of fits alone for 4 of 3.9 MB, whose
arithmetic no launch outweighs. SSE on AWA1 has few parameters, and 3.5 MB of differences between images and classes:
4 as one take 2.7 times the time of fits alone, on an EPYC.
"""


class _Played(NamedTuple):
    """The losses of an epoch, or what ended it; a fit's share of its seconds; for how many fits it was played."""

    losses: History | BaseException | None = None
    seconds: float = 0.0
    fits: int = 1


class _Fit(Generic[T]):
    """A fit under way.

    Attributes:
        epoch: the one that it waits for; None once it has ended.
        outcome: what came of it, or the error that ended it.
        random: its random state while it waits.
    """

    def __init__(self, work: Callable[[], T], device: torch.device) -> None:
        self.epoch: Epoch | None = None
        self.outcome: T | Exception | None = None
        self.device, self.random = device, Randomness(device)
        self._greenlet = greenlet(lambda _: self._run(work))
        self._greenlet.gr_context = contextvars.copy_context()
        self._left = time.monotonic()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self.outcome = work()
        except Exception as error:  # of a plugin's method; it costs this fit alone
            self.outcome = error

    def go_on(self, played: History | BaseException | None = None, seconds: float = 0.0, fits: int = 1) -> None:
        """Lets the fit run to its next epoch, or to its end.

        `seconds` is its share of the time since it stopped, `fits` how many the epoch was played for.
        """
        self.random.restore()
        epoch, self.epoch = self.epoch, None
        if epoch is not None:
            epoch.waited(time.monotonic() - self._left - seconds, fits)
        try:
            if isinstance(played, BaseException):
                self.epoch = self._greenlet.throw(played)
            else:
                self.epoch = self._greenlet.switch(played)
        finally:
            self._left, self.random = time.monotonic(), Randomness(self.device)


_driver: contextvars.ContextVar[greenlet | None] = contextvars.ContextVar("what plays epochs", default=None)


def play(epoch: Epoch) -> History:
    """Plays an epoch: here, or, where its fit goes in lockstep with others, as one with theirs."""
    driver = _driver.get()
    return epoch.play() if driver is None else driver.switch(epoch)


def in_lockstep(works: Sequence[Callable[[], T]], device: torch.device, most: int | None = None) -> list[T | Exception]:
    """Does work that fits models, with epochs that are alike played as one; returns results, or errors, in order.

    The caller seeds, and restores, all that is global. An interruption reaches every fit, which then writes its
    checkpoint. `most` is how many may be played as one; by default, as many as are fast.
    """
    with warnings.catch_warnings():  # of functions that PyTorch maps model by model, which are slow and right
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
        with interruption.deferred():
            return _in_lockstep(works, device, most)


def _in_lockstep(works: Sequence[Callable[[], T]], device: torch.device, most: int | None) -> list[T | Exception]:
    token = _driver.set(getcurrent())
    try:
        fits = [_Fit(work, device) for work in works]
    finally:
        _driver.reset(token)
    ending = _each([(fit, _Played()) for fit in fits])
    while ending is None and (waiting := [fit for fit in fits if fit.epoch is not None]):
        ending = _each(_play(waiting, most))
        if ending is None and interruption.asked() and not any(fit.epoch and fit.epoch.behind for fit in fits):
            ending = interruption.Interrupted() if interruption.installed() else KeyboardInterrupt()
    if ending is not None:
        _each(_play([fit for fit in fits if fit.epoch is not None and fit.epoch.behind], most))
        _each([(fit, _Played(ending)) for fit in fits if fit.epoch is not None])
        raise ending
    return [fit.outcome for fit in fits]  # type: ignore[misc]


def _each(fits: Sequence[tuple[_Fit[T], _Played]]) -> BaseException | None:
    """Lets each fit go on, those after an interrupted one too, so that they write their checkpoints."""
    ending: BaseException | None = None
    for fit, played in fits:
        try:
            fit.go_on(*played)
        except BaseException as error:
            ending = error
    return ending


def _play(fits: list[_Fit[T]], most: int | None) -> list[tuple[_Fit[T], _Played]]:
    """Plays an epoch of each fit, and returns what came of it."""
    from zslbench.training.stacked import signature

    groups: dict[Any, list[_Fit[T]]] = {}
    for fit in fits:
        assert fit.epoch is not None
        key = signature(fit.epoch) if most != 1 else None
        groups.setdefault(id(fit) if key is None else key, []).append(fit)
    played: list[tuple[_Fit[T], _Played]] = []
    for key, group in groups.items():
        for part in _parts(key, group, most):
            began = time.monotonic()
            losses = _played(part)
            share = (time.monotonic() - began) / len(part)
            played += [(fit, _Played(own, share, len(part))) for fit, own in zip(part, losses, strict=True)]
    return played


def _parts(key: Any, group: list[_Fit[T]], most: int | None) -> list[list[_Fit[T]]]:
    """Divides fits that look alike into those to be played as one; each alone where that cannot be done."""
    from zslbench.training.rehearsal import refusal, size_of
    from zslbench.training.side import Mixed

    epochs = [fit.epoch for fit in group if fit.epoch is not None]
    fewest, fitting = 2, most
    if most is None and len(group) >= FEWEST:
        size = max(1, size_of(key, epochs[0], group[0].random))
        fewest, fitting = FEWEST * (2 if size > LARGE else 1), BYTES // size
    if fitting is None or min(len(group), fitting) < fewest:
        return [[fit] for fit in group]
    try:
        why = refusal(key, epochs, [fit.random for fit in group])
    except Mixed as mixed:
        sides = [
            [fit for fit, answer in zip(group, mixed.answers, strict=True) if answer is side] for side in (True, False)
        ]
        return [part for side in sides for part in _parts(key, side, most)]
    if why is not None:
        return [[fit] for fit in group]
    count = -(-len(group) // fitting)
    return [group[i::count] for i in range(count)]


def _played(fits: list[_Fit[T]]) -> Sequence[History | BaseException]:
    """Plays an epoch of fits as one, or of one alone; returns each one's losses, or what ended it."""
    from zslbench.training.stacked import Globals, play

    epochs = [fit.epoch for fit in fits if fit.epoch is not None]
    try:
        if len(epochs) > 1:
            return play(epochs, Globals([fit.random for fit in fits], fits[0].device))
        fits[0].random.restore()
        try:
            return [epochs[0].play()]
        finally:
            fits[0].random = Randomness(fits[0].device)
    except BaseException as error:  # each fit raises it, and writes its checkpoint if it is an interruption
        return [error] * len(fits)
