"""SP-AEN's dropout: what falls, what is kept, and where it does nothing."""

from __future__ import annotations

import pytest
import torch

from zslbench.training.draws import Draws
from zslbench_methods.spaen import Dropout

SIZE = (300, 1001)
"""Not a multiple of the four elements that share a random number."""


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
def test_units_fall_with_their_share_and_the_mean_stays(share: float) -> None:
    torch.manual_seed(0)
    dropped = Dropout(share)(torch.ones(SIZE, dtype=torch.float64))
    count = dropped.numel()
    deviation = (share * (1 - share) / count) ** 0.5
    assert float((dropped == 0).double().mean()) == pytest.approx(share, abs=4 * deviation + 2**-16)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / (1 - share)], rel=1e-3)
    assert float(dropped.mean()) == pytest.approx(1, abs=5 * deviation / (1 - share))


def test_units_fall_independently_of_their_neighbours() -> None:
    """Four share one random number of 64 bits, of which each has its own 16."""
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(SIZE)) > 0).double().flatten()
    for apart in range(1, 9):
        both = float((kept[apart:] * kept[:-apart]).mean())
        assert both == pytest.approx(0.25, abs=4 * (0.1875 / len(kept)) ** 0.5)
    assert torch.stack([kept[place::4].mean() for place in range(4)]).tolist() == pytest.approx([0.5] * 4, abs=0.008)


def test_it_draws_anew_each_time_from_the_seed_alone() -> None:
    layer, x = Dropout(0.5), torch.ones(8, 64)
    torch.manual_seed(2)
    first, second = layer(x), layer(x)
    torch.manual_seed(2)
    assert torch.equal(layer(x), first) and not torch.equal(first, second)


def test_outside_training_it_changes_nothing() -> None:
    x = torch.randn(5, 7)
    assert Dropout(0.5).eval()(x) is x


def test_gradients_pass_what_is_kept() -> None:
    x = torch.randn(20, 30, requires_grad=True)
    torch.manual_seed(3)
    out = Dropout(0.2)(x)
    out.sum().backward()
    factor = 2**16 / (2**16 - round(0.2 * 2**16))
    assert torch.allclose(x.grad, (out != 0) * factor)


def test_several_models_at_once_drop_what_each_would_alone() -> None:
    layer, x = Dropout(0.2), torch.randn(3, 10, 21)
    alone = []
    for seed in range(3):
        torch.manual_seed(seed)
        alone.append(layer(x[seed]))
    shared = [torch.Generator().manual_seed(seed) for seed in range(3)]

    def mapped(x: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        with Draws([torch.Generator()] * 3, lambda: shared, which):
            return layer(x)

    together = torch.vmap(mapped, randomness="same")(x, torch.arange(3))
    assert torch.equal(together, torch.stack(alone))
