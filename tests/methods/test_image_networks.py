"""The networks of images: the full-size paper network counted by hand, small ones, and where weights come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from zslbench import DataError, ProblemShape
from zslbench_methods.image_networks import DEVIATION, MEAN, Parts, Standardize, msra
from zslbench_methods.spaen_images import SPAENImageParams, SPAENImages

RANDOM = Parts({}, pretrained=False)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def shapes(network: nn.Module, x: Tensor, kinds: tuple[type[nn.Module], ...]) -> list[tuple[int, ...]]:
    """The shapes behind each layer of these kinds, without the batch."""
    found: list[tuple[int, ...]] = []
    hooks = [
        layer.register_forward_hook(lambda _layer, _inputs, output: found.append(tuple(output.shape[1:])))
        for layer in network.modules()
        if isinstance(layer, kinds)
    ]
    with torch.no_grad():
        network(x)
    for hook in hooks:
        hook.remove()
    return found


def test_the_full_generator_is_that_of_the_paper() -> None:
    generator = RANDOM.generator(85, 1024, 224, 1.0)
    layers = (nn.Linear, nn.Unflatten, nn.ConvTranspose2d, nn.Conv2d)
    assert shapes(generator, torch.zeros(1, 85), layers) == [
        (1024,),
        (4096,),
        (4096,),
        (4096,),
        (4096,),
        (256, 4, 4),
        (256, 8, 8),
        (512, 8, 8),
        (256, 16, 16),
        (256, 16, 16),
        (128, 32, 32),
        (128, 32, 32),
        (64, 64, 64),
        (32, 128, 128),
        (3, 256, 256),
    ]
    with torch.no_grad():
        assert generator(torch.zeros(2, 85)).shape == (2, 3, 224, 224)
    front = 86 * 1024 + 1025 * 4096
    connected = 3 * 4097 * 4096
    ups = sum((16 * a + 1) * b for a, b in [(256, 256), (512, 256), (256, 128), (128, 64), (64, 32), (32, 3)])
    between = sum((9 * a + 1) * b for a, b in [(256, 512), (256, 256), (128, 128)])
    assert count(generator) == front + connected + ups + between


def test_the_full_encoder_is_alexnet_up_to_its_second_or_first_layer_of_4096() -> None:
    convolutions = 363 * 64 + 64 + 1600 * 192 + 192 + 1728 * 384 + 384 + 3456 * 256 + 256 + 2304 * 256 + 256
    six, seven = 9217 * 4096, 4097 * 4096
    for name, parameters in {"alexnet": convolutions + six + seven, "alexnet-fc6": convolutions + six}.items():
        encoder, outputs = RANDOM.encoder(name, 224, 1.0)  # type: ignore[arg-type]
        assert (count(encoder), outputs) == (parameters, 4096)
        with torch.no_grad():
            assert encoder(torch.rand(2, 3, 224, 224)).shape == (2, 4096)


def test_phi_is_what_follows_the_relu_of_conv5_and_is_fixed() -> None:
    phi = RANDOM.perceptual("alexnet")
    assert phi is not None
    seen = phi(torch.rand(2, 3, 224, 224))
    assert seen.shape == (2, 256, 13, 13)  # the pooling that would make it 6 x 6 is left out
    assert seen.min() == 0 < seen.max()
    assert not any(parameter.requires_grad for parameter in phi.parameters())
    assert RANDOM.perceptual("none") is None


def test_the_papers_network_is_counted_part_by_part() -> None:
    """On AWA2: 2048 features, 85 attributes, crops of 224."""
    network = SPAENImages(SPAENImageParams())
    network.pretrained = False
    network.build(ProblemShape(2048, 85, 40))
    convolutions = 363 * 64 + 64 + 1600 * 192 + 192 + 1728 * 384 + 384 + 3456 * 256 + 256 + 2304 * 256 + 256
    assert count(network.E) == 2049 * 1024 + 1025 * 85
    assert count(network.F) == convolutions + 9217 * 4096 + 4097 * 4096 + 4097 * 1024 + 1025 * 85
    assert count(network.D) == 86 * 85 + 86
    assert network.phi is not None and count(network.phi) == convolutions
    x, pixels = torch.rand(2, 2048), torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        embedding = network.F(pixels)
        assert network.E(x).shape == embedding.shape == (2, 85)
        assert network.D(embedding).shape == (2, 1)
        assert network.reconstruct(x, pixels).shape == pixels.shape
        assert network.phi(pixels).shape == (2, 256, 13, 13)


@pytest.mark.parametrize("size", [16, 31, 32, 48, 56, 64, 65, 224])
def test_networks_of_every_size_of_images_fit_together(size: int) -> None:
    generator, (encoder, outputs) = RANDOM.generator(5, 7, size, 0.03), RANDOM.encoder("conv", size, 0.1)
    with torch.no_grad():
        made = generator(torch.randn(2, 5))
        assert made.shape == (2, 3, size, size)
        assert encoder(made).shape == (2, outputs)


def test_a_generator_of_smaller_images_has_fewer_up_convolutions() -> None:
    def ups(size: int) -> int:
        return sum(isinstance(layer, nn.ConvTranspose2d) for layer in RANDOM.generator(5, 7, size, 0.03).modules())

    assert [ups(size) for size in (16, 32, 33, 64, 65, 128, 129, 224, 256)] == [2, 3, 4, 4, 5, 5, 6, 6, 6]


def test_the_width_scales_the_channels() -> None:
    half = RANDOM.generator(5, 7, 224, 0.5)
    found = shapes(half, torch.zeros(1, 5), (nn.Unflatten, nn.ConvTranspose2d))
    assert [channels for channels, *_ in found] == [128, 128, 128, 64, 32, 16, 3]


def test_rgb_is_standardized_as_for_torchvisions_alexnet() -> None:
    images = torch.rand(4, 3, 6, 6)
    expected = torchvision.transforms.functional.normalize(images, list(MEAN), list(DEVIATION))
    preset = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.transforms()
    assert (list(MEAN), list(DEVIATION)) == (preset.mean, preset.std)
    torch.testing.assert_close(Standardize()(images), expected)
    torch.testing.assert_close(Standardize(back=True)(expected), images)


@pytest.mark.parametrize(
    "layer", [nn.Linear(4000, 500), nn.Conv2d(400, 50, 3, 1, 1), nn.ConvTranspose2d(400, 50, 4, 2, 1)]
)
def test_msra_keeps_the_energy_of_rectified_inputs(layer: nn.Module) -> None:
    torch.manual_seed(0)
    msra(layer, 0.3)
    x = torch.randn((20, 4000) if isinstance(layer, nn.Linear) else (2, 400, 24, 24))
    with torch.no_grad():
        y = layer(nn.functional.leaky_relu(x, 0.3))
    inner = y if y.ndim == 2 else y[:, :, 2:-2, 2:-2]  # at the edges, zeros are summed over
    assert float(inner.square().mean() / x.square().mean()) == pytest.approx(1.0, rel=0.05)


@pytest.fixture(scope="module")
def alexnet() -> Any:
    torch.manual_seed(0)
    return torchvision.models.alexnet(weights=None).eval()


@pytest.fixture(scope="module")
def files(alexnet: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights of the whole of AlexNet, of its convolutions alone, and of another network."""
    folder = tmp_path_factory.mktemp("weights")
    state = alexnet.state_dict()
    save_file(state, folder / "whole.safetensors")
    torch.save({name: state[name] for name in state if name.startswith("features.")}, folder / "convolutions.pth")
    save_file(nn.Linear(3, 4).state_dict(), folder / "other.safetensors")
    return {path.stem: path for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["whole", "convolutions"])
