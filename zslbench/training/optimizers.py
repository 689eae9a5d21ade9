"""Optimisers of PyTorch, without the compiler that their methods would load."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from zslbench.api.embedder import GradientParams, Objective

SHIELDED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
"""Methods that PyTorch hides from its compiler, which it imports to do so: a second or more in each process."""


def _without_compiler(kind: type[torch.optim.Optimizer]) -> type[Any]:
    """Returns the class with its methods as they are written; where they are not wrapped, nothing changes."""
    bare: dict[str, Any] = {name: inspect.unwrap(getattr(kind, name)) for name in SHIELDED}
    return type(kind.__name__, (kind,), {**bare, "step": torch.no_grad()(inspect.unwrap(kind.step))})


ADAM, ADAMW, SGD = map(_without_compiler, (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD))


def optimizer_of(variables: list[nn.Parameter], objective: Objective, params: GradientParams) -> torch.optim.Optimizer:
    """Returns the optimiser of an objective. The L2 penalty falls on weights, not on biases and other vectors."""
    lr, decay = objective.lr or params.lr, params.weight_decay * objective.decay
    groups: Any = [
        {"params": [v for v in variables if v.ndim > 1], "weight_decay": decay},
        {"params": [v for v in variables if v.ndim <= 1], "weight_decay": 0.0},
    ]
    if decay == 0:
        groups = variables
    made: torch.optim.Optimizer
    if params.optimizer == "sgd":
        made = SGD(groups, lr=lr, momentum=params.beta1, fused=True)
        return made
    betas, amsgrad = (params.beta1, params.beta2), params.optimizer == "amsgrad"
    kind = ADAMW if params.optimizer == "adamw" else ADAM
    made = kind(groups, lr=lr, betas=betas, weight_decay=0.0, amsgrad=amsgrad, fused=True)
    return made
