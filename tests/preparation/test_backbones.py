"""Backbones by name, and weights from files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from pictures import Corners, backbones
from PIL import Image
from safetensors.torch import save_file

from zslbench import BackboneCard
from zslbench.errors import DataError, UsageError
from zslbench.preparation import backbones as module
from zslbench.preparation.backbones import load_backbone
from zslbench.preparation.hub import check_kept

SMALL = "squeezenet1_1"
WARNS = ("googlenet", "inception_v3")


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    filled = backbones()
    monkeypatch.setattr(module, "registry", lambda: filled)


def features_of(name: str, **how: object) -> np.ndarray:
    loaded = load_backbone(name, **how)  # type: ignore[arg-type]
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8))
    with torch.inference_mode():
        return loaded.backbone(loaded.backbone.prepare(image)[None]).numpy()


def test_a_registered_name_comes_first() -> None:
    loaded = load_backbone("corners")
    assert isinstance(loaded.backbone, Corners)
    assert (loaded.name, loaded.features) == ("corners", "corners")


def test_a_name_alone_is_torchvisions_and_timm_need_not_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    loaded = load_backbone(SMALL, pretrained=False)
    assert loaded.name == f"torchvision:{SMALL}"
    assert loaded.features == f"torchvision-{SMALL}-random"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("squeezenet1_1", 512),
        ("mobilenet_v3_small", 1024),
        ("resnet18", 512),
        ("regnet_y_400mf", 440),
        ("timm:resnet18", 512),
        ("timm:test_vit", 64),
        ("test_convnext", 64),
    ],
)
def test_any_architecture_gives_pooled_features_without_its_head(name: str, size: int) -> None:
    features = features_of(name, pretrained=False)
    assert features.shape == (1, size)
    assert np.isfinite(features).all()


ARCHITECTURES = torchvision.models.list_models(module=torchvision.models)
ON_META = [name for name in ARCHITECTURES if not name.startswith("regnet")]  # which computes its widths with tensors


@pytest.mark.slow
@pytest.mark.parametrize("name", ON_META)
def test_every_torchvision_model_loses_its_last_layer_and_nothing_else(name: str) -> None:
    """On the meta device, which computes shapes alone: what is gone has 1000 rows of the size of the features."""
    size = 299 if name == "inception_v3" else 224
    with torch.device("meta"):
        whole = torchvision.models.get_model(name, **({"init_weights": False} if name in WARNS else {}))
        backbone = module.TorchvisionBackbone(name, pretrained=False).eval()
        features = backbone(torch.empty(2, 3, size, size)).shape[1]
    gone = sum(p.numel() for p in whole.parameters()) - sum(p.numel() for p in backbone.parameters())
    assert gone in (1000 * (features + 1), 1000 * features)


def test_features_are_what_the_removed_head_was_given(tmp_path: Path) -> None:
    """Torchvision's own classifier on our features gives the scores of the whole network."""
    whole = torchvision.models.resnet18(weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    loaded = load_backbone("resnet18", tmp_path / "w.pth")
    x = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(whole.fc(loaded.backbone(x)), whole(x))


def test_random_weights_depend_on_the_seed_alone() -> None:
    first, again = (load_backbone(SMALL, pretrained=False).fingerprint for _ in range(2))
    assert first == again
    assert load_backbone(SMALL, pretrained=False, seed=1).fingerprint != first


@pytest.mark.parametrize("how", ["safetensors", "pth", "wrapped", "parallel"])
def test_weights_come_from_a_file_with_or_without_a_head(tmp_path: Path, how: str) -> None:
    state = torchvision.models.get_model(SMALL, num_classes=7).state_dict()
    path = tmp_path / f"mine.{'safetensors' if how == 'safetensors' else 'pth'}"
    if how == "safetensors":
        save_file(state, path)
    elif how == "wrapped":
        torch.save({"epoch": 3, "state_dict": state}, path)
    elif how == "parallel":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    else:
        torch.save(state, path)
    loaded = load_backbone(SMALL, path)
    assert loaded.features == f"torchvision-{SMALL}-mine"
    own = loaded.backbone.state_dict()["network.features.0.weight"]
    torch.testing.assert_close(own, state["features.0.weight"])


def test_timms_weights_come_from_a_file_too(tmp_path: Path) -> None:
    import timm

    whole = timm.create_model("test_vit").eval()
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    loaded = load_backbone("timm:test_vit", tmp_path / "w.safetensors")
    x = torch.rand(1, 3, 160, 160)
    with torch.inference_mode():
        torch.testing.assert_close(whole.head(loaded.backbone(x)), whole(x))


@pytest.mark.parametrize(("file", "wanted"), [("resnet34", "resnet18"), ("resnet18", "resnet34"), (SMALL, "resnet18")])
def test_weights_of_another_architecture_are_one_line(tmp_path: Path, file: str, wanted: str) -> None:
    """resnet34 holds every tensor of resnet18 and more, so nothing but the surplus gives it away."""
    torch.save(torchvision.models.get_model(file).state_dict(), tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"w\.pth: it holds the weights of another architecture: \d+ tensors"):
        load_backbone(wanted, tmp_path / "w.pth")


@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64])
def test_weights_of_another_kind_of_number_are_one_line(tmp_path: Path, dtype: torch.dtype) -> None:
    state = torchvision.models.get_model(SMALL).state_dict()
    state["features.0.weight"] = (100 * state["features.0.weight"]).to(dtype)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(DataError, match=r"1 have another shape or kind of number \(features\.0\.weight for one\)"):
        load_backbone(SMALL, tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["corners", "deaf"])
