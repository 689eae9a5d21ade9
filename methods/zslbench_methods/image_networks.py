"""The networks of SP-AEN that see or make images: F's encoders, the perceptual network phi, and the generator G.

The full network is the paper's: AlexNet and the generator of Dosovitskiy & Brox, "Generating images with perceptual
similarity metrics based on deep networks", NIPS 2016. A width scales the numbers of channels for smaller computers.
Weights that are drawn are MSRA-initialised (He et al., ICCV 2015). Images are RGB in [0, 1]; every network subtracts
the mean of each channel and divides by its standard deviation over ImageNet, as torchvision's AlexNet wants it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError

import torch
from torch import Tensor, nn

from zslbench import DataError, load_weights

Encoder = Literal["alexnet", "alexnet-fc6", "conv"]
Perceptual = Literal["alexnet", "none"]

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of each channel over ImageNet, RGB in [0, 1]."""
ALEXNET_OUTPUTS = 4096
ALEXNET_LAYERS = {"alexnet": 6, "alexnet-fc6": 3}
"""How much of torchvision's classifier an encoder keeps: up to the ReLU behind fc7 or behind fc6."""
CONV5 = 12
"""How much of torchvision's convolutions phi keeps: up to the ReLU behind conv5, without the pooling that follows."""
SMALLEST = {"alexnet": 63, "alexnet-fc6": 63, "conv": 16}
"""The smallest images that an encoder can see."""
SMALLEST_FOR_PHI = 31
START, START_CHANNELS = 4, 256
"""Side and channels of what the generator's fully-connected layers give."""
UP_CHANNELS = (256, 256, 128, 64, 32)
"""Of the generator's up-convolutions, but for the last, which makes RGB."""
BETWEEN_CHANNELS = (512, 256, 128)
"""Of the 3x3 convolutions behind the first up-convolutions."""
GENERATOR_SLOPE = 0.3
DOWN_CHANNELS = (128, 256, 512, 512, 512, 512)
"""Of the strided convolutions of the encoder `conv`; it halves a side while it is longer than 6."""


