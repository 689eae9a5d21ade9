"""Epochs of several fits that differ only in values, played as one: every step is that of a stacked model.

Parameters and buffers get a leading axis of models, a loss is mapped over it by `torch.vmap`, and one backward pass
gives every model's gradient. What differs is each model's own: its generators, which its draws come from one by one;
its optimiser, so that learning rates and penalties need not agree; its hyper-parameters of type float.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zslbench import interruption
from zslbench.api.embedder import Batch
from zslbench.training import together
from zslbench.training.device import Randomness, autocast
from zslbench.training.draws import Draws
from zslbench.training.epoch import Epoch, History
from zslbench.training.player import terms_of, total_of
from zslbench.training.side import Number, Side
from zslbench.training.update import Update

OWN = {"epochs", "patience", "plateau_patience"}
"""Whole numbers of the trainer's, which uses them one fit at a time; they may differ, as numbers of type float may."""


class Globals:
    """The fits' states of torch's global random numbers, as generators that are made when one is drawn from."""

    def __init__(self, states: Sequence[Randomness], device: torch.device) -> None:
        self.states, self.device = states, device
        self.made: list[torch.Generator] = []

    def __call__(self) -> list[torch.Generator]:
        """Returns one generator for each fit, in its state."""
        if not self.made:
            self.made = [torch.Generator(self.device).set_state(state.torch) for state in self.states]
        return self.made

    def keep(self) -> None:
        """Writes the generators' states back."""
        for state, generator in zip(self.states, self.made, strict=False):
            state.torch = generator.get_state()


class _Mapped(nn.Module):
    """A loss as a module of its embedder, whose parameters and buffers `functional_call` can exchange."""

    def __init__(self, epoch: Epoch, player: int) -> None:
        super().__init__()
        self.embedder, self.objective = epoch.embedder, epoch.players[player].objective

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns each term of the loss by name."""
        return terms_of(self.objective, self.objective.loss(batch))


class Stack:
    """Several fits in one epoch of the same stage.

    Attributes:
        epochs: theirs.
        tensors: each parameter and buffer by name, with a leading axis of fits.
        varying: hyper-parameters that differ, with the value of each fit.
    """

    def __init__(self, epochs: Sequence[Epoch], randomness: Globals) -> None:
        self.epochs, self.randomness = epochs, randomness
        first = epochs[0]
        self.device = first.batches.view.x.device
        states = [dict(state_of(epoch.embedder)) for epoch in epochs]
        self.tensors = {name: torch.stack([state[name].detach() for state in states]) for name in states[0]}
        self._members = states
        names = {id(tensor): name for name, tensor in states[0].items()}
        self.trained = [[names[id(variable)] for variable in player.variables] for player in first.players]
        self.varying = varying(epochs)
        self._numbers = {
            name: torch.tensor(own, dtype=torch.float64, device=self.device) for name, own in self.varying.items()
        }
        self._losses = [_Mapped(first, player) for player in range(len(first.players))]
        parts = {name: each.detach().unbind() for name, each in self.tensors.items()}
        self._updates = [
            [
                Update(epoch.players[player], [parts[name][which] for name in self.trained[player]])
                for which, epoch in enumerate(epochs)
            ]
            for player in range(len(first.players))
        ]

    def keep(self) -> None:
        """Writes what was trained back to each fit."""
        with torch.no_grad():
            for name in {name for names in self.trained for name in names}:
                for own, value in zip(self._members, self.tensors[name].unbind(), strict=True):
                    own[name].copy_(value)
            for updates in self._updates:
                for update in updates:
                    update.keep()

    def step(self, player: int, which: Sequence[int], rows: Sequence[Tensor]) -> dict[str, Tensor]:
        """Takes one step of some of the fits, with batches of one size, and returns each loss, `(fits,)`."""
        terms, gradients = self.gradients(player, which, rows)
        each = [[None] * len(which) if one is None else one.contiguous().unbind() for one in gradients]
        updates = [(self._updates[player][fit], [one[place] for one in each]) for place, fit in enumerate(which)]
        with torch.no_grad():
            if counts := [count for update, own in updates for count in update.counts(own)]:
                torch._foreach_add_(counts, 1)
            for update, own in updates:
                update(own)
        return terms

    def gradients(
        self, player: int, which: Sequence[int], rows: Sequence[Tensor]
    ) -> tuple[dict[str, Tensor], list[Tensor | None]]:
        """Returns each loss of some of the fits, `(fits,)`, and its gradients, `(fits, ...)`."""
        whole, place = len(which) == len(self.epochs), torch.tensor(which, device=self.device)
        taken = {name: each if whole else each[place] for name, each in self.tensors.items()}
        leaves = {name: taken[name].detach().requires_grad_() for name in self.trained[player]}
        epoch = self.epochs[0]
        own = [self.epochs[fit].batches.own for fit in which]
        values = {name: [every[fit] for fit in which] for name, every in self.varying.items()}
        numbers = {name: every[place] for name, every in self._numbers.items()}
        batch, depends = self._batch(which, rows)
        params = epoch.embedder.params

        def loss(state: Any, numbers: Any, position: Tensor, x: Tensor, y: Tensor, classes: Any) -> dict[str, Tensor]:
            draws = Draws(own, lambda: [self.randomness()[fit] for fit in which], position)
            sides = {name: Side(values[name], tensor) for name, tensor in numbers.items()}
            epoch.embedder.params = params.model_copy(update=sides) if sides else params
            shown = replace(epoch.batches.view.classes, semantics=classes[0], seen=classes[1])
            given = Batch(x, y, shown, draws.stand_in)
            with draws:
                return torch.func.functional_call(self._losses[player], _below(state), (given,))  # type: ignore[no-any-return]

        try:
            with autocast(self.device, epoch.precision):
                terms: dict[str, Tensor] = torch.vmap(loss, in_dims=(0, 0, 0, *depends), randomness="same")(
                    taken | leaves, numbers, torch.arange(len(which), device=self.device), *batch
                )
        finally:
            epoch.embedder.params = params
        found = torch.autograd.grad(total_of(terms), list(leaves.values()), allow_unused=True)
        return {name: value.detach() for name, value in terms.items()}, list(found)

    def _batch(self, which: Sequence[int], rows: Sequence[Tensor]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Returns features, labels and classes of a batch of each fit, and which of them have an axis of fits."""
        views = [self.epochs[fit].batches.view for fit in which]
        x, y = [], []
        start = 0
        for end in range(1, len(views) + 1):
            if end == len(views) or views[end].x is not views[start].x:
                taken = torch.stack(list(rows[start:end]))
                x.append(views[start].x[taken])
                y.append(views[start].y[taken])
                start = end
        alike = all(view.classes.semantics is views[0].classes.semantics for view in views)
        classes: tuple[Tensor, Tensor] = (views[0].classes.semantics, views[0].classes.seen)
        if not alike:
            classes = (torch.stack([v.classes.semantics for v in views]), torch.stack([v.classes.seen for v in views]))
        each = torch.cat(x) if len(x) > 1 else x[0], torch.cat(y) if len(y) > 1 else y[0]
        return (*each, classes), (0, 0, None if alike else 0)


