"""Checkpoints come back as they were, appear whole or not at all, and are never unpickled."""

from __future__ import annotations

import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zslbench.errors import DataError
from zslbench.training.checkpoint import load_checkpoint, save_checkpoint

tensors = st.builds(
    lambda shape, dtype: torch.arange(math.prod(shape)).reshape(shape).to(dtype),
    st.lists(st.integers(0, 3), max_size=3),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool]),
)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | tensors
states = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.integers() | st.text(max_size=4), inner),
        max_leaves=8,
    ),
)


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


@given(states)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nested_states_come_back_as_they_were(tmp_path: Path, state: dict[str, Any]) -> None:
    path = tmp_path / "state.safetensors"
    save_checkpoint(path, state)
    assert equal(load_checkpoint(path), state)


def test_views_shared_memory_and_scalars_come_back(tmp_path: Path) -> None:
    table = torch.arange(12.0).reshape(3, 4)
    state = {"columns": table.T, "part": table[:, 1:2], "same": table, "scalar": torch.tensor(0.1)}
    save_checkpoint(tmp_path / "c", state)
    assert equal(load_checkpoint(tmp_path / "c"), state)


def test_floats_come_back_to_the_last_bit(tmp_path: Path) -> None:
    values = [0.1 + 0.2, 1e-308, math.pi, -0.0, math.inf]
    save_checkpoint(tmp_path / "c", {"losses": values})
    assert [value.hex() for value in load_checkpoint(tmp_path / "c")["losses"]] == [value.hex() for value in values]


def test_an_optimiser_comes_back(tmp_path: Path) -> None:
    def steps(optimizer: torch.optim.Optimizer, weight: torch.Tensor, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()

    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight], lr=0.1)
    steps(optimizer, weight, 3)
    save_checkpoint(tmp_path / "c", {"weight": weight, "optimizer": optimizer.state_dict()})

    saved = load_checkpoint(tmp_path / "c")
    copy = torch.nn.Parameter(saved["weight"])
    other = torch.optim.Adam([copy], lr=0.7)
    other.load_state_dict(saved["optimizer"])
    steps(optimizer, weight, 2)
    steps(other, copy, 2)
    assert torch.equal(weight, copy)


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c"
    save_checkpoint(path, {"epoch": 1})

    def full(tensors: Any, file: Path, metadata: Any) -> None:
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(DataError, match="space"):
        save_checkpoint(path, {"epoch": 2})
    assert load_checkpoint(path) == {"epoch": 1}


def test_folders_are_made_and_nothing_else_is_left_behind(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a" / "b" / "c", {"epoch": 1})
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c"]


def test_what_is_missing_or_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "nothing") is None
    safetensors.torch.save_file({"0": torch.ones(2)}, tmp_path / "other")  # no structure
    safetensors.torch.save_file({}, tmp_path / "broken", metadata={"structure": '{"dict": [["a", {"tensor": "0"}]]}'})
    for name in ("other", "broken"):
        with pytest.warns(UserWarning, match=f"{name}: damaged checkpoint; training starts afresh"):
            assert load_checkpoint(tmp_path / name) is None


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    """Of the header, the structure, the checksum or a tensor; what is read is what was written, or nothing is."""
    path = tmp_path / "c"
    state = {"weight": torch.arange(40.0), "half": torch.ones(3, dtype=torch.bfloat16), "epoch": 3, "losses": [0.5]}
    save_checkpoint(path, state)
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            found = load_checkpoint(path)
        assert equal(found, state) if found is not None else len(told) == 1, place


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("it was unpickled",)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.warns(UserWarning, match="damaged checkpoint"):
        assert load_checkpoint(path) is None