class Parts:
    """Where the networks of a method have their weights from: a file, torchvision, or the random generator."""

    def __init__(self, weights: Mapping[str, Path], pretrained: bool) -> None:
        self.weights = weights
        self.pretrained = pretrained

    def encoder(self, name: Encoder, size: int, width: float) -> tuple[nn.Sequential, int]:
        """Returns the lower part of F, and how many numbers it gives for an image.

        Args:
            name: `alexnet`, torchvision's up to fc7; `alexnet-fc6`, up to fc6; `conv`, strided convolutions 4x4.
            size: side of the images.
            width: factor on the channels of `conv`.

        Raises:
            DataError: its weights cannot be had, or are of another architecture.
        """
        if name != "conv":
            network = _alexnet()
            network.classifier = network.classifier[: ALEXNET_LAYERS[name]]
            return nn.Sequential(Standardize(), self._filled("F", network)), ALEXNET_OUTPUTS
        layers, channels = nn.Sequential(), 3
        for outputs in DOWN_CHANNELS:
            if size <= 6:
                break
            outputs = scaled(outputs, width)
            layers += nn.Sequential(nn.Conv2d(channels, outputs, 4, 2, 1), nn.LeakyReLU(GENERATOR_SLOPE))
            channels, size = outputs, size // 2
        msra(layers, GENERATOR_SLOPE)
        self._load("F", layers)
        return nn.Sequential(Standardize(), layers, nn.Flatten()), channels * size * size

    def perceptual(self, name: Perceptual) -> nn.Sequential | None:
        """Returns phi, fixed: images to what follows the ReLU of AlexNet's conv5, `(B, 256, H', W')`; None for `none`.

        Raises:
            DataError: its weights cannot be had, are of another architecture, or are given for `none`.
        """
        if name == "none":
            if "phi" in self.weights:
                raise DataError("phi: with phi=none there is no network to give weights to; choose phi=alexnet as well")
            return None
        convolutions = nn.Sequential(OrderedDict(features=_alexnet().features[:CONV5]))
        return nn.Sequential(Standardize(), self._filled("phi", convolutions)).requires_grad_(False).eval()

    def generator(self, inputs: int, hidden: int, size: int, width: float) -> nn.Sequential:
        """Returns G: two fully-connected layers, then the generator of Dosovitskiy & Brox.

        At full width and a size of 224: inputs -> hidden -> 4096, three layers of 4096, 256 x 4 x 4, up to
        3 x 256 x 256, and the central 224 x 224. Smaller images take fewer up-convolutions. The last layer is linear:
        its outputs are RGB values in units of each channel's standard deviation above the mean, so that images may
        leave [0, 1]; clamp them where they are shown.

        Raises:
            DataError: a file of weights for the part behind the first two layers is of another architecture.
        """
        start = scaled(START_CHANNELS, width)
        flat = start * START * START
        front, behind = nn.Sequential(), nn.Sequential()
        for fan_in, fan_out in [(inputs, hidden), (hidden, flat)]:
            front += nn.Sequential(nn.Linear(fan_in, fan_out), nn.LeakyReLU(GENERATOR_SLOPE))
        for _ in range(3):
            behind += nn.Sequential(nn.Linear(flat, flat), nn.LeakyReLU(GENERATOR_SLOPE))
        behind.append(nn.Unflatten(1, (start, START, START)))
        ups = next(n for n in range(1, len(UP_CHANNELS) + 2) if START * 2**n >= size)
        channels = start
        for i in range(ups - 1):
            outputs = scaled(UP_CHANNELS[i], width)
            behind += nn.Sequential(nn.ConvTranspose2d(channels, outputs, 4, 2, 1), nn.LeakyReLU(GENERATOR_SLOPE))
            channels = outputs
            if i < len(BETWEEN_CHANNELS):
                outputs = scaled(BETWEEN_CHANNELS[i], width)
                behind += nn.Sequential(nn.Conv2d(channels, outputs, 3, 1, 1), nn.LeakyReLU(GENERATOR_SLOPE))
                channels = outputs
        behind.append(nn.ConvTranspose2d(channels, 3, 4, 2, 1))
        msra(front, GENERATOR_SLOPE)
        msra(behind, GENERATOR_SLOPE)
        self._load("G", behind)
        rest = START * 2**ups - size
        centre = nn.ZeroPad2d((-(rest // 2), -(rest - rest // 2)) * 2)
        return nn.Sequential(front, behind, centre, Standardize(back=True))

    def _filled(self, part: str, network: nn.Module) -> nn.Module:
        """Gives a piece of AlexNet its weights: from the part's file, pretrained, or drawn."""
        network.to_empty(device="cpu")
        if part in self.weights or not self.pretrained:
            msra(network, 0.0)
            self._load(part, network)
            return network
        from torchvision.models import AlexNet_Weights

        try:
            state = AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True, weights_only=True)
        except (URLError, OSError, RuntimeError) as error:
            raise DataError(
                f"{part}: the pretrained weights of AlexNet cannot be had ({error}); give a local file by "
                f"--weights {part}=FILE, or take random ones by --no-pretrained"
            ) from error
        network.load_state_dict({name: state[name] for name in network.state_dict()})
        return network

    def _load(self, part: str, network: nn.Module) -> None:
        """Loads a part's file, if there is one; what it holds of AlexNet's classifier beyond the part is left out."""
        if part in self.weights:
            load_weights(network, self.weights[part], head=["classifier"])


def _alexnet() -> Any:
    """Returns AlexNet without memory for its weights: one column without groups, as torchvision has it.

    It has no dropout, by which reconstructions of one image would differ.
    """
    from torchvision.models import alexnet

    with torch.device("meta"):
        return alexnet(weights=None, dropout=0.0)


class Standardize(nn.Module):
    """RGB in [0, 1] to units of each channel's standard deviation above its mean, or `back` again."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, back: bool = False) -> None:
        super().__init__()
        self.back = back
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Maps `(B, 3, H, W)` to the same shape."""
        return images * self.deviation + self.mean if self.back else (images - self.mean) / self.deviation


def scaled(channels: int, width: float) -> int:
    """Returns a number of channels times the width, at least 1."""
    return max(1, round(channels * width))


def msra(network: nn.Module, slope: float) -> None:
    """Draws all weights with the standard deviation sqrt(2 / ((1 + slope^2) fan-in)), and sets biases to 0.

    The fan-in is how many inputs an output sums over, which a strided up-convolution divides by its stride squared.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            inputs = layer.weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):
                height, width = layer.kernel_size
                inputs = layer.in_channels * height * width // (layer.stride[0] * layer.stride[1])
            nn.init.normal_(layer.weight, std=(2 / ((1 + slope**2) * inputs)) ** 0.5)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
