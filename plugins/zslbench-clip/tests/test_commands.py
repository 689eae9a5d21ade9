"""The whole way from pictures to a table, by the command line; scores against open_clip called directly."""

from __future__ import annotations

import io
import json
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tiny
import torch
from open_clip import build_zero_shot_classifier
from PIL import Image

import zslbench.cli

TEMPLATES = ("a photo of a {}", "a drawing of the {}, a kind of colour")
COLOURS = {
    "01.dark_red": (150, 20, 30),
    "02.green": (30, 200, 60),
    "03.blue": (40, 50, 220),
    "04.white": (240, 240, 240),
    "05.yellow": (230, 220, 40),
    "06.sea+green": (20, 160, 140),
}
UNSEEN = "05.yellow,06.sea+green"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy pictures of six colours, the model in a folder beside them, and a data set and class embeddings by both."""
    place, random = tmp_path_factory.mktemp("place"), np.random.default_rng(0)
    tiny.make(place / "model", seed=1)
    for name, colour in COLOURS.items():
        (place / "images" / name).mkdir(parents=True)
        for number in range(10):
            pixels = np.array(colour) + random.normal(scale=25, size=(40, 50, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / "images" / name / f"{number}.png")
    rows = [",".join([name, *map(str, colour)]) for name, colour in COLOURS.items()]
    (place / "rgb.csv").write_text("\n".join(["class,r,g,b", *rows, ""]))
    (place / "templates.txt").write_text("\n".join(TEMPLATES))
    (place / "new.txt").write_text("dark_red\nsea green\nblack\n")
    build = ["--images", "images", "--attributes", "rgb.csv", "--unseen-classes", UNSEEN, "--backbone", "clip:./model"]
    assert run(place, "data", "build", "colours", *build, "--plain").status == 0
    made = run(place, "data", "semantics", "./colours", "--encoder", "clip:./model", "--template", "templates.txt")
    assert made.status == 0, made.err
    assert made.out.splitlines()[0] == (
        "colours-names-clip-model.csv: 6 classes, 24 values each; class names embedded by clip:./model, "
        "the first as 'a photo of a dark red' and 1 more templates (written)"
    )
    return place


class Done(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


def run(place: Path, *arguments: object) -> Done:
    """Runs a command in this process, which spares the imports."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)  # the command prints them, and must not change this process
        patch.chdir(place)
        patch.setattr(sys, "argv", ["zslbench", *map(str, arguments)])
        patch.setattr(threading, "excepthook", threading.excepthook)
        for name in ("STORE", "CACHE"):
            patch.setenv(f"ZSLBENCH_{name}", str(place / name.lower()))
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ending:
            zslbench.cli.main()
    return Done(int(ending.value.code or 0), out.getvalue(), err.getvalue())


Command = Callable[..., Done]


@pytest.fixture
def command(place: Path) -> Command:
    def called(*arguments: object, status: int = 0) -> Done:
        done = run(place, *arguments)
        assert done.status == status, done.err
        return done

    return called


@pytest.fixture
def on_it() -> tuple[str, ...]:
    return ("--dataset", "./colours", "--semantics", "colours-names-clip-model.csv")


def direct_logits(place: Path, names: list[str], files: list[Path]) -> np.ndarray[Any, Any]:
    """Returns 100 cosine by open_clip's own classifier over templates, a row an image."""
    model, prepare, tokenize = tiny.direct(place / "model")
    classifier = build_zero_shot_classifier(model, tokenize, names, TEMPLATES)
    with torch.inference_mode():
        pictures = torch.stack([prepare(Image.open(file).convert("RGB")) for file in files])
        logits = 100.0 * model.encode_image(pictures, normalize=True) @ classifier
    return logits.numpy()


def test_scores_of_the_run_are_open_clip_s_own(place: Path, command: Command, on_it: tuple[str, ...]) -> None:
    ran = json.loads(command("run", "clip", *on_it, "--json").out)["runs"][0]
    model = zslbench.load_model(ran["id"], store=place / "store")
    files = sorted((place / "images").glob("*/*.png"))
    names = [file.parent.name for file in files]
    spoken = {name: name.split(".")[1].replace("_", " ").replace("+", " ") for name in COLOURS}
    wanted = direct_logits(place, [spoken[name] for name in model.classes.names], files)
    found = scores_of(command, ran["id"], "images")
    for file, row in zip(files, wanted, strict=True):
        own = [found[str(file.relative_to(place))][name] for name in model.classes.names]
        np.testing.assert_allclose(own, row, rtol=0, atol=1e-3)  # of 100: 1e-5 of the cosine
    unseen = [name in UNSEEN for name in names]
    assert sum(unseen) == 20 and ran["metrics"]["acc_uu"] == pytest.approx(_accuracy(model, wanted, names))


