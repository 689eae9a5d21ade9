"""Whether epochs can be played as one: each step is tried on both ways, and nothing of it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from zslbench.api.embedder import Batch
from zslbench.errors import one_line
from zslbench.training.device import Randomness, autocast
from zslbench.training.epoch import Epoch
from zslbench.training.player import terms_of, total_of
from zslbench.training.side import Mixed
from zslbench.training.stacked import Globals, Stack, state_of, varying

TOLERANCE = 1e-2
"""How far losses and gradients may differ, beside the largest one: rounding, not another loss."""

_refused: dict[Any, str] = {}
"""Why epochs of one signature cannot be stacked."""
_tried: dict[Any, list[frozenset[Any]]] = {}
"""Values of hyper-parameters, one tuple a model, that were stacked."""
_sizes: dict[Any, int] = {}
"""Bytes that a step of one model works on."""
_mixed: dict[Any, list[dict[Any, bool]]] = {}
"""Values that could not, and how each answered what the loss asked."""


def refusal(key: Any, epochs: Sequence[Epoch], states: Sequence[Randomness]) -> str | None:
    """Returns why these epochs, of one signature, cannot be played as one, or None; a process tries nothing twice.

    Raises:
        Mixed: they can in parts, those whose values lead to one branch of the loss.
    """
    if key in _refused:
        return _refused[key]
    differing = varying(epochs)
    rows = list(zip(*differing.values(), strict=True)) or [()] * len(epochs)
    sizes = {min(epoch.size, len(epoch.batches.view.x)) for epoch in epochs}
    sizes |= {len(epoch.batches.view.x) % epoch.size for epoch in epochs} - {0}
    own = (key, tuple(sorted(sizes)), tuple(differing))
    for answers in _mixed.get(own, []):
        if len({answers.get(row) for row in rows} - {None}) > 1 and all(row in answers for row in rows):
            raise Mixed([answers[row] for row in rows])
    if any(frozenset(rows) <= known for known in _tried.get(own, [])):
        return None
    try:
        why = _why_not(epochs, states, sorted(sizes))
    except Mixed as mixed:
        _mixed.setdefault(own, []).append(dict(zip(rows, mixed.answers, strict=True)))
        raise
    if why is None:
        _tried.setdefault(own, []).append(frozenset(rows))
    else:
        _refused[key] = why
    return why


def size_of(key: Any, epoch: Epoch, state: Randomness) -> int:
    """Returns the bytes that a model's step works on at a time: its state, or the largest tensor that its losses make.

    What a step works on is looked at once for each signature.
    """
    if key not in _sizes:
        held = sum(tensor.numel() * tensor.element_size() for _, tensor in state_of(epoch.embedder))
        largest, before = _Largest(), epoch.batches.own.get_state()
        rows = torch.arange(min(epoch.size, len(epoch.batches.view.x)), device=epoch.batches.view.x.device)
        with largest, suppress(Exception):  # what fails here fails in the epoch too, with its own words
            for player in range(len(epoch.players)):
                _alone(epoch, player, rows, state)
        epoch.batches.own.set_state(before)
        _sizes[key] = max(held, largest.size)
    return _sizes[key]


class _Largest(TorchFunctionMode):
    """Notes the bytes of the largest tensor that a function gives.

    A `TorchDispatchMode` would see what is inside functions too, and loads PyTorch's compiler, which takes a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self.size = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        for one in found if isinstance(found, tuple | list) else (found,):
            if isinstance(one, Tensor):
                self.size = max(self.size, one.numel() * one.element_size())
        return found


def reason_of(method: type) -> str:
    """Returns why fits of a method were not played as one in this process, where they were tried; else nothing."""
    return next((why for key, why in _refused.items() if key[0] is method), "")


def _why_not(epochs: Sequence[Epoch], states: Sequence[Randomness], sizes: list[int]) -> str | None:
    stack = Stack(epochs, Globals(states, epochs[0].batches.view.x.device))
    before = [epoch.batches.own.get_state() for epoch in epochs]
    try:
        for player in range(len(epochs[0].players)):
            for size in sizes:
                rows = [torch.arange(size, device=stack.device)] * len(epochs)
                alone = [_alone(epoch, player, rows[0], state) for epoch, state in zip(epochs, states, strict=True)]
                for epoch, state in zip(epochs, before, strict=True):
                    epoch.batches.own.set_state(state)
                stack.randomness.made.clear()
                together = stack.gradients(player, range(len(epochs)), rows)
                if difference := _difference(alone, *together):
                    return f"its loss {epochs[0].players[player].objective.name!r} is another {difference}"
                for epoch, state in zip(epochs, before, strict=True):
                    epoch.batches.own.set_state(state)
    except Mixed:
        raise
    except Exception as error:  # what PyTorch cannot map, or a method cannot do with what it is given
        return one_line(error)
    finally:
        for epoch, state in zip(epochs, before, strict=True):
            epoch.batches.own.set_state(state)
    return None


def _alone(epoch: Epoch, player: int, rows: Tensor, state: Randomness) -> tuple[dict[str, Tensor], list[Any]]:
    """Returns the losses of one model, and their gradients."""
    view, objective, device = epoch.batches.view, epoch.players[player].objective, rows.device
    buffers = [(buffer, buffer._version, buffer.clone()) for buffer in epoch.embedder.buffers()]
    before = Randomness(device)
    state.restore()
    try:
        with autocast(device, epoch.precision):
            loss = objective.loss(Batch(view.x[rows], view.y[rows], view.classes, epoch.batches.own))
    finally:
        before.restore()
    if changed := [(buffer, value) for buffer, version, value in buffers if buffer._version != version]:
        for buffer, value in changed:
            buffer.copy_(value)
        raise NotImplementedError("its loss changes buffers")
    terms = terms_of(objective, loss)
    gradients = torch.autograd.grad(total_of(terms), epoch.players[player].variables, allow_unused=True)
    return terms, list(gradients)


def _difference(
    alone: list[tuple[dict[str, Tensor], list[Any]]], terms: dict[str, Tensor], gradients: list[Tensor | None]
) -> str:
    for which, (own, single) in enumerate(alone):
        if own.keys() != terms.keys() or any(_far(own[name], terms[name][which]) for name in own):
            return "one where several are computed as one"
        for a, b in zip(single, gradients, strict=True):
            if (a is None) != (b is None) or (a is not None and b is not None and _far(a, b[which])):
                return "one where several are computed as one, by its gradients"
    return ""


def _far(a: Tensor, b: Tensor) -> bool:
    size = float(a.detach().norm())
    return not float((a.detach() - b.detach()).norm()) <= TOLERANCE * size + 1e-6
