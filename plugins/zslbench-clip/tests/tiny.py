"""A very small model of open_clip with random weights, in a folder as its users keep models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip import pretrained
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

PRETRAINED: dict[str, Any] = pretrained._PRETRAINED
CONFIGURATION: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
PREPARED: dict[str, Any] = {
    "image_mean": (0.4, 0.5, 0.6),
    "image_std": (0.2, 0.25, 0.3),
    "image_interpolation": "bilinear",
}


def make(folder: Path, seed: int = 0, **changed: Any) -> Path:
    """Writes a model of random weights, `tiny-FOLDER`, in open_clip's way; `changed` are parts of its configuration."""
    (folder / "architecture").mkdir(parents=True)
    configuration, name = {**CONFIGURATION, **changed}, f"tiny-{folder.name}"
    (folder / "architecture" / f"{name}.json").write_text(json.dumps(configuration))
    register(folder / "architecture")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, _, _ = open_clip.create_model_and_transforms(name, **PREPARED)
    with torch.no_grad():
        model.logit_scale.fill_(4.6052)  # ln 100, where training ends
    save_config_for_hf(model, folder / "open_clip_config.json", configuration)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def register(architectures: Path) -> None:
    """Has open_clip know the models whose configurations are in a folder."""
    open_clip.add_model_config(architectures)


def tag(**said: Any) -> dict[str, Any]:
    """Returns what open_clip knows of pretrained weights, here of ones that do not exist."""
    return dict(pretrained._pcfg(hf_hub="zslbench-tests/none/", **said))


def direct(folder: Path) -> tuple[Any, Any, Any]:
    """Returns model, preprocessing and tokenizer by open_clip itself."""
    model, _, prepare = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    return model.eval(), prepare, open_clip.get_tokenizer(f"local-dir:{folder}")
