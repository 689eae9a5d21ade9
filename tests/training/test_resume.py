"""An interrupted and resumed training ends bit for bit as one that was left alone, wherever it was interrupted."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interruptions import Killed, Killer, agree
from players import Closed, Pair, PairParams, Plain
from torch import Tensor
from toy import toy_view, train

from zslbench.api.embedder import Batch, Embedder, GradientParams
from zslbench.api.params import Params
from zslbench.api.progress import Progress
from zslbench.testing.isolation import disturbed
from zslbench.training import trainer
from zslbench.training.checkpoint import load_checkpoint, save_checkpoint
from zslbench.training.trainer import Fitted

VIEW = toy_view()
CASES: dict[str, tuple[type[Embedder[Any]], Params]] = {
    "dropout, Adam, plateau": (
        Plain,
        GradientParams(epochs=6, batch_size=16, lr=0.05, schedule="plateau", plateau_patience=1, clip_norm=0.1),
    ),
    "SGD with momentum, cosine": (
        Plain,
        GradientParams(epochs=4, batch_size=16, optimizer="sgd", schedule="cosine", weight_decay=0.01),
    ),
    "Adam with AMSGrad": (Plain, GradientParams(epochs=4, batch_size=16, optimizer="amsgrad", lr=0.05)),
    "joint players": (Pair, PairParams(epochs=4, batch_size=16, schedule="plateau", plateau_patience=1)),
    "two stages": (Pair, PairParams(epochs=3, batch_size=16, two_stage=True, optimizer="adamw")),
}


def closeness(model: Embedder[Any]) -> dict[str, float]:
    """A deterministic score on the training images, to stop on; it falls again where training overshoots."""
    return {"closeness": -float((model.embed(VIEW.x) - VIEW.semantics[VIEW.y]).square().mean())}


def resumed(case: str, path: Path) -> tuple[Embedder[Any], Fitted, int]:
    """Goes on from a checkpoint; returns also how many epochs were still trained."""
    method, params = CASES[case]
    epochs: list[Progress] = []
    model, fitted = train(method, params, VIEW, checkpoint=path, checkpoint_seconds=0, on_epoch=epochs.append)
    return model, fitted, len(epochs)


@pytest.mark.parametrize("case", CASES)
def test_killed_in_any_epoch_it_ends_as_if_left_alone(case: str, tmp_path: Path) -> None:
    method, params = CASES[case]
    whole = train(method, params, VIEW)
    total = len(whole[1].losses)
    for done in range(total):
        path = tmp_path / f"{done}.safetensors"
        with pytest.raises(Killed):
            train(method, params, VIEW, checkpoint=path, checkpoint_seconds=0, on_epoch=Killer(done))
        model, fitted, trained = resumed(case, path)
        assert agree((model, fitted), whole), f"killed in epoch {done + 1}"
        assert trained == total - done


@pytest.mark.parametrize("case", CASES)
def test_killed_right_after_any_checkpoint_it_ends_as_if_left_alone(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among these: between the stages, after the last epoch, and after the model was finished."""
    method, params = CASES[case]
    whole = train(method, params, VIEW)
    total = len(whole[1].losses)
    for saved in range(1, total + 2):
        path = tmp_path / f"{saved}.safetensors"
        killer = Killer(saved - 1)

        def save_and_die(path: Path, state: dict[str, Any], killer: Killer = killer) -> None:
            save_checkpoint(path, state)
            killer()

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(trainer, "save_checkpoint", save_and_die)
            train(method, params, VIEW, checkpoint=path, checkpoint_seconds=0)
        model, fitted, trained = resumed(case, path)
        assert agree((model, fitted), whole), f"killed after checkpoint {saved}"
        assert trained == max(0, total - saved)


