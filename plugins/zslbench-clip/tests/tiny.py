"""A very small model of open_clip with random weights, as its users keep models: a folder with configuration and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

CONFIGURATION: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
PREPARED = {
    "image_mean": (0.4, 0.5, 0.6),
    "image_std": (0.2, 0.25, 0.3),
    "image_interpolation": "bilinear",
}


def make(folder: Path, seed: int = 0, **changed: Any) -> Path:
    """Writes a model of random weights by open_clip's own function; `changed` are parts of its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "architecture").mkdir(exist_ok=True)
    configuration = {**CONFIGURATION, **changed}
    name = f"tiny-{folder.name}"
    (folder / "architecture" / f"{name}.json").write_text(json.dumps(configuration))
    open_clip.add_model_config(folder / "architecture")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, _, _ = open_clip.create_model_and_transforms(name, **PREPARED)
    save_config_for_hf(model, folder / "open_clip_config.json", configuration)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder
