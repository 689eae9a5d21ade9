"""Which models names mean, their weights and their preprocessing; against open_clip called directly."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import tiny
import torch
import zslbench_clip
from PIL import Image
from safetensors.torch import load_file, save_file
from zslbench_clip.image import CLIPBackbone
from zslbench_clip.models import load_model, meaning
from zslbench_clip.text import CLIPTextEncoder

from zslbench import BackboneCard, DataError, Hint, Registry, TextEncoderCard


def photographs(count: int = 4) -> list[Image.Image]:
    """Pictures of several shapes."""
    random = np.random.default_rng(0)
    sizes = [(40, 60), (90, 35), (32, 32), (300, 200)]
    return [Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes[:count]]


def test_registering_imports_neither_torch_nor_open_clip() -> None:
    code = (
        "import sys, zslbench, zslbench_clip as plugin; plugin.zslbench_register(zslbench.Registry());"
        "sys.exit('torch' in sys.modules or 'open_clip' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_registers_families_and_methods() -> None:
    registry = Registry()
    zslbench_clip.zslbench_register(registry)
    assert registry.names("backbone") == registry.names("text-encoder") == ["clip:"]
    assert registry.names("method") == ["clip", "clip-adapter"]
    assert isinstance(registry.entry("backbone", "clip:").card, BackboneCard)
    assert isinstance(registry.entry("text-encoder", "clip:").card, TextEncoderCard)


def test_image_features_are_those_of_open_clip_on_pictures_of_any_shape(folder: Path) -> None:
    model, prepare, _ = tiny.direct(folder)
    backbone = CLIPBackbone(str(folder)).eval()
    for picture in photographs():
        with torch.inference_mode():
            wanted = model.encode_image(prepare(picture)[None])
            torch.testing.assert_close(backbone(backbone.prepare(picture)[None]), wanted, rtol=0, atol=1e-5)


def test_the_preprocessing_of_the_folder_is_used_not_that_of_openai(folder: Path) -> None:
    grey = CLIPBackbone(str(folder)).prepare(Image.new("RGB", (50, 40), (128, 128, 128)))
    assert grey.shape == (3, 32, 32)
    wanted = torch.tensor([(128 / 255 - m) / s for m, s in zip((0.4, 0.5, 0.6), (0.2, 0.25, 0.3), strict=True)])
    torch.testing.assert_close(grey.mean(dim=(1, 2)), wanted, rtol=0, atol=1e-5)


def test_a_crop_loses_nothing_at_its_sides(folder: Path) -> None:
    """White to the left and right of black: the middle of it is black, all of it is not."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, :16] = pixels[:, 48:] = 255
    picture, backbone = Image.fromarray(pixels), CLIPBackbone(str(folder))
    assert backbone.prepare(picture).std() < backbone.prepare_crop(picture).std()
    assert backbone.prepare_crop(picture).shape == (3, 32, 32)


def test_texts_are_those_of_open_clip_and_of_unit_length(folder: Path) -> None:
    model, _, tokenize = tiny.direct(folder)
    texts = ["a photo of a grizzly bear", "", "ein Eisbär", "bear " * 200]
    rows = CLIPTextEncoder(str(folder)).encode(texts)
    with torch.inference_mode():
        wanted = model.encode_text(tokenize(texts), normalize=True).numpy()
    assert rows.dtype == np.float32 and rows.shape == (4, 24)
    np.testing.assert_allclose(rows, wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)


def test_a_text_s_row_depends_on_it_alone(folder: Path) -> None:
    encoder = CLIPTextEncoder(str(folder))
    texts = ["short", "a somewhat longer text about a bear", "x " * 90]
    np.testing.assert_array_equal(encoder.encode(texts), np.concatenate([encoder.encode([text]) for text in texts]))


