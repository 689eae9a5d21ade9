"""The shared trainer. It owns everything around a method's losses; a method never writes a loop.

Features are on the device, and a step gathers rows by index. Crops of images, and features larger than memory, are
read from disk ahead of their step. All random numbers come from torch's global state and from one generator.
Checkpoints save both, so an interrupted run ends bit for bit like an uninterrupted one.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from zslbench import interruption
from zslbench.api.embedder import Embedder, Stage
from zslbench.api.progress import Progress
from zslbench.api.views import TrainView
from zslbench.errors import RunError
from zslbench.training import lockstep, together
from zslbench.training.batches import Batches
from zslbench.training.checkpoint import copied, load_checkpoint, save_checkpoint
from zslbench.training.device import random_state, set_random_state
from zslbench.training.epoch import Epoch, History
from zslbench.training.player import Player, progress_of

CHECKPOINT_SECONDS = 20.0
LONG_EPOCH = 0.5
"""Seconds of an epoch from which on its end is held in memory, so that an interruption need not wait for the next."""


@dataclass
class Fit:
    """How one model is fitted.

    Attributes:
        device: where to train.
        name: which of a run's fits this is, as progress says it.
        precision: `32` or `bf16`.
        epochs: epochs of the main stage, if another number than the method's was chosen on validation.
        watch: measures the model on validation classes after each epoch of the main stage; where finishing stages would
            have to be trained for each look, only if `stop_on` needs it.
        stop_on: the watched metric that decides when to stop; empty to train all epochs.
        stop_after: epochs without a better value of it that are borne; 0 for as many as the method's `patience`.
        stop_below: ends training after the first `stop_after` epochs where none of them reached this value of it.
        higher_is_better: whether larger values of it are better.
        on_epoch: called after each epoch.
        checkpoint: file to save to and go on from; None for neither.
        solve: computes a closed form in place of the method's own `solve`, from factors that are known, for instance.
    """

    device: torch.device
    name: str = "final"
    precision: Literal["32", "bf16"] = "32"
    epochs: int | None = None
    watch: Callable[[Embedder[Any]], dict[str, float]] | None = None
    stop_on: str = ""
    stop_after: int = 0
    stop_below: float | None = None
    higher_is_better: bool = True
    on_epoch: Callable[[Progress], None] = lambda progress: None
    checkpoint: Path | None = None
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    solve: Callable[[Embedder[Any], TrainView], None] | None = None


@dataclass
class Fitted:
    """What came of it.

    Attributes:
        seconds: training time, that before an interruption included.
        epochs: epochs of the main stage; where a metric decided, the best one.
        losses: mean of each loss in each epoch, all stages.
        watched: what `watch` returned after each epoch of the main stage.
        stacked: the most fits whose steps were taken as one; 1 where it was trained alone.
        keep: writes the checkpoint that the fit would go on from at its end, where none was written.
    """

    seconds: float = 0.0
    epochs: int | None = None
    losses: list[dict[str, float]] = field(default_factory=list)
    watched: list[dict[str, float]] = field(default_factory=list)
    stacked: int = 1
    keep: Callable[[], None] = lambda: None


def fit(embedder: Embedder[Any], view: TrainView, seed: int, how: Fit) -> Fitted:
    """Trains a built embedder in place, on `how.device`; random state must have been seeded by the caller."""
    trainer = _Trainer(embedder, view, seed, how)
    try:
        return trainer.run()
    except (interruption.Interrupted, KeyboardInterrupt):
        trainer.keep()
        raise


@dataclass
class _Solving:
    """A fit whose embedder is solving, and how many fits that has begun."""

    how: Fit
    begun: int = 0


_solving: ContextVar[_Solving | None] = ContextVar("fit whose embedder is solving", default=None)


def fit_within(device: torch.device, name: str) -> Fit:
    """Returns how `solve` fits a part of its embedder: as that is fitted, with a name and a checkpoint of its own.

    The parts of one `solve` are told apart by their number, so it must fit them in the same order each time.
    """
    outer = _solving.get()
    if outer is None:
        return Fit(device, name)
    outer.begun += 1
    own, how = f"{outer.how.name}-{outer.begun}-{name}", outer.how
    file = how.checkpoint and how.checkpoint.with_name(f"{own}{how.checkpoint.suffix}")
    seconds = how.checkpoint_seconds

    def on_epoch(progress: Progress) -> None:
        how.on_epoch(replace(progress, stage=f"{name} {progress.stage}"))

    return Fit(device, own, how.precision, on_epoch=on_epoch, checkpoint=file, checkpoint_seconds=seconds)


@contextmanager
def _solves(how: Fit) -> Iterator[None]:
    token = _solving.set(_Solving(how))
    try:
        yield
    finally:
        _solving.reset(token)


class _Trainer:
    def __init__(self, embedder: Embedder[Any], view: TrainView, seed: int, how: Fit) -> None:
        self.embedder = embedder.to(how.device)
        self.view = view.to(how.device)
        self.how, self.seed, self.watch = how, seed, how.watch
        self.generator = self.own = torch.Generator(device=how.device).manual_seed(seed)
        if together.processes() > 1:
            self.own = torch.Generator(device=how.device).manual_seed(seed + 2**31 + together.rank())
        self.batches = Batches(self.view, self.generator, self.own)
        self.fitted = Fitted()
        self.best_score, self.best_epoch = -math.inf, 0
        self.best_state: dict[str, Any] = {}
        self.started = self.saved = time.monotonic()
        self.held: dict[str, Any] | None = None
        self.behind = False
        """Whether an epoch has ended that is neither on disk nor held."""

    def run(self) -> Fitted:
        saved = load_checkpoint(self.how.checkpoint) if self.how.checkpoint else None
        if saved and (saved.get("device"), len(saved["random"])) != (self.how.device.type, together.processes()):
            saved = None  # random states of another kind of device, or of other processes, do not fit
        solve = self.how.solve or type(self.embedder).solve
        with _solves(self.how):
            solve(self.embedder, self.view)  # again after an interruption: what it registers is part of the model
        if together.rank() > 0:  # what a process draws for its own images alone must differ between them
            torch.manual_seed(self.seed + together.rank())
        stages = self.embedder.stages()
        main = _main_stage(stages)
        if stages and stages[-1].finishing and not self.how.stop_on:
            self.watch = None
        first_stage, first_epoch = (saved["stage"], saved["epoch"]) if saved else (0, 0)
        if saved and first_stage == len(stages):
            self._restore(saved, [])
        with interruption.deferred() if self.how.checkpoint else nullcontext():
            for index in range(first_stage, len(stages)):
                self._run_stage(stages, index, first_epoch if index == first_stage else 0, saved)
                saved = None
                if index == main and self.best_state:
                    self._set_state(self.best_state)
            if stages:
                self.fitted.epochs = self.best_epoch or self.how.epochs or stages[main].epochs
                self._save_if_due(len(stages), 0, [], hold=True)
        self._finish()
        self.fitted.seconds, self.fitted.keep = self._seconds(), self.keep
        return self.fitted

    def _finish(self) -> None:
        self.embedder.eval()
        with torch.no_grad():
            self.embedder.finish(self.view)

    def _finished(self) -> Embedder[Any]:
        """Returns the model as it would be if the main stage ended here; a copy where there are finishing stages."""
        if not self.embedder.stages()[-1].finishing:
            self._finish()
            return self.embedder
        before = random_state(self.how.device)
        alone = Fit(self.how.device, precision=self.how.precision)
        other = _Trainer(copy.deepcopy(self.embedder), self.view, 0, alone)
        other.generator.set_state(self.generator.get_state())
        stages = other.embedder.stages()
        for index in range(_main_stage(stages) + 1, len(stages)):
            other._run_stage(stages, index, 0, None)
        other._finish()
        set_random_state(before, self.how.device)
        return other.embedder

    def _run_stage(self, stages: list[Stage], index: int, first_epoch: int, saved: dict[str, Any] | None) -> None:
        stage, is_main = stages[index], index == _main_stage(stages)
        epochs = self.how.epochs if is_main and self.how.epochs else stage.epochs
        players = [Player(objective, self.embedder.params, stage.epochs) for objective in stage.objectives]
        if saved is not None:
            self._restore(saved, players)
        for epoch in range(first_epoch, epochs):
            began = time.monotonic()
            losses = self._run_epoch(stage, players, epoch)
            if self._end_epoch(stage, players, losses, epoch + 1, epochs, is_main):
                self.behind, self.held = True, None
                break
            self._save_if_due(index, epoch + 1, players, hold=time.monotonic() - began > LONG_EPOCH)

    def _end_epoch(
        self, stage: Stage, players: list[Player], losses: dict[str, float], epoch: int, epochs: int, is_main: bool
    ) -> bool:
        """Does what is done after an epoch, and returns whether it was the last one of its stage."""
        progress = progress_of(stage, self.embedder.params, losses)
        for player in players:
            player.end_epoch(progress)
        with torch.no_grad():
            self.embedder.epoch_ended(self.view, epoch)
        self.fitted.losses.append(losses)
        stop = bool(is_main and self.watch and self._should_stop(self.watch, epoch))
        self.how.on_epoch(self._progress(stage, epoch, epochs, watched=is_main and self.watch is not None))
        return stop

    def _run_epoch(self, stage: Stage, players: list[Player], epoch: int) -> dict[str, float]:
        self.embedder.train()
        size = min(self.embedder.params.batch_size, len(self.view.x))
        turns = math.ceil(len(self.view.x) / size)
        examine = partial(_check_finite, stage=stage, epoch=epoch, turns=turns)
        history = lockstep.play(
            Epoch(
                self.embedder,
                stage,
                players,
                self.batches,
                turns,
                size,
                self.how.precision,
                self.how.checkpoint is not None and not self.behind,
                self.how.checkpoint is not None and self.behind,
                examine,
                self._waited,
            )
        )
        examine(history)
        return {name: float(values.float().mean()) for name, values in history.items()}

    def _waited(self, seconds: float, fits: int) -> None:
        self.started += seconds
        self.fitted.stacked = max(self.fitted.stacked, fits)

    def _should_stop(self, watch: Callable[[Embedder[Any]], dict[str, float]], epoch: int) -> bool:
        model = self._finished()
        with torch.no_grad():
            self.fitted.watched.append(watch(model))
        if self.how.stop_on not in self.fitted.watched[-1]:  # none decides, or the method has no such metric
            return False
        sign = 1 if self.how.higher_is_better else -1
        score = sign * self.fitted.watched[-1][self.how.stop_on]
        if score > self.best_score:
            self.best_score, self.best_epoch = score, epoch
            self.best_state = copy.deepcopy(self._state())
        if self.how.stop_below is not None and epoch == self.how.stop_after:
            return self.best_score < sign * self.how.stop_below
        return bool(epoch - self.best_epoch >= (self.how.stop_after or self.embedder.params.patience))

    def _progress(self, stage: Stage, epoch: int, epochs: int, *, watched: bool) -> Progress:
        losses, step = self.fitted.losses[-1], len(self.fitted.losses)
        metrics = self.fitted.watched[-1] if watched else {}
        return Progress(stage.name, epoch, epochs, losses, self._seconds(), step, self.how.name, metrics)

    def _state(self) -> dict[str, Any]:
        """What training goes on from, but for the players: parameters, buffers, and all that is random."""
        return {
            "embedder": self.embedder.state_dict(),
            "generator": self.generator.get_state(),
            "random": together.gathered({"own": self.own.get_state(), **random_state(self.how.device)}),
        }

    def _set_state(self, state: dict[str, Any]) -> None:
        self.embedder.load_state_dict(state["embedder"])
        self.generator.set_state(state["generator"])
        own = state["random"][together.rank()]
        if self.own is not self.generator:
            self.own.set_state(own["own"])
        set_random_state(own, self.how.device)

    def _seconds(self) -> float:
        return self.fitted.seconds + time.monotonic() - self.started

    def _save_if_due(self, stage: int, epoch: int, players: list[Player], *, hold: bool) -> None:
        """Writes a checkpoint where it is time to, or an interruption asks for it, which is obeyed then."""
        if self.how.checkpoint is None:
            return
        due = time.monotonic() - self.saved >= self.how.checkpoint_seconds
        due, hold, asked = together.agreed((due, hold, interruption.asked()))
        self.behind, self.held = not (due or hold or asked), None
        if self.behind:
            return
        self.held = {
            "device": self.how.device.type,
            "stage": stage,
            "epoch": epoch,
            **self._state(),
            "players": [player.state() for player in players],
            "best": [self.best_score if self.best_epoch else None, self.best_epoch, self.best_state],
            "losses": self.fitted.losses,
            "watched": self.fitted.watched,
            "seconds": self._seconds(),
        }
        if due or asked:
            self.keep()
        else:
            self.held = copied(self.held)
        if asked:
            interruption.obey()

    def keep(self) -> None:
        """Writes the checkpoint that is held, if any; one process does for all."""
        if self.how.checkpoint is not None and self.held is not None and together.rank() == 0:
            save_checkpoint(self.how.checkpoint, self.held)
        self.held, self.saved = None, time.monotonic()

    def _restore(self, saved: dict[str, Any], players: list[Player]) -> None:
        try:
            self._set_state(saved)
        except RuntimeError as error:
            raise RunError(
                "its checkpoint does not fit the method as it is now; --existing rerun starts afresh"
            ) from error
        for player, state in zip(players, saved["players"], strict=True):
            player.restore(state)
        score, self.best_epoch, self.best_state = saved["best"]
        self.best_score = -math.inf if score is None else score
        self.fitted.losses, self.fitted.seconds = saved["losses"], saved["seconds"]
        self.fitted.watched = saved.get("watched", [])
        self.started = time.monotonic()


def _main_stage(stages: list[Stage]) -> int:
    """Returns the position of the last stage that is not finishing."""
    finishing = [stage.finishing for stage in stages]
    main = len(stages) - 1 - sum(finishing)
    if stages and (main < 0 or any(finishing[: main + 1])):
        raise TypeError("finishing stages must follow the main stage: give at least one other, and those after it")
    return main


def _check_finite(history: History, stage: Stage, epoch: int, turns: int) -> None:
    """Names the earliest turn, and the objective in it, whose loss is not finite."""
    wrong = []
    for name, values in history.items():
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            wrong.append((int(bad[0]), name))
    if wrong:
        turn, name = min(wrong, key=lambda found: found[0])
        raise RunError(
            f"loss {name!r} became NaN or infinite at step {epoch * turns + turn + 1} "
            f"(epoch {epoch + 1} of stage {stage.name!r}); try a lower learning rate or another scaling"
        )
