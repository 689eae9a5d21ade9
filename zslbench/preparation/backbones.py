"""Loads a backbone by name; any classification model of torchvision or timm without its head is one."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from zslbench.api.backbone import Backbone, load_weights, weights_fingerprint
from zslbench.api.family import Family
from zslbench.api.images import square_side
from zslbench.data.decoding import central_square
from zslbench.data.digests import file_digest
from zslbench.discovery.plugins import registry
from zslbench.errors import DataError, UsageError, ZSLBenchError, near_misses, one_line
from zslbench.files import existing, in_file_names
from zslbench.preparation.hub import check_download, check_kept, reaching_hub

SIZE, GRID = 64, 16
CLASSES = 1000
"""Of ImageNet, on which torchvision's models are made; the layer with as many outputs is the head."""


@dataclass(frozen=True)
class Loaded:
    """A backbone with its weights.

    Attributes:
        name: in full, `torchvision:resnet101` for instance.
        features: a name for its features that tells its weights too, fit for a file.
        backbone: in evaluation mode, on the CPU.
        fingerprint: SHA-256 of its weights.
    """

    name: str
    features: str
    backbone: Backbone
    fingerprint: str


def load_backbone(name: str, weights: Path | None = None, pretrained: bool = True, seed: int = 0) -> Loaded:
    """Makes the backbone of this name.

    Args:
        name: of a registered backbone, `PREFIX:NAME` of a family, or a name alone; see `Registry.maker`.
        weights: a file of weights instead of the pretrained ones.
        pretrained: without it and without a file, weights are drawn at random.
        seed: what random weights are drawn by.

    Raises:
        UsageError: there is no such backbone, near misses are suggested; or no such file of weights, or one that the
            backbone does not use.
        DataError: the weights are of another architecture, or cannot be downloaded.
    """
    full, make = find_backbone(name)
    pretrained = pretrained and weights is None
    if weights is not None:
        existing("--weights", weights)
    backbone = _made(name, make, weights, pretrained, seed)
    fingerprint, origin = weights_fingerprint(backbone), "" if pretrained or not backbone.state_dict() else "-random"
    if weights is not None:
        if _ignores(name, make, weights, fingerprint, seed):
            raise UsageError(f"--weights {weights}: backbone {name} uses no file of weights; leave it out")
        origin = f"-{weights.stem}"
    return Loaded(full, in_file_names(full + origin), backbone.eval().requires_grad_(False), fingerprint)


@cache
def check_weights(name: str, weights: Path, digest: str) -> None:
    """Raises what `load_backbone` raises of a file of weights; once for each content, of which `digest` is the hash."""
    load_backbone(name, weights)


def _made(name: str, make: Callable[..., Backbone], weights: Path | None, pretrained: bool, seed: int) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            return make(weights=weights, pretrained=pretrained)
        except ZSLBenchError:
            raise
        except Exception as error:  # a download fails in as many ways as there are libraries below it
            if not pretrained:
                raise DataError(f"backbone {name}: it cannot be made ({one_line(error)})") from error
            raise DataError(
                f"backbone {name}: its pretrained weights cannot be had ({one_line(error)}); give a local file by "
                "--weights, take random ones by --no-pretrained, or a backbone that needs no download, which "
                "`zslbench list backbones` may have"
            ) from error


def _ignores(name: str, make: Callable[..., Backbone], weights: Path, fingerprint: str, seed: int) -> bool:
    """Whether a backbone with this fingerprint is the one that it is without its file, whatever is drawn at random."""

    def made(file: Path | None, seed: int) -> str:
        return weights_fingerprint(_made(name, make, file, False, seed))

    try:  # the file may hold just what this seed draws, but not what the next one draws too
        return made(None, seed) == fingerprint and made(None, seed + 1) == made(weights, seed + 1)
    except ZSLBenchError:  # it cannot do without
        return False


def find_backbone(name: str) -> tuple[str, Callable[..., Backbone]]:
    """Returns a backbone's full name and what makes it, given `weights` and `pretrained`; see `Registry.maker`."""
    return registry().maker("backbone", name, Backbone)


def files_digest(name: str) -> str:
    """Returns a hash of the files of one's own that a backbone's name stands for, or an empty string."""
    family, colon, member = find_backbone(name)[0].partition(":")
    files = registry().resolve("backbone", family + colon, Backbone).files(member) if colon else ()
    try:
        digests = [file_digest(path) for path in files]
    except OSError as error:
        raise DataError(f"backbone {name}: {error.filename} cannot be read ({error.strerror})") from error
    return hashlib.sha256(" ".join(digests).encode()).hexdigest() if digests else ""


