"""A player of training: an objective with its optimiser and learning-rate schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zslbench.api.embedder import Batch, GradientParams, Objective, Stage
from zslbench.errors import RunError
from zslbench.training import together
from zslbench.training.device import autocast
from zslbench.training.optimizers import optimizer_of


class Player:
    """Takes steps over its own parameters; learning rate and clipping are those of the method's parameters."""

    def __init__(self, objective: Objective, params: GradientParams, epochs: int) -> None:
        self.objective = objective
        self.params = params
        self.variables = [parameter for parameter in objective.parameters if parameter.requires_grad]
        self.optimizer = optimizer_of(self.variables, objective, params)
        self.schedule = _schedule(self.optimizer, params, epochs)

    def step(self, batch: Batch, precision: Literal["32", "bf16"]) -> dict[str, Tensor]:
        """Takes one step, and returns each term of the loss by name."""
        with autocast(batch.x.device, precision):
            loss = self.objective.loss(batch)
        terms = terms_of(self.objective, loss)
        for name, value in terms.items():
            if not isinstance(value, Tensor) or value.ndim > 0:
                given = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                raise RunError(f"loss {name!r} is {given}; a tensor with one value is needed, such as a mean")
        total = total_of(terms)
        if not total.requires_grad:
            raise RunError(f"loss {self.objective.name!r} does not depend on the parameters it is to train")
        gradients = torch.autograd.grad(total, self.variables, allow_unused=True)
        detached = {name: value.detach() for name, value in terms.items()}
        if batch.part is not None:
            together.average([*gradients, *detached.values()], batch.part.weight)
        for variable, gradient in zip(self.variables, gradients, strict=True):
            variable.grad = None if gradient is None else _in_order(gradient, variable)
        clip(self.variables, self.params)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return detached

    def end_epoch(self, progress: float | None) -> None:
        """Moves the schedule on; `progress` is the loss that a plateau is looked for in, the same for all players."""
        if isinstance(self.schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
            assert progress is not None
            self.schedule.step(progress)
        elif self.schedule is not None:
            self.schedule.step()

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps."""
        schedule = self.schedule.state_dict() if self.schedule else {}
        kept = {name: value for name, value in schedule.items() if isinstance(value, int | float | list)}
        return {"optimizer": self.optimizer.state_dict(), "schedule": kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from what `state` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule:
            self.schedule.load_state_dict(state["schedule"])


def terms_of(objective: Objective, loss: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns each term of a loss by its name in records: that of the objective, then its own."""
    terms = loss if isinstance(loss, dict) else {"": loss}
    return {"/".join(filter(None, (objective.name, term))): value for term, value in terms.items()}


def total_of(terms: dict[str, Tensor]) -> Tensor:
    """Returns what is minimised: the sum of all terms, over all models where each has a value for several."""
    return torch.stack([term.float() for term in terms.values()]).sum()


def clip(variables: Sequence[Tensor], params: GradientParams) -> None:
    """Clips the gradients of variables to the norm that the parameters say, if any: each alone, or all together."""
    if params.clip_norm > 0:
        for group in [[variable] for variable in variables] if params.clip_each else [variables]:
            nn.utils.clip_grad_norm_(group, params.clip_norm)


def _in_order(gradient: Tensor, variable: Tensor) -> Tensor:
    """Returns a gradient that lies in memory as its variable does: fused optimisers take both in that order.

    That of a matrix which a loss transposes, as in `x @ W.T`, does not lie so.
    """
    return gradient if gradient.stride() == variable.stride() else torch.empty_like(variable).copy_(gradient)


def progress_of(stage: Stage, params: GradientParams, losses: dict[str, float]) -> float | None:
    """Returns the loss by which all players of a stage see a plateau; None where no schedule looks for one.

    The level of an adversarial loss says nothing of progress: players that followed their own losses would stop at
    different times, and one that goes on against opponents at rest runs off.

    Raises:
        RunError: there are several players, and the stage does not say which loss it is.
    """
    if params.schedule != "plateau":
        return None
    if not stage.plateau and len(stage.objectives) == 1:
        return sum(losses.values())
    if stage.plateau not in losses:
        named = (
            f"Stage(plateau={stage.plateau!r}) is none of them" if stage.plateau else "Stage(plateau=...) names none"
        )
        raise RunError(
            f"stage {stage.name!r} has several losses, {', '.join(losses)}, and {named}: "
            "name the one whose plateau lowers the learning rates, or take another schedule"
        )
    return losses[stage.plateau]


def _schedule(optimizer: torch.optim.Optimizer, params: GradientParams, epochs: int) -> Any:
    if params.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, factor=0.1, patience=params.plateau_patience, threshold=0.0, threshold_mode="abs"
        )
    if params.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    return None
