"""What a loss draws where several models compute it as one: the numbers that each would have drawn alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

SIZED = {torch.rand, torch.randn, torch.randint, torch.randperm}
"""Functions whose result depends on sizes and a generator alone."""
LIKE = {torch.rand_like: torch.rand, torch.randn_like: torch.randn}
UNKNOWN = {
    torch.bernoulli,
    torch.normal,
    torch.poisson,
    torch.randint_like,
    functional.alpha_dropout,
    functional.dropout1d,
    functional.dropout2d,
    functional.dropout3d,
    functional.feature_alpha_dropout,
    functional.rrelu,
    functional.gumbel_softmax,
    Tensor.bernoulli_,
    Tensor.cauchy_,
    Tensor.exponential_,
    Tensor.geometric_,
    Tensor.log_normal_,
    Tensor.normal_,
    Tensor.random_,
    Tensor.uniform_,
    Tensor.bernoulli,
    Tensor.multinomial,
}
"""Functions that draw and are not served; a loss that calls one is computed for one model at a time."""


class Draws(TorchFunctionMode):
    """Serves what a loss draws under `torch.vmap`, model by model, each from its own generators.

    Attributes:
        stand_in: the generator that the batch shows; what is drawn from it comes from each model's own.
        drawn: whether anything was.
    """

    def __init__(
        self, own: Sequence[torch.Generator], shared: Callable[[], Sequence[torch.Generator]], which: Tensor
    ) -> None:
        """Takes each model's generator, its state of torch's global one, and its position, `()` under vmap."""
        super().__init__()
        self.own, self.shared, self.which = own, shared, which
        self.stand_in = torch.Generator(device=own[0].device)
        self.drawn = False

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Draws for each model, or calls a function that does not draw."""
        kwargs = dict(kwargs or {})
        if function in SIZED:
            return self._each(function, self._generators(kwargs), *args, **kwargs)
        if function in LIKE:
            like = {"dtype": args[0].dtype, "device": args[0].device, **kwargs}
            return self._each(LIKE[function], self._generators(like), args[0].shape, **like)
        if function is torch.multinomial:
            return self._multinomial(self._generators(kwargs), *args, **kwargs)
        if function is functional.dropout:
            return self._dropout(*args, **kwargs)
        if function is functional.linear:
            return _linear(*args, **kwargs)
        if function in UNKNOWN:
            raise NotImplementedError(f"{function.__name__} is not drawn for several models at once")
        return function(*args, **kwargs)

    def _generators(self, kwargs: dict[str, Any]) -> Sequence[torch.Generator]:
        given = kwargs.pop("generator", None)
        if given is None:
            return self.shared()
        if given is not self.stand_in:
            raise NotImplementedError("it draws from a generator of its own")
        return self.own

    def _each(self, draw: Any, generators: Sequence[torch.Generator], *args: Any, **kwargs: Any) -> Tensor:
        self.drawn = True
        every = torch.stack([draw(*args, generator=one, **kwargs) for one in generators])
        return every.index_select(0, self.which.view(1)).squeeze(0)

    def _multinomial(
        self, generators: Sequence[torch.Generator], weights: Tensor, count: int, replacement: bool = False
    ) -> Tensor:
        """Draws rows of a distribution `(C,)`, `(count,)`, by inverting its sum, as PyTorch does on a CPU."""
        if not replacement or weights.ndim != 1:
            raise NotImplementedError("multinomial without replacement is not drawn for several models at once")
        uniform = self._each(torch.rand, generators, count, dtype=torch.float64, device=weights.device)
        sums = weights.cumsum(0)
        return (sums / sums[-1] < uniform[:, None]).sum(dim=1)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if not training or p == 0:
            return x

        def kept(*sizes: int, generator: torch.Generator, **like: Any) -> Tensor:
            return torch.empty(sizes, **like).bernoulli_(1 - p, generator=generator).div_(1 - p)

        return x * self._each(kept, self.shared(), *x.shape, dtype=x.dtype, device=x.device)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Returns x W' + b, adding b in place; under vmap PyTorch writes the sum to new memory, which takes as long."""
    product = torch.matmul(x, weight.t())
    return product if bias is None else product.add_(bias)
