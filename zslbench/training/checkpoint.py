"""Checkpoints: nested training state in one safetensors file, so that nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import warnings
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
    structure = json.dumps(_flatten(state, tensors))
    metadata = {"structure": structure, "checksum": _checksum(structure, tensors)}
    with whole(path) as part:
        try:
            safetensors.torch.save_file(tensors, part, metadata=metadata)
        except safetensors.SafetensorError as error:
            raise OSError(str(error)) from error


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Reads what `save_checkpoint` wrote; None where there is no file, or a damaged one, about which it warns."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            metadata = file.metadata() or {}
        if metadata["checksum"] != _checksum(metadata["structure"], tensors):
            raise ValueError("its content does not fit its checksum")
        state: dict[str, Any] = _restore(json.loads(metadata["structure"]), tensors)
    except FileNotFoundError:
        return None
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError, RuntimeError):
        warnings.warn(f"{path}: damaged checkpoint; training starts afresh", stacklevel=2)
        return None
    return state


def copied(value: Any) -> Any:
    """Returns nested dicts and lists whose tensors lie in main memory and change no more."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list | tuple) else value


def _checksum(structure: str, tensors: Flat) -> str:
    digest = hashlib.sha256(structure.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