def play(epochs: Sequence[Epoch], randomness: Globals) -> list[History]:
    """Plays the epochs as one, and returns the losses of each."""
    stack = Stack(epochs, randomness)
    draws = [
        [epoch.batches.rows(epoch.size, epoch.turns * player.objective.steps) for player in epoch.players]
        for epoch in epochs
    ]
    turns = max(epoch.turns for epoch in epochs)
    history: dict[str, Tensor] = {}
    settled = all(epoch.settled for epoch in epochs)
    for turn in range(turns):
        if settled:
            interruption.check()
        playing = [fit for fit, epoch in enumerate(epochs) if turn < epoch.turns]
        for number, player in enumerate(epochs[0].players):
            for _ in range(player.objective.steps):
                rows = {fit: next(draws[fit][number]) for fit in playing}
                for which in alike(playing, [len(rows[fit]) for fit in playing]):
                    for name, values in stack.step(number, which, [rows[fit] for fit in which]).items():
                        if name not in history:
                            history[name] = values.new_zeros(turns, len(epochs))
                        history[name][turn, which] = values
    stack.keep()
    randomness.keep()
    return [{name: each[: epoch.turns, fit] for name, each in history.items()} for fit, epoch in enumerate(epochs)]


def alike(items: Sequence[int], keys: Sequence[Any]) -> list[list[int]]:
    """Returns the items in groups of one key, in the order of their first ones."""
    groups: dict[Any, list[int]] = {}
    for item, key in zip(items, keys, strict=True):
        groups.setdefault(key, []).append(item)
    return list(groups.values())


def signature(epoch: Epoch) -> Any:
    """Returns what epochs must have in common to be played as one; None for what is played alone."""
    embedder, view = epoch.embedder, epoch.batches.view
    if view.pixels is not None or view.scratch is not None or together.processes() > 1:
        return None
    params = embedder.params.model_dump()
    fixed = tuple((n, repr(v)) for n, v in params.items() if n not in OWN and not isinstance(v, float))
    state = state_of(embedder)
    names = {id(tensor): name for name, tensor in state}
    players = tuple(
        (player.objective.name, player.objective.steps, tuple(names.get(id(v), "") for v in player.variables))
        for player in epoch.players
    )
    if any("" in own for _, _, own in players):
        return None  # it trains what is no part of it
    constants = tuple(
        (name, key, value)
        for name, module in embedder.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, bool | int | float | str)
    )
    shapes = tuple((name, tuple(tensor.shape), tensor.dtype) for name, tensor in state)
    problem = (view.x.shape[1:], view.x.dtype, tuple(view.classes.semantics.shape), view.setting, view.x.device)
    return type(embedder), epoch.stage.name, players, fixed, constants, shapes, problem, epoch.size, epoch.precision


def varying(epochs: Sequence[Epoch]) -> dict[str, list[Number]]:
    """Returns the hyper-parameters whose values differ, with that of each."""
    every = [epoch.embedder.params for epoch in epochs]
    names = [name for name, value in every[0] if isinstance(value, int | float) and not isinstance(value, bool)]
    found = {name: [getattr(params, name) for params in every] for name in names}
    return {name: values for name, values in found.items() if len(set(values)) > 1}


def state_of(embedder: nn.Module) -> list[tuple[str, Tensor]]:
    """Returns its parameters and buffers by name, each once."""
    return [*embedder.named_parameters(), *embedder.named_buffers()]


def _below(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"embedder.{name}": tensor for name, tensor in state.items()}