def test_a_file_of_weights_is_that_model_whether_named_or_given(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    shutil.copy(folder / "open_clip_model.safetensors", file)
    torch.save({"epoch": 3, "state_dict": load_file(file)}, tmp_path / "epoch_3.pt")
    wanted = load_file(file)
    for name, weights in (
        (f"tiny-one/{file}", None),
        (f"tiny-one/{tmp_path / 'epoch_3.pt'}", None),
        ("tiny-one/plain", file),
        (str(folder), None),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Hint)  # which a test of its own reads
            found = load_model(name, weights).state_dict()
        assert set(found) >= set(wanted)
        assert all(torch.equal(found[key], value) for key, value in wanted.items()), name


def test_weights_trained_with_quick_gelu_get_it_though_the_model_s_name_does_not_say_so(folder: Path) -> None:
    """open_clip itself only warns, and computes other features: `ViT-B-32/openai` is such a pair."""
    file = folder / "open_clip_model.safetensors"
    model, _, _ = tiny.direct(folder)
    quick = open_clip.create_model("tiny-one", force_quick_gelu=True).eval()
    quick.load_state_dict(load_file(file))
    x = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        plain_features, quick_features = model.encode_image(x), quick.encode_image(x)
        assert not torch.allclose(plain_features, quick_features, atol=1e-3)
        torch.testing.assert_close(CLIPBackbone("tiny-one/plain", file)(x), plain_features)
        torch.testing.assert_close(CLIPBackbone("tiny-one/quick", file)(x), quick_features)


def test_a_file_beside_a_model_is_prepared_as_all_its_weights_are_and_what_is_assumed_is_said(folder: Path) -> None:
    with pytest.warns(Hint, match="taken as trained with GELU; for QuickGELU, .* name the model tiny-one-quickgelu"):
        backbone = CLIPBackbone(f"tiny-one/{folder / 'open_clip_model.safetensors'}")
    black = backbone.prepare(Image.new("RGB", (32, 32)))
    torch.testing.assert_close(black[:, 0, 0], -torch.tensor([0.1, 0.2, 0.3]) / 0.5)


def test_a_file_beside_a_model_whose_weights_are_prepared_in_two_ways_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tiny.PRETRAINED["tiny-one"], "other", tiny.tag(mean=(0.5, 0.5, 0.5)))
    file = folder / "open_clip_model.safetensors"
    with pytest.raises(DataError, match=r"prepared in 2 ways .* give the file by --weights") as error:
        CLIPBackbone(f"tiny-one/{file}")
    assert "\n" not in str(error.value)
    black = CLIPBackbone("tiny-one/other", file).prepare(Image.new("RGB", (32, 32)))
    torch.testing.assert_close(black[:, 0, 0].double(), -0.5 / torch.tensor(open_clip.OPENAI_DATASET_STD).double())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ViT-B-33/openai", "there is no such model and no such folder; did you mean 'ViT-B-32/openai'"),
        ("ViT-B-32/opnai", "model ViT-B-32 has no weights 'opnai', and there is no such file; did you mean 'openai'"),
        ("", "there is no such model and no such folder; open_clip.list_pretrained() has all names"),
        ("hf-hub:nobody", "there is no such model"),
        ("ViT-B-32/openai", ""),
        ("ViT-B-32", ""),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", ""),
    ],
)
def test_what_is_wrong_with_a_name_is_said(name: str, said: str) -> None:
    for family in (CLIPBackbone, CLIPTextEncoder):
        assert family.wrong(name).startswith(said) and bool(said) == bool(family.wrong(name))


def test_of_weights_that_open_clip_names_the_card_says_what_they_have_seen_and_nothing_does_of_others(
    folder: Path,
) -> None:
    said = {name: CLIPBackbone.pretraining(name) for name in ("ViT-B-32/openai", "ViT-B-32", str(folder), "hf-hub:a/b")}
    assert list(said.values()) == [None, "unknown", "unknown", "unknown"]
    assert CLIPBackbone.pretraining(f"tiny-one/{folder / 'open_clip_model.safetensors'}") == "unknown"


def test_a_folder_without_configuration_is_told_from_one_that_is_not_there(tmp_path: Path) -> None:
    assert meaning(str(tmp_path)) == "the folder has no open_clip_config.json, which says what model it is"
    assert str(meaning(str(tmp_path / "absent"))).startswith("there is no such model and no such folder")


def test_a_folder_needs_just_one_file_of_weights(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "open_clip_config.json", tmp_path)
    with pytest.raises(DataError, match=r"one file of weights is needed beside open_clip_config\.json; it has none"):
        load_model(str(tmp_path))
    for name in ("a.pt", "b.pt"):
        torch.save(load_file(folder / "open_clip_model.safetensors"), tmp_path / name)
    with pytest.raises(DataError, match=r"it has a\.pt, b\.pt"):
        load_model(str(tmp_path))


def test_random_weights_need_no_weights_in_the_name_and_follow_the_seed() -> None:
    models: list[Any] = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        models.append(load_model("tiny-one", pretrained=False).state_dict()["visual.proj"])
    assert torch.equal(models[0], models[1]) and not torch.equal(models[0], models[2])
    with pytest.raises(DataError, match="say which weights, clip:tiny-one/PRETRAINED; open_clip knows plain, quick"):
        load_model("tiny-one")


@pytest.mark.usefixtures("offline")
def test_without_a_network_a_text_encoder_is_one_line_and_so_is_a_backbone() -> None:
    with pytest.raises(DataError, match=r"its weights or its tokenizer cannot be had .*; name a local file") as error:
        CLIPTextEncoder("tiny-one/plain")
    assert "\n" not in str(error.value)
    with pytest.raises(Exception, match=r"[Ff]ailed to download"):  # which the harness puts in one line
        CLIPBackbone("tiny-one/plain")


class Trap:
    """Would run code if it were unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("it was unpickled",))


def test_nothing_but_tensors_is_read_from_a_file(tmp_path: Path) -> None:
    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    with pytest.raises(DataError, match=r"trap\.pt: no weights can be read from it"):
        load_model("tiny-one/plain", tmp_path / "trap.pt")


def test_weights_of_another_size_are_refused_not_resized(folder: Path, tmp_path: Path) -> None:
    """open_clip would interpolate the position embedding, and say so in a log."""
    state = load_file(folder / "open_clip_model.safetensors")
    state["visual.positional_embedding"] = torch.randn(26, 32)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"weights of another architecture: .* 1 have another shape"):
        load_model("tiny-one/plain", tmp_path / "other.safetensors")


def test_open_clip_s_talk_goes_nowhere_and_the_root_logger_stays_as_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (list(logging.root.handlers), logging.root.level, logging.root.manager.disable)
    load_model("tiny-one", pretrained=False)
    load_model(str(folder))
    assert (list(logging.root.handlers), logging.root.level, logging.root.manager.disable) == before
    assert capsys.readouterr() == ("", "")