def test_killed_in_every_epoch_it_still_arrives(tmp_path: Path) -> None:
    case, path = "dropout, Adam, plateau", tmp_path / "state.safetensors"
    method, params = CASES[case]
    whole = train(method, params, VIEW)
    for _ in range(len(whole[1].losses) - 1):
        with pytest.raises(Killed):
            train(method, params, VIEW, checkpoint=path, checkpoint_seconds=0, on_epoch=Killer(1))
    model, fitted, trained = resumed(case, path)
    assert agree((model, fitted), whole)
    assert trained == 1


def test_early_stopping_remembers_its_best_epoch(tmp_path: Path) -> None:
    params = GradientParams(epochs=60, batch_size=16, lr=0.1, patience=3)
    whole = train(Plain, params, VIEW, watch=closeness, stop_on="closeness")
    total = len(whole[1].losses)
    assert 0 < whole[1].epochs < total < 60  # it stopped, and went back
    for done in range(total):
        path = tmp_path / f"{done}.safetensors"
        with pytest.raises(Killed):
            train(
                Plain,
                params,
                VIEW,
                checkpoint=path,
                checkpoint_seconds=0,
                watch=closeness,
                stop_on="closeness",
                on_epoch=Killer(done),
            )
        again = train(Plain, params, VIEW, checkpoint=path, checkpoint_seconds=0, watch=closeness, stop_on="closeness")
        assert agree(again, whole), f"killed in epoch {done + 1}"
    assert agree(train(Plain, params, VIEW, checkpoint=path, watch=closeness, stop_on="closeness"), whole)


def test_writing_checkpoints_changes_nothing(tmp_path: Path) -> None:
    for case, (method, params) in CASES.items():
        saved = train(method, params, VIEW, checkpoint=tmp_path / case / "c.safetensors", checkpoint_seconds=0)
        assert agree(saved, train(method, params, VIEW)), case


def test_the_time_before_the_interruption_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    clock = [0.0]

    def tick() -> float:
        clock[0] += 1.0
        return clock[0]

    monkeypatch.setattr(trainer.time, "monotonic", tick)
    with pytest.raises(Killed):
        train(Plain, GradientParams(epochs=4), VIEW, checkpoint=path, checkpoint_seconds=0, on_epoch=Killer(2))
    before = load_checkpoint(path)["seconds"]
    seconds: list[float] = []
    clock[0] = 1000.0  # a night later
    fitted = train(
        Plain,
        GradientParams(epochs=4),
        VIEW,
        checkpoint=path,
        checkpoint_seconds=0,
        on_epoch=lambda progress: seconds.append(progress.seconds),
    )[1]
    assert before < seconds[0] < seconds[1] < fitted.seconds < 2 * before + 20


def test_a_closed_form_leaves_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    train(Closed, GradientParams(), VIEW, checkpoint=path, checkpoint_seconds=0)
    assert not path.exists()


@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten"])
def test_a_damaged_checkpoint_is_ignored_and_training_starts_afresh(damage: str, tmp_path: Path) -> None:
    case, path = "joint players", tmp_path / "state.safetensors"
    method, params = CASES[case]
    with pytest.raises(Killed):
        train(method, params, VIEW, checkpoint=path, checkpoint_seconds=0, on_epoch=Killer(2))
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-100], "emptied": b"", "overwritten": b"no checkpoint" * 99}[damage])
    with pytest.warns(UserWarning, match="damaged checkpoint; training starts afresh"):
        model, fitted, trained = resumed(case, path)
    assert agree((model, fitted), train(method, params, VIEW))
    assert trained == params.epochs


def test_a_checkpoint_of_another_kind_of_device_is_ignored(tmp_path: Path) -> None:
    case, path = "two stages", tmp_path / "state.safetensors"
    method, params = CASES[case]
    with pytest.raises(Killed):
        train(method, params, VIEW, checkpoint=path, checkpoint_seconds=0, on_epoch=Killer(2))
    state = load_checkpoint(path)
    state |= {"device": "cuda", "generator": torch.zeros(16, dtype=torch.uint8)}
    save_checkpoint(path, state)
    model, fitted, trained = resumed(case, path)
    assert agree((model, fitted), train(method, params, VIEW))
    assert trained == len(fitted.losses)