class _Transformed(Backbone):
    """A network without its head, with the preprocessing that its library has for it."""

    network: Any
    transform: Any
    crop_transform: Any

    def prepare(self, image: Image.Image) -> Tensor:
        """Resizes, crops and normalises as the weights were evaluated."""
        return cast("Tensor", self.transform(image))

    def prepare_crop(self, image: Image.Image) -> Tensor:
        """Resizes to the size of the network's input, and normalises."""
        return cast("Tensor", self.crop_transform(image))

    def forward(self, images: Tensor) -> Tensor:
        """Returns what the head would be given, `(B, D)`."""
        return cast("Tensor", self.network(images)).flatten(1)


class TorchvisionBackbone(Family, _Transformed):
    """A classification model of torchvision without its last layer, with the preprocessing of its weights.

    Of several weights it takes the first, which are those of the model's paper: ResNet-101 as in the GBU release.
    """

    def __init__(self, name: str, weights: Path | None = None, pretrained: bool = True) -> None:
        import torchvision

        super().__init__()
        known = next(iter(torchvision.models.get_model_weights(name)))
        if pretrained:
            file = Path(torch.hub.get_dir(), "checkpoints", PurePosixPath(known.url).name)
            check_download(file, "".join(re.findall(r"-([0-9a-f]{8,})\.", file.name)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GoogLeNet and Inception warn that their initial weights take a while
            self.network = torchvision.models.get_model(name, weights=known if pretrained else None)
        if hasattr(self.network, "transform_input"):
            self.network.transform_input = True  # what torchvision does wherever such a network has weights
        self.transform = known.transforms()
        self.crop_transform = known.transforms(resize_size=self.transform.crop_size[0])
        head = _remove_head(self.network)
        if weights is not None:
            load_weights(self.network, weights, [head])

    @classmethod
    def names(cls) -> list[str]:
        """Returns torchvision's classification models."""
        import torchvision

        return list(torchvision.models.list_models(module=torchvision.models))


class TimmBackbone(Family, _Transformed):
    """A model of timm without its classifier: pooled features, with the preprocessing of its configuration."""

    def __init__(self, name: str, weights: Path | None = None, pretrained: bool = True) -> None:
        import timm

        super().__init__()
        with reaching_hub() if pretrained else nullcontext():
            network: Any = timm.create_model(name, pretrained=pretrained, num_classes=0)
        if pretrained and (repository := network.pretrained_cfg.get("hf_hub_id")):
            check_kept(repository, "model.safetensors", "pytorch_model.bin")
        preprocessing: Any = timm.data
        configuration = preprocessing.resolve_model_data_config(network)
        self.transform = preprocessing.create_transform(**configuration, is_training=False)
        self.crop_transform = preprocessing.create_transform(**(configuration | {"crop_pct": 1.0}), is_training=False)
        if weights is not None:
            head = network.pretrained_cfg.get("classifier") or ()
            names = [head] if isinstance(head, str) else head
            load_weights(network, weights, {name.split(".")[0] for name in names})  # a norm may have gone with it
        self.network = network

    @classmethod
    def names(cls) -> list[str]:
        """Returns timm's architectures, and with a dot behind each of its pretrained weights."""
        import timm

        return timm.list_models() + timm.list_pretrained()

    @classmethod
    def wrong(cls, name: str) -> str:
        """Knows what is wrong with a tag of pretrained weights."""
        import timm

        architecture, _, tag = name.partition(".")
        if not timm.is_model(architecture):
            return super().wrong(name)
        if tag and name not in (tagged := timm.list_pretrained(f"{architecture}.*")):
            return f"it has no weights {tag!r}{near_misses(name, tagged)}"
        return ""


class AveragePixels(Backbone):
    """Mean colour of each field of a 16 x 16 grid, `(B, 768)` in [0, 1]: for small drawn images, and for trying out."""

    def prepare(self, image: Image.Image) -> Tensor:
        """Scales the shorter side to 73 and crops the middle, `(3, 64, 64)`, as other backbones do 256 and 224."""
        side = square_side(SIZE)
        left = round((side - SIZE) / 2)
        return self.prepare_crop(central_square(image, side).crop((left, left, left + SIZE, left + SIZE)))

    def prepare_crop(self, image: Image.Image) -> Tensor:
        """Scales a crop to `(3, 64, 64)`."""
        pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float32) / 255
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy())

    def forward(self, images: Tensor) -> Tensor:
        """Averages over the grid, `(B, 768)`."""
        return torch.nn.functional.avg_pool2d(images, SIZE // GRID).flatten(1)


def _remove_head(network: nn.Module) -> str:
    """Replaces the layer that gives the class scores, and returns its name."""
    sizes = {nn.Linear: "out_features", nn.Conv2d: "out_channels"}
    layers = [(name, layer) for name, layer in network.named_modules() if type(layer) in sizes]
    head: str = [name for name, layer in layers if getattr(layer, sizes[type(layer)]) == CLASSES][-1]
    parent, _, child = head.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Identity())
    return head
