"""Checkpoints: nested training state in one safetensors file, so that nothing is ever unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from zslbench.files import whole

Flat = dict[str, torch.Tensor]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes nested dicts and lists of tensors and JSON values; the file appears whole or not at all."""
    tensors: Flat = {}
    structure = _flatten(state, tensors)
    with whole(path) as part:
        safetensors.torch.save_file(tensors, part, metadata={"structure": json.dumps(structure)})


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Reads what `save_checkpoint` wrote; None where there is no file, or none that can be read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            state: dict[str, Any] = _restore(json.loads(file.metadata()["structure"]), tensors)
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError):
        return None
    return state


def _flatten(value: Any, tensors: Flat) -> Any:
    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):  # keys may be integers, as in optimiser states
        return {"dict": [[key, _flatten(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_flatten(item, tensors) for item in value]}
    return {"value": value}


def _restore(node: Any, tensors: Flat) -> Any:
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _restore(item, tensors) for key, item in content}
    if kind == "list":
        return [_restore(item, tensors) for item in content]
    return content
