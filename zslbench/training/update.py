"""A player's optimiser at work on tensors that lie in a stack of several fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from zslbench.training.player import Player, clip

State = dict[str, Tensor]


class Update:
    """Takes the steps of a player's optimiser, with gradients and variables that lie elsewhere than the player's own.

    It calls the fused kernels that PyTorch's optimisers call, without what these look up at every step: 2 us instead of
    20. The optimiser's state stays where it is; `keep` must be called in the end.
    """

    def __init__(self, player: Player, variables: Sequence[Tensor]) -> None:
        """Takes what holds the state, and the tensors to be changed in place of the player's variables, in order."""
        self._params, self._optimizer, self._variables = player.params, player.optimizer, list(variables)
        order = {id(variable): place for place, variable in enumerate(player.variables)}
        self._groups = [
            (group, [(order[id(own)], _state(player.optimizer, own)) for own in group["params"]])
            for group in player.optimizer.param_groups
        ]
        self._kernels: list[tuple[Callable[[list[Tensor], list[Any]], None], list[int]]] | None = None
        self._steps: list[tuple[Tensor, Tensor]] = []
        self._counts: list[Tensor] = []

    def counts(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        """Returns the numbers of steps made so far, to which the caller adds 1 before each."""
        if self._kernels is None:
            self._kernels = [self._kernel(group, places, gradients) for group, places in self._groups]
        return self._counts

    def __call__(self, gradients: Sequence[Tensor | None]) -> None:
        """Takes one step; what has no gradient, the same at each, stays."""
        if self._params.clip_norm > 0:
            self._clip(gradients)
        assert self._kernels is not None
        for kernel, places in self._kernels:
            kernel([self._variables[place] for place in places], [gradients[place] for place in places])

    def keep(self) -> None:
        """Writes the numbers of steps to the optimiser's state, and has schedules see that it was used."""
        for step, own in self._steps:
            own.copy_(step)
        self._optimizer._opt_called = True  # type: ignore[attr-defined]

    def _kernel(
        self, group: dict[str, Any], places: list[tuple[int, State]], gradients: Sequence[Tensor | None]
    ) -> tuple[Callable[[list[Tensor], list[Any]], None], list[int]]:
        """Returns what steps a group, with all that does not change in an epoch, and which variables it is for."""
        found = [(place, state) for place, state in places if gradients[place] is not None]
        states = [state for _, state in found]
        if self._params.optimizer == "sgd":
            return _sgd(group, states), [place for place, _ in found]
        counts: dict[float, Tensor] = {}  # variables that have made as many steps share one number
        steps = [counts.setdefault(float(state["step"]), state["step"].clone()) for state in states]
        self._steps += [(step, state["step"]) for step, state in zip(steps, states, strict=True)]
        self._counts += counts.values()
        return _adam(group, states, steps), [place for place, _ in found]

    def _clip(self, gradients: Sequence[Tensor | None]) -> None:
        for variable, gradient in zip(self._variables, gradients, strict=True):
            variable.grad = gradient
        clip(self._variables, self._params)
        for variable in self._variables:
            variable.grad = None


def _state(optimizer: torch.optim.Optimizer, variable: Tensor) -> State:
    """Returns an optimiser's state of a variable, which begins as the optimiser itself has it begin."""
    state: State = optimizer.state[variable]
    if not state:
        names = ["exp_avg", "exp_avg_sq"]
        if isinstance(optimizer, torch.optim.SGD):
            names = ["momentum_buffer"] if optimizer.defaults["momentum"] else []
        else:
            names += ["max_exp_avg_sq"] * optimizer.defaults["amsgrad"]
            state["step"] = torch.zeros((), device=variable.device)
        state.update({name: torch.zeros_like(variable, requires_grad=False) for name in names})
    return state


def _adam(group: dict[str, Any], states: list[State], steps: list[Tensor]) -> Callable[[list[Tensor], list[Any]], None]:
    kernel = torch._fused_adamw_ if group.get("decoupled_weight_decay") else torch._fused_adam_
    moments = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
    largest = [state["max_exp_avg_sq"] for state in states] if group["amsgrad"] else []
    beta1, beta2 = group["betas"]
    same = {name: group[name] for name in ("amsgrad", "lr", "weight_decay", "eps", "maximize")}

    def step(variables: list[Tensor], gradients: list[Any]) -> None:
        if variables:
            kernel(variables, gradients, *moments, largest, steps, beta1=beta1, beta2=beta2, **same)

    return step


def _sgd(group: dict[str, Any], states: list[State]) -> Callable[[list[Tensor], list[Any]], None]:
    momenta = [state["momentum_buffer"] for state in states if group["momentum"]]
    same = {name: group[name] for name in ("lr", "weight_decay", "momentum", "dampening", "nesterov", "maximize")}

    def step(variables: list[Tensor], gradients: list[Any]) -> None:
        if variables:
            torch._fused_sgd_(variables, gradients, momenta, is_first_step=False, **same)

    return step
