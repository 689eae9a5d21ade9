"""Files of weights that do not fit, and no network to get any from: one clear line, and nothing left in the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from outside import CHEAP, Answer, Inside, command
from planned import plan
from safetensors.torch import save_file
from torch import nn

import zslbench.runs.execute as runner
from zslbench.runs.request import Request

COMMAND, RUN = 2, 1
TINY = "spaen-image@small:image_size=32,crops=1,width=0.05,hidden=8,autoencoder_hidden=8,epochs=1"
ARGUMENTS = ("--dataset", "shapes:images_per_class=5,size=32", "--device", "cpu", "--plain")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with weights of another network, and a text."""
    save_file(nn.Linear(3, 4).state_dict(), tmp_path / "other.safetensors")
    (tmp_path / "text.pth").write_text("these are no weights\n")
    return tmp_path


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No network, nothing downloaded before, and nobody who waits for either."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"it waits {seconds} s and tries again"))
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / "hub"))
    for protocol in ("http", "https"):
        monkeypatch.setenv(f"{protocol}_proxy", "http://127.0.0.1:9")
    yield
    torch.hub.set_dir(before)


def failure(answer: Answer) -> str:
    """Returns the last line of standard error; there must be no traceback above it."""
    assert "Traceback" not in answer.err
    return answer.err.splitlines()[-1].removeprefix("zslbench: ")


def left_in(store: Path) -> list[Path]:
    return [*store.glob("runs/*"), *store.glob("partial/*")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("ph=other.safetensors", "--weights ph: method 'spaen-image' has no such part; did you mean 'phi'?"),
        ("phi=missing.pth", "there is no file"),
        ("phi=", "there is no file"),
        ("other.safetensors", "give PART=FILE"),
    ],
)
def test_a_part_or_file_that_is_not_there_is_a_wrong_command(
    inside: Inside, store: Path, files: Path, monkeypatch: pytest.MonkeyPatch, given: str, said: str
) -> None:
    monkeypatch.chdir(files)
    answer = inside("run", TINY, *ARGUMENTS, "--weights", given)
    assert answer.status == COMMAND
    assert said in answer.error()
    assert left_in(store) == []


@pytest.mark.parametrize("part", ["phi", "G", "F"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("other.safetensors", "it holds the weights of another architecture: "),
        ("text.pth", "no weights can be read from it"),
    ],
)
def test_a_file_of_other_weights_or_of_none_is_one_line_that_names_it(
    inside: Inside, store: Path, files: Path, part: str, name: str, said: str
) -> None:
    method = f"{TINY},backbone=pixels,phi=alexnet"
    answer = inside("run", method, *ARGUMENTS, "--weights", f"{part}={files / name}", "--no-pretrained")
    assert answer.status == RUN
    assert failure(answer).startswith(f"{files / name}: {said}")
    assert left_in(store) == []


def test_weights_that_nothing_would_use_are_refused(inside: Inside, store: Path, files: Path) -> None:
    answer = inside("run", f"{TINY},backbone=pixels", *ARGUMENTS, "--weights", f"phi={files / 'other.safetensors'}")
    assert answer.status == RUN
    assert failure(answer).startswith("phi: with phi=none there is no network to give weights to")
    assert left_in(store) == []


@pytest.mark.parametrize("backbone", ["pixels", "timm:resnet18"])
def test_a_file_that_a_backbone_does_not_use_is_a_wrong_command(
    inside: Inside, store: Path, files: Path, backbone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backbone != "pixels":  # as if it were a stranger's, with weights of its own and no ear for a file
        monkeypatch.setattr("zslbench.preparation.backbones.load_weights", lambda *_: None)
    weights = f"backbone={files / 'other.safetensors'}"
    answer = inside("run", f"{TINY},backbone={backbone},phi=none", *ARGUMENTS, "--weights", weights)
    assert answer.status == COMMAND
    said = f"--weights {files / 'other.safetensors'}: backbone {backbone} uses no file of weights; leave it out"
    assert answer.error() == said
    assert left_in(store) == []


@pytest.mark.parametrize("option", [["--weights", "F=other.safetensors"], ["--no-pretrained"]])
def test_methods_on_features_have_no_use_for_weights(
    inside: Inside, store: Path, files: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    monkeypatch.chdir(files)
    answer = inside("compare", "eszsl", "sae", *CHEAP, *option)
    assert answer.status == COMMAND
    assert answer.error() == f"{option[0]}: no network here has weights of its own; it is for methods on images"
    assert left_in(store) == []


def test_weights_of_another_backbone_are_refused(inside: Inside, files: Path) -> None:
    weights = f"backbone={files / 'other.safetensors'}"
    answer = inside("run", f"{TINY},backbone=resnet18,phi=none", *ARGUMENTS, "--weights", weights)
    assert answer.status == RUN
    assert "another architecture: 100 tensors are missing, 2 are unknown" in failure(answer)


def test_a_file_that_changes_between_planning_and_running_is_noticed(
    inside: Inside, store: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, path = runner.Execution, files / "other.safetensors"

    def change_and_execute(*arguments: object) -> object:
        save_file(nn.Linear(5, 6).state_dict(), path)
        return execute(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "Execution", change_and_execute)
    answer = inside("run", f"{TINY},backbone=pixels", *ARGUMENTS, "--weights", f"G={path}", "--no-pretrained")
    assert answer.status == RUN
    assert failure(answer) == f"--weights G={path}: it changed; issue the command again"
    assert left_in(store) == []

    monkeypatch.setattr(runner, "Execution", lambda *arguments: (path.unlink(), execute(*arguments)))
    answer = inside("run", f"{TINY},backbone=pixels", *ARGUMENTS, "--weights", f"G={path}", "--no-pretrained")
    assert answer.status == RUN
    assert failure(answer) == f"{path}: it cannot be read (No such file or directory)"


def test_other_content_at_the_same_place_is_another_run(files: Path) -> None:
    path = files / "other.safetensors"
    request = Request(root=files, weights={"G": path})

    def planned() -> str:
        [row] = plan([f"{TINY},backbone=pixels"], ["shapes:images_per_class=5,size=40"], request)
        return row.runs[0].id

    before = planned()
    save_file(nn.Linear(3, 5).state_dict(), path)
    assert planned() != before


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ("backbone=pixels,phi=alexnet", "phi: the pretrained weights of AlexNet cannot be had"),
        ("backbone=resnet18,phi=none", "backbone resnet18: its pretrained weights cannot be had"),
        ("backbone=timm:resnet18,phi=none", "backbone timm:resnet18: its pretrained weights cannot be had"),
    ],
)
def test_offline_it_fails_at_once_and_says_what_to_do(inside: Inside, store: Path, values: str, said: str) -> None:
    answer = inside("run", f"{TINY},{values}", *ARGUMENTS)
    assert answer.status == RUN
    line = failure(answer)
    assert line.startswith(said)
    assert "--weights" in line and "--no-pretrained" in line
    assert left_in(store) == []


def test_from_outside_an_unknown_part_is_one_line_too(files: Path) -> None:
    answer = command("run", TINY, *ARGUMENTS, "--weights", f"ph={files / 'text.pth'}")
    assert answer.status == COMMAND
    assert answer.error() == "--weights ph: method 'spaen-image' has no such part; did you mean 'phi'?"