def scores_of(command: Command, run_id: str, *arguments: object) -> dict[str, dict[str, float]]:
    """Returns the score of each class by image, before gamma."""
    options = ("--json", "--top", "6", "--gamma", "0")
    answered = json.loads(command("predict", run_id, *arguments, *options).out)
    endings = ["", *(f"_{n}" for n in range(2, 7))]
    return {
        one["image"]: {one[f"class{end}"]: one[f"score{end}"] for end in endings if f"class{end}" in one}
        for one in answered
    }


def _accuracy(model: zslbench.TrainedModel, logits: np.ndarray[Any, Any], names: list[str]) -> float:
    """Returns per-class top-1 of images of unseen classes among these, with loops."""
    columns = [c for c, name in enumerate(model.classes.names) if name in UNSEEN.split(",")]
    shares = []
    for column in columns:
        own = [row for row, name in zip(logits, names, strict=True) if name == model.classes.names[column]]
        shares.append(sum(columns[int(np.argmax(row[columns]))] == column for row in own) / len(own))
    return float(np.mean(shares))


def test_compare_and_table_have_rows_of_both_beside_another_method(command: Command, on_it: tuple[str, ...]) -> None:
    said = command("compare", "clip", "clip-adapter:epochs=2", "eszsl", *on_it, "--seeds", "1", "--plain").out
    for title in ("CLIP ", "CLIP-Adapter", "ESZSL"):
        assert any(line.startswith(title) for line in said.splitlines()), said
    options = ("--methods", "clip,eszsl", "--seeds", "1", "--markdown")
    shown = command("table", "gbu", *on_it, *options).out
    rows = [line.replace("*", "").split("|") for line in shown.splitlines() if line.startswith("|")]
    assert {"CLIP", "ESZSL"} <= {row[1].strip() for row in rows}, shown


def test_new_classes_stand_in_the_templates_of_the_run(place: Path, command: Command, on_it: tuple[str, ...]) -> None:
    ran = json.loads(command("run", "clip", *on_it, "--json").out)["runs"][0]
    file = place / "images" / "06.sea+green" / "3.png"
    [wanted] = direct_logits(place, ["dark red", "sea green", "black"], [file])
    [found] = scores_of(command, ran["id"], file, "--classes", "new.txt").values()
    np.testing.assert_allclose([found[name] for name in ("dark_red", "sea green", "black")], wanted, rtol=0, atol=1e-3)


def test_predict_refuses_a_model_whose_weights_have_changed_under_their_name(
    place: Path, command: Command, on_it: tuple[str, ...], tmp_path: Path
) -> None:
    run_id = json.loads(command("run", "clip", *on_it, "--json").out)["runs"][0]["id"]
    with other_weights(place, tmp_path):
        image = command("predict", run_id, "images", status=1).err
        assert "backbone clip:./model: its weights are not those of the training features" in image
        text = command("predict", run_id, "-d", "./colours", "--classes", "new.txt", status=1).err
        assert "text encoder clip:./model: its weights are not those that made the class embeddings" in text


@contextmanager
def other_weights(place: Path, tmp_path: Path) -> Iterator[None]:
    """Puts other weights in the place of those of the model."""
    weights = place / "model" / "open_clip_model.safetensors"
    kept, other = weights.read_bytes(), tiny.make(tmp_path / "other", seed=2) / weights.name
    weights.write_bytes(other.read_bytes())
    yield
    weights.write_bytes(kept)


def test_attributes_are_no_texts_of_the_space_and_are_refused(command: Command) -> None:
    said = command("run", "clip", "--dataset", "./colours", status=1).err
    assert said.splitlines()[-1].endswith(
        "those of colours have 24 and 3 dimensions; give --features and --semantics of one image-text model"
    )


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--backbone", "clip:ViT-B-32/openai"], 1, "its pretrained weights cannot be had"),
        (["--backbone", "clip:ViT-B-32"], 1, "say which weights, clip:ViT-B-32/PRETRAINED"),
        (["--backbone", "clip:ViT-B-32/opnai"], 2, "did you mean 'openai'"),
        (["--backbone", "clip:./absent"], 2, "there is no such model and no such folder"),
    ],
)
def test_what_cannot_be_had_is_one_line(command: Command, arguments: list[str], status: int, said: str) -> None:
    lines = command("data", "extract", "./colours", *arguments, "--plain", status=status).err.splitlines()
    assert said in lines[-1] and len([line for line in lines if not line.startswith("waiting")]) == 1


def test_a_method_on_images_takes_it_as_its_backbone_and_is_another_run_with_other_weights(
    place: Path, command: Command, tmp_path: Path
) -> None:
    options = ("--preset", "small", "-p", "backbone=clip:./model", "-p", "epochs=1", "-p", "crops=1")
    sae = ("run", "sae-image", "--dataset", "./colours", *options, "--uncalibrated", "--json")
    first, again = (json.loads(command(*sae).out)["runs"][0]["id"] for _ in range(2))
    with other_weights(place, tmp_path):
        other = json.loads(command(*sae).out)["runs"][0]["id"]
    assert first == again != other
