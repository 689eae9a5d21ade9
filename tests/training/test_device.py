"""Devices by name, and random state that is put back."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zslbench.errors import UsageError
from zslbench.training.checkpoint import load_checkpoint, save_checkpoint
from zslbench.training.device import Randomness, autocast, choose_device, random_state, seeded, set_random_state

CPU = torch.device("cpu")


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def two_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_auto_is_the_cpu_where_there_is_no_cuda(no_cuda: None) -> None:
    assert choose_device("auto") == choose_device("cpu") == CPU


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_cuda_where_there_is_none_is_one_line_with_a_way_out(no_cuda: None, name: str) -> None:
    with pytest.raises(UsageError, match=f"--device {name}: .*no CUDA device; try --device cpu") as error:
        choose_device(name)
    assert "\n" not in str(error.value)


def test_cuda_devices_are_chosen_by_number(two_cuda: None) -> None:
    assert choose_device("auto").type == choose_device("cuda").type == "cuda"
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match="there are 2 CUDA devices, counted from 0"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "mps"])
def test_a_name_that_is_no_device_is_refused(two_cuda: None, name: str) -> None:
    with pytest.raises(UsageError, match="choose auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_seeded_gives_the_same_numbers_and_restores_the_state_even_after_an_error() -> None:
    before = torch.get_rng_state()
    drawn = []
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), seeded(5, CPU):
            assert torch.are_deterministic_algorithms_enabled()
            drawn.append(torch.rand(3))
            raise ZeroDivisionError
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_random_state_goes_back_to_where_it_was() -> None:
    with seeded(0, CPU):
        state = random_state(CPU)
        first = torch.rand(4)
        set_random_state(state, CPU)
        assert torch.equal(torch.rand(4), first)


@pytest.mark.parametrize("generator", [np.random.MT19937(5), np.random.PCG64(5)])
@pytest.mark.parametrize("older", [False, True])
def test_random_states_of_numpy_and_python_go_back_whatever_their_generator(
    tmp_path: Path, generator: Any, older: bool
) -> None:
    """Through a checkpoint, and from one of an older version, whose words were lists of numbers."""
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(generator)
    try:
        np.random.standard_normal(3)
        random.gauss(0, 1)  # it keeps a second value for the next call
        state = random_state(CPU)
        if older:
            state["python"][1] = state["python"][1].tolist()
            own = state["numpy"]["state"]
            own |= {name: part.tolist() for name, part in own.items() if isinstance(part, torch.Tensor)}
        save_checkpoint(tmp_path / "state.safetensors", state)
        drawn = [(*np.random.standard_normal(4), random.random(), random.gauss(0, 1)) for _ in range(2)]
        kept = load_checkpoint(tmp_path / "state.safetensors")
        assert kept is not None
        set_random_state(kept, CPU)
        assert [(*np.random.standard_normal(4), random.random(), random.gauss(0, 1)) for _ in range(2)] == drawn
    finally:
        np.random.set_bit_generator(before)


DRAWS: dict[str, Callable[[], object]] = {
    "nothing": lambda: None,
    "a normal number, and one that waits": lambda: np.random.standard_normal(),
    "two normal numbers": lambda: np.random.standard_normal(2).tolist(),
    "as many words as there are": lambda: np.random.bytes(4 * 624),
    "one of Python's": lambda: random.gauss(0, 1),
    "one of torch's": lambda: torch.rand(()).item(),
}


@pytest.mark.parametrize("kind", [np.random.MT19937, np.random.PCG64])
@given(fits=st.lists(st.lists(st.sampled_from(sorted(DRAWS)), min_size=5, max_size=5), min_size=2, max_size=4))
def test_what_takes_turns_draws_what_it_would_draw_alone(kind: Any, fits: list[list[str]]) -> None:
    """Fits that begin in one state or in their own, a draw of each in turn."""
    outer, generator = Randomness(CPU), np.random.get_bit_generator()
    try:
        alone, begun = [], []
        for number, draws in enumerate(fits):
            np.random.set_bit_generator(kind(number // 2))
            random.seed(number)
            torch.manual_seed(number)
            begun.append(Randomness(CPU))
            alone.append([DRAWS[name]() for name in draws])
        np.random.set_bit_generator(kind(0))
        turns: list[list[object]] = [[] for _ in fits]
        for names in zip(*fits, strict=True):
            for number, name in enumerate(names):
                begun[number].restore()
                turns[number].append(DRAWS[name]())
                begun[number] = Randomness(CPU)
        assert turns == alone
    finally:
        np.random.set_bit_generator(generator)
        outer.restore()


def test_precision_is_that_of_the_products() -> None:
    a = torch.ones(2, 2)
    with autocast(CPU, "32"):
        assert (a @ a).dtype == torch.float32
    with autocast(CPU, "bf16"):
        assert (a @ a).dtype == torch.bfloat16