def test_nothing_is_saved_before_it_is_due(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    train(Plain, GradientParams(epochs=2), VIEW, checkpoint=path, checkpoint_seconds=1e9)
    assert not path.exists()
    train(Plain, GradientParams(epochs=2), VIEW, checkpoint_seconds=0)
    assert not list(tmp_path.iterdir())


def test_the_generator_of_the_batches_is_part_of_the_state(tmp_path: Path) -> None:
    """Were it not, a resumed epoch would draw the first epoch's batches again."""
    path = tmp_path / "state.safetensors"
    states: list[Tensor] = []
    for done in (1, 2):
        path.unlink(missing_ok=True)
        with pytest.raises(Killed):
            train(Plain, GradientParams(epochs=4), VIEW, checkpoint=path, checkpoint_seconds=0, on_epoch=Killer(done))
        states.append(load_checkpoint(path)["generator"])
    assert not torch.equal(*states)


def interrupting(call: int) -> Callable[..., None]:
    """Returns a function that sends Ctrl-C to this process when it is called for the given time."""
    calls = iter(range(1, 10**6))

    def count(*_: object) -> None:
        if next(calls) == call:
            signal.raise_signal(signal.SIGINT)

    return count


@pytest.mark.parametrize("case", CASES)
def test_ctrl_c_waits_for_the_end_of_the_epoch_and_loses_none(case: str, tmp_path: Path) -> None:
    method, params = CASES[case]
    whole = train(method, params, VIEW)
    for done in (1, 2, len(whole[1].losses)):
        path = tmp_path / f"{done}.safetensors"
        with pytest.raises(KeyboardInterrupt):
            train(method, params, VIEW, checkpoint=path, on_epoch=interrupting(done))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        model, fitted, trained = resumed(case, path)
        assert agree((model, fitted), whole)
        assert trained == len(whole[1].losses) - done


def test_a_long_epoch_is_given_up_for_its_beginning_and_a_short_one_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = "joint players"
    method, params = CASES[case]
    whole = train(method, params, VIEW)
    step = trainer.Player.step
    saved = []
    for long in (True, False):
        path, interrupt = tmp_path / f"{long}.safetensors", interrupting(30)

        def counted(*arguments: Any, interrupt: Callable[..., None] = interrupt) -> Any:
            interrupt()
            return step(*arguments)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(trainer, "LONG_EPOCH", -1.0 if long else 1e9)
            patch.setattr(trainer.Player, "step", counted)
            train(method, params, VIEW, checkpoint=path)
        saved.append(load_checkpoint(path)["epoch"])
        model, fitted, trained = resumed(case, path)
        assert agree((model, fitted), whole)
        assert trained == len(whole[1].losses) - saved[-1]
    assert 0 < saved[0] == saved[1] - 1


@pytest.mark.parametrize("case", CASES)
def test_what_comes_after_training_can_keep_it(case: str, tmp_path: Path) -> None:
    method, params = CASES[case]
    path = tmp_path / "state.safetensors"
    whole = train(method, params, VIEW, checkpoint=path)
    assert not path.exists()
    whole[1].keep()
    model, fitted, trained = resumed(case, path)
    assert agree((model, fitted), whole)
    assert trained == 0


class Global(Plain):
    """Draws from the random states of NumPy and Python, which belong to a run, too."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"square": (self.net(batch.x) - batch.s).square().mean() * (1 + np.random.random() + random.random())}


def test_random_states_of_numpy_and_python_are_part_of_the_state(tmp_path: Path) -> None:
    path, params = tmp_path / "state.safetensors", GradientParams(epochs=4, batch_size=16)

    def once(**how: Any) -> tuple[Embedder[Any], Fitted]:
        with disturbed():
            np.random.seed(3)
            random.seed(3)
            return train(Global, params, VIEW, **how)

    whole = once()
    with pytest.raises(Killed):
        once(checkpoint=path, checkpoint_seconds=0, on_epoch=Killer(2))
    assert agree(once(checkpoint=path), whole)
