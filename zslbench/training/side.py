"""Numbers that stand side by side: one hyper-parameter with a value for each of several models."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Number = int | float


class Mixed(RuntimeError):
    """Values answer a question of a loss differently, so that their models take different branches of it.

    Attributes:
        answers: that of each model.
    """

    def __init__(self, answers: Sequence[bool]) -> None:
        super().__init__("values of one hyper-parameter lead to different branches of the loss")
        self.answers = tuple(answers)


class Side:
    """One number for each model: arithmetic is that of Python's numbers until it meets a tensor of a loss.

    There it becomes a tensor of the other's type, as a Python number would. A comparison that all values answer alike
    is a bool; one that they do not raises Mixed.
    """

    def __init__(self, values: Sequence[Number], tensor: Tensor) -> None:
        """Takes the values, and the same as a float64 tensor, `()` for each model under `torch.vmap`."""
        self.values, self.tensor = tuple(values), tensor

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Gives a function of PyTorch a tensor for each number, of the type of the tensors beside it."""
        kwargs = kwargs or {}
        given = [*args, *kwargs.values()]
        floating = [one.dtype for one in given if isinstance(one, Tensor) and one.is_floating_point()]
        dtype = floating[0] if floating else torch.get_default_dtype()

        def seen(one: Any) -> Any:
            return one.tensor.to(dtype) if isinstance(one, Side) else one

        return function(*map(seen, args), **{name: seen(one) for name, one in kwargs.items()})

    def _with(self, other: Any, work: Callable[[Any, Any], Any]) -> Any:
        if isinstance(other, Tensor):
            return work(self.tensor.to(other.dtype if other.is_floating_point() else torch.get_default_dtype()), other)
        if isinstance(other, Side):
            values = [work(a, b) for a, b in zip(self.values, other.values, strict=True)]
            return Side(values, work(self.tensor, other.tensor))
        if isinstance(other, int | float):
            return Side([work(value, other) for value in self.values], work(self.tensor, other))
        return NotImplemented

    def _asked(self, other: Any, question: Callable[[Any, Any], Any]) -> Any:
        if isinstance(other, Tensor):
            return self._with(other, question)
        others = other.values if isinstance(other, Side) else [other] * len(self.values)
        return _alike([bool(question(a, b)) for a, b in zip(self.values, others, strict=True)])

    def __neg__(self) -> Side:
        return Side([-value for value in self.values], -self.tensor)

    def __abs__(self) -> Side:
        return Side([abs(value) for value in self.values], self.tensor.abs())

    def __bool__(self) -> bool:
        return _alike([bool(value) for value in self.values])

    def __float__(self) -> float:
        if len(set(self.values)) > 1:
            raise TypeError("one number is needed, and each model has its own")
        return float(self.values[0])

    def __eq__(self, other: object) -> Any:
        return self._asked(other, operator.eq)

    __hash__ = None  # type: ignore[assignment]


def _alike(answers: list[bool]) -> bool:
    if len(set(answers)) > 1:
        raise Mixed(answers)
    return answers[0]


def _operators() -> None:
    """Gives Side the arithmetic and the comparisons of numbers."""
    for name in ("add", "sub", "mul", "truediv", "pow", "floordiv", "mod"):
        work = getattr(operator, name)
        setattr(Side, f"__{name}__", lambda self, other, work=work: self._with(other, work))
        setattr(Side, f"__r{name}__", lambda self, other, work=work: self._with(other, lambda a, b: work(b, a)))
    for name in ("lt", "le", "gt", "ge"):
        question = getattr(operator, name)
        setattr(Side, f"__{name}__", lambda self, other, question=question: self._asked(other, question))


_operators()