def test_phi_takes_the_whole_of_alexnet_or_its_convolutions_alone(
    files: dict[str, Path], alexnet: Any, name: str
) -> None:
    phi = Parts({"phi": files[name]}, pretrained=True).perceptual("alexnet")
    assert phi is not None
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(phi(images), alexnet.features[:12](Standardize()(images)))


def test_f_takes_a_file_of_the_whole_of_alexnet(files: dict[str, Path], alexnet: Any) -> None:
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features = alexnet.avgpool(alexnet.features(Standardize()(images))).flatten(1)
        encoder, _ = Parts({"F": files["whole"]}, pretrained=True).encoder("alexnet-fc6", 64, 1.0)
        torch.testing.assert_close(encoder(images), alexnet.classifier[:3](features))


def test_pretrained_weights_are_those_of_torchvision(alexnet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "torchvision.models._api.load_state_dict_from_url", lambda *_args, **_options: alexnet.state_dict()
    )
    images = torch.rand(1, 3, 64, 64)
    phi = Parts({}, pretrained=True).perceptual("alexnet")
    assert phi is not None
    with torch.no_grad():
        torch.testing.assert_close(phi(images), alexnet.features[:12](Standardize()(images)))


def test_weights_of_another_architecture_are_refused(files: dict[str, Path]) -> None:
    with pytest.raises(DataError, match=r"convolutions.pth: it holds the weights of another architecture: 4 tensors"):
        Parts({"F": files["convolutions"]}, pretrained=True).encoder("alexnet", 64, 1.0)
    for part, make in _makers().items():
        with pytest.raises(DataError, match=r"other.safetensors: it holds the weights of another architecture"):
            make(Parts({part: files["other"]}, pretrained=False))


def _makers() -> dict[str, Any]:
    return {
        "F": lambda parts: parts.encoder("conv", 16, 0.1),
        "phi": lambda parts: parts.perceptual("alexnet"),
        "G": lambda parts: parts.generator(5, 7, 16, 0.1),
    }


@pytest.mark.parametrize("part", ["F", "G"])
def test_what_was_saved_of_a_part_is_loaded_again(part: str, tmp_path: Path) -> None:
    def network(parts: Parts) -> nn.Module:
        made = parts.encoder("conv", 16, 0.1)[0] if part == "F" else parts.generator(5, 7, 16, 0.1)
        inner = made[1]
        assert isinstance(inner, nn.Module)
        return inner

    saved = network(RANDOM).state_dict()
    save_file(saved, tmp_path / "part.safetensors")
    loaded = network(Parts({part: tmp_path / "part.safetensors"}, pretrained=True)).state_dict()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)


def test_pretrained_weights_that_cannot_be_downloaded_are_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(*_args: Any, **_options: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(DataError, match=r"phi: .*no route to host.*--weights phi=FILE.*--no-pretrained"):
        Parts({}, pretrained=True).perceptual("alexnet")
    with pytest.raises(DataError, match=r"F: .*--weights F=FILE"):
        Parts({}, pretrained=True).encoder("alexnet", 64, 1.0)
