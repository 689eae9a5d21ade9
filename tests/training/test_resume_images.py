"""Methods on images that are interrupted and resumed end bit for bit as if they had been left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from interruptions import Killed, Killer, agree
from toy import train
from toy_images import toy_image_data

from zslbench.api.embedder import Embedder
from zslbench.api.params import Params
from zslbench.api.progress import Progress
from zslbench.api.views import TrainView
from zslbench.training import trainer
from zslbench.training.checkpoint import save_checkpoint
from zslbench_methods.reconstruction import ReconstructionParams
from zslbench_methods.reconstruction_baselines import DirectMap, SAEImage, SplitBranch
from zslbench_methods.spaen_images import SPAENImageParams, SPAENImages

TINY: dict[str, Any] = {
    "image_size": 16,
    "width": 0.05,
    "phi": "none",
    "hidden": 6,
    "autoencoder_hidden": 6,
    "dropout": 0.2,
    "epochs": 3,
    "batch_size": 16,
    "lr": 1e-2,
    "autoencoder_lr": 1e-2,
    "plateau_patience": 1,
}
SPAEN: dict[str, Any] = {**TINY, "encoder": "conv", "critic_lr": 1e-2, "critic_steps": 2, "beta": 0.5}
CASES: dict[str, tuple[type[Embedder[Any]], Params]] = {
    "spaen, joint": (SPAENImages, SPAENImageParams(**SPAEN)),
    "spaen, two stages": (SPAENImages, SPAENImageParams(**SPAEN, training="two-stage", autoencoder_epochs=2)),
    "directmap": (DirectMap, ReconstructionParams(**TINY)),
    "sae-image": (SAEImage, ReconstructionParams(**TINY)),
    "splitbranch": (SplitBranch, ReconstructionParams(**TINY)),
}
EPOCHS = {"spaen, two stages": 5, "directmap": 6}
"""Of all stages; the others have one of 3."""
EVERY = pytest.mark.parametrize("case", CASES)


@pytest.fixture
def view(tmp_path: Path) -> TrainView:
    return toy_image_data(tmp_path).train_view("inductive")


def ends_alike(case: str, view: TrainView, path: Path, done: int, whole: Any) -> bool:
    """Whether what goes on from a checkpoint trains the rest alone, and ends as the whole did."""
    epochs: list[Progress] = []
    again = train(*CASES[case], view, checkpoint=path, checkpoint_seconds=0, on_epoch=epochs.append)
    return agree(again, whole) and len(epochs) == EPOCHS.get(case, 3) - done


@EVERY
def test_killed_in_any_epoch_it_ends_as_if_left_alone(case: str, view: TrainView, tmp_path: Path) -> None:
    whole = train(*CASES[case], view)
    total = len(whole[1].losses)
    assert total == EPOCHS.get(case, 3)
    for done in range(total):
        path = tmp_path / f"{done}.safetensors"
        with pytest.raises(Killed):
            train(*CASES[case], view, checkpoint=path, checkpoint_seconds=0, on_epoch=Killer(done))
        assert ends_alike(case, view, path, done, whole), f"killed in epoch {done + 1}"


@EVERY
def test_killed_right_after_any_checkpoint_it_ends_as_if_left_alone(
    case: str, view: TrainView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among these: between the stages, and after the last epoch."""
    whole = train(*CASES[case], view)
    for saved in range(1, len(whole[1].losses) + 1):
        path = tmp_path / f"{saved}.safetensors"
        killer = Killer(saved - 1)

        def save_and_die(path: Path, state: dict[str, Any], killer: Killer = killer) -> None:
            save_checkpoint(path, state)
            killer()

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(trainer, "save_checkpoint", save_and_die)
            train(*CASES[case], view, checkpoint=path, checkpoint_seconds=0)
        assert ends_alike(case, view, path, saved, whole), f"killed after checkpoint {saved}"


def test_trainings_that_began_otherwise_do_not_agree(view: TrainView) -> None:
    """Or the tests above would hold whatever was restored."""
    method, params = CASES["spaen, joint"]
    assert not agree(train(method, params, view, seed=1), train(method, params, view))