def test_a_file_of_weights_that_a_backbone_does_not_use_is_a_wrong_command(tmp_path: Path, name: str) -> None:
    module.registry().backbone("deaf", "pictures:Deaf", BackboneCard("Deaf", "none"))
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UsageError, match=rf"--weights .*w\.pth: backbone {name} uses no file of weights; leave it out"):
        load_backbone(name, tmp_path / "w.pth")
    with pytest.raises(UsageError, match="there is no such file"):
        load_backbone(name, tmp_path / "absent.pth")


def test_a_backbone_may_read_its_file_in_its_own_way(tmp_path: Path) -> None:
    module.registry().backbone("attentive", "pictures:Attentive", BackboneCard("Attentive", "none"))
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "w.pth")
    assert load_backbone("attentive", tmp_path / "w.pth").features == "attentive-w"


def test_a_backbone_without_weights_has_one_name(tmp_path: Path) -> None:
    assert load_backbone("corners", pretrained=False).features == load_backbone("corners").features == "corners"


@pytest.mark.parametrize("damage", [False, True])
def test_downloaded_weights_are_checked_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bool
) -> None:
    """Torchvision looks at the digest in a file's name when it downloads it, and never again."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save(torchvision.models.get_model(SMALL).state_dict(), tmp_path / "w.pth")
    content = bytearray((tmp_path / "w.pth").read_bytes())
    digest = hashlib.sha256(content).hexdigest()
    weights = torchvision.models.SqueezeNet1_1_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights.value, "url", f"https://example.org/{SMALL}-{digest[:8]}.pth")
    content[len(content) // 2] ^= damage << 4  # a bit of a weight
    (tmp_path / "checkpoints" / f"{SMALL}-{digest[:8]}.pth").write_bytes(content)
    if damage:
        with pytest.raises(DataError, match=rf"{SMALL}-{digest[:8]}\.pth: damaged, .*; remove it"):
            load_backbone(SMALL)
    else:
        assert load_backbone(SMALL).features == f"torchvision-{SMALL}"


@pytest.mark.parametrize("damage", [False, True])
def test_weights_that_the_hub_keeps_are_checked_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bool
) -> None:
    content = b"weights"
    blob = tmp_path / "blobs" / hashlib.sha256(content).hexdigest()
    blob.parent.mkdir()
    blob.write_bytes(b"Weights" if damage else content)
    (tmp_path / "model.safetensors").symlink_to(blob)
    kept = {("timm/x", "model.safetensors"): str(tmp_path / "model.safetensors")}
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *named: kept.get(named))
    with pytest.raises(DataError, match="damaged") if damage else nullcontext():
        check_kept("timm/x", "model.safetensors", "pytorch_model.bin")


class Trap:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("it was unpickled",))


@pytest.mark.parametrize("content", [b"no weights", b"", Trap(), {"lr": 0.1}, [torch.ones(1)]])
def test_a_file_without_weights_is_one_line_and_is_never_unpickled(tmp_path: Path, content: object) -> None:
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(DataError, match=r"w\.pth: (no weights can be read|it holds no state dict)") as error:
        load_backbone(SMALL, path)
    assert "\n" not in str(error.value)


def test_an_absent_file_of_weights_is_a_wrong_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--weights .*w\.pth: there is no such file"):
        load_backbone(SMALL, tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnt18", "unknown backbone 'resnt18'; did you mean 'resnet18'"),
        ("cornrs", "did you mean 'corners'"),
        ("timm:resnt18", "did you mean 'resnet18'"),
        ("torchvision:vit_b_17", "backbone torchvision:vit_b_17: there is no such name; did you mean 'vit_b_16'"),
        ("timm:resnet18.a1_in1", "it has no weights 'a1_in1'; did you mean 'resnet18.a1_in1k'"),
        ("keras:resnet50", "backbone keras:resnet50: there is no family 'keras'; write torchvision:NAME or timm:NAME"),
        ("zzz", "unknown backbone 'zzz'; `zslbench list backbones`"),
    ],
)
def test_an_unknown_backbone_is_one_line_with_near_misses(name: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_backbone(name)
    assert message in str(error.value)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No network, nothing downloaded before, and nobody who waits for either."""
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"it waits {seconds} s and tries again"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    for protocol in ("http", "https"):
        monkeypatch.setenv(f"{protocol}_proxy", "http://127.0.0.1:9")
    yield
    torch.hub.set_dir(before)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", [SMALL, "timm:resnet18"])
def test_weights_that_cannot_be_downloaded_are_one_line_with_the_ways_out(name: str) -> None:
    with pytest.raises(DataError, match="its pretrained weights cannot be had") as error:
        load_backbone(name)
    assert "a local file by --weights" in str(error.value)
    assert "--no-pretrained" in str(error.value)
    assert "\n" not in str(error.value)
