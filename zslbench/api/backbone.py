"""The backbone interface: a network that turns images into visual features, and how weights get into one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from zslbench.errors import DataError
from zslbench.files import existing

if TYPE_CHECKING:
    from PIL.Image import Image


class Backbone(nn.Module):
    """Turns images into visual features. The harness uses it unchanged, in evaluation mode and without gradients.

    A subclass is created with these two arguments alone. It raises a `DataError` if pretrained weights are not
    available. The harness refuses a file of weights that changes none of its parameters and buffers.

    Args:
        weights: a file of weights to use instead of the pretrained ones; see `load_weights`.
        pretrained: whether to use pretrained weights; without them and without a file, weights are drawn at random.
    """

    def __init__(self, weights: Path | None = None, pretrained: bool = True) -> None:
        super().__init__()

    def prepare(self, image: Image) -> Tensor:
        """Turns an RGB image of any size into one input, `(3, H, W)` float32 with the same H and W for all.

        Called from several threads at a time.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define prepare()")

    def prepare_crop(self, image: Image) -> Tensor:
        """Turns a crop of an image into one input, like `prepare`, but cuts nothing away; it may scale the crop."""
        return self.prepare(image)

    def forward(self, images: Tensor) -> Tensor:
        """Maps prepared images `(B, 3, H, W)` to features `(B, D)`."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")


def load_weights(network: nn.Module, path: Path, head: Iterable[str] = ()) -> None:
    """Loads a file of weights into a network that has lost its head.

    Args:
        network: the file must have every parameter and buffer of it, in the same shape.
        path: a safetensors file, or a state dict that `torch.save` wrote; nothing but tensors is unpickled.
        head: names of submodules that the network lacks; the file may have them.

    Raises:
        UsageError: there is no such file.
        DataError: the file cannot be read, or holds the weights of another architecture.
    """
    found, wanted = _read_state(path), network.state_dict()
    prefixes = tuple(f"{name}." for name in head)
    found = {name: value for name, value in found.items() if name in wanted or not name.startswith(prefixes)}
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # absent from old files, and unused
    missing = [name for name in wanted if name not in found and name not in counters]
    strange = [name for name in found if name not in wanted]
    reshaped = [name for name in found if name in wanted and _kind(found[name]) != _kind(wanted[name])]
    if missing or strange or reshaped:
        examples = (missing or reshaped or strange)[0]
        raise DataError(
            f"{path}: it holds the weights of another architecture: {len(missing)} tensors are missing, "
            f"{len(strange)} are unknown, {len(reshaped)} have another shape or kind of number ({examples} for one)"
        )
    network.load_state_dict(found, strict=False)


def weights_fingerprint(network: nn.Module) -> str:
    """Returns SHA-256 of the names, types, shapes and values of a network's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _kind(value: Tensor) -> tuple[torch.Size, bool, bool]:
    """Returns shape and kind of number: whole numbers for fractions are quantised weights without their scale."""
    return value.shape, value.is_floating_point(), value.is_complex()


def _read_state(path: Path) -> dict[str, Tensor]:
    path = existing("--weights", path)
    try:
        content: Any
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            content = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or foreign file makes torch and safetensors raise a dozen kinds
        raise DataError(
            f"{path}: no weights can be read from it ({type(error).__name__}); give a safetensors file, "
            "or a state dict saved by torch.save"
        ) from error
    for key in ("state_dict", "model"):  # where training scripts keep the state dict that is meant
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise DataError(f"{path}: it holds no state dict, which maps names to tensors")
    if all(name.startswith("module.") for name in content):  # saved from a DataParallel
        content = {name.removeprefix("module."): value for name, value in content.items()}
    state: dict[str, Tensor] = content
    return state
