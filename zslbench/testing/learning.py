"""Checks of how a method learns: from what it was given alone, the same each time, and through interruptions."""

from __future__ import annotations

import random
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zslbench.api.embedder import Batch, Embedder, Loss
from zslbench.params import Params
from zslbench.record import Progress
from zslbench.testing.fitting import (
    BATCH_TO_LEARN,
    EPOCHS_TO_LEARN,
    Model,
    close,
    same,
    shortened,
    train,
    train_view,
)
from zslbench.testing.isolation import changed_global_state, disturbed
from zslbench.testing.methods import check_scoring_changes_nothing, check_trains
from zslbench.testing.problem import separable, with_canaries, with_other_unseen
from zslbench.testing.subjects import MethodSubject
from zslbench.testing.verdicts import CheckFailed, Skip, after
from zslbench.training.checkpoint import load_checkpoint, save_checkpoint
from zslbench.training.device import seeded


class Interrupted(Exception):
    """Ends a training after an epoch, as a killed process would."""


@after(check_trains)
def check_loss_falls(subject: MethodSubject) -> None:
    """In each stage of training the loss of one player at least falls."""
    progress: list[Progress] = []
    params = shortened(subject.method, EPOCHS_TO_LEARN, BATCH_TO_LEARN)
    train(subject, separable(), params, on_epoch=progress.append)
    if not progress:
        raise Skip("it is a closed form, without a loss")
    for stage in dict.fromkeys(epoch.stage for epoch in progress):
        epochs = [_by_player(epoch.losses) for epoch in progress if epoch.stage == stage]
        first, last = epochs[0], epochs[-1]
        if len(epochs) > 1 and not any(last[player] < first[player] for player in first):
            moves = ", ".join(f"{player} from {first[player]:.4g} to {last[player]:.4g}" for player in first)
            raise CheckFailed(f"in {len(epochs)} epochs of stage {stage!r} no loss fell ({moves}); is its sign right?")


@after(check_trains)
def check_losses_are_pure(subject: MethodSubject) -> None:
    """A loss depends on parameters, batch and the batch's generator alone, and changes neither batch nor parameters."""
    model = train(subject, separable())
    view, embedder = model.view, model.embedder
    stages = embedder.stages()
    if not stages:
        raise Skip("it is a closed form, without a loss")
    for objective in [objective for stage in stages for objective in stage.objectives]:

        def loss(seed: int, training: bool, objective: Any = objective) -> float:
            embedder.train(training)
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            rows = slice(0, 32)
            batch = Batch(view.x[rows].clone(), view.y[rows].clone(), view.classes, torch.Generator().manual_seed(1))
            value = _total(objective.loss(batch))
            if not (torch.equal(batch.x, view.x[rows]) and torch.equal(batch.y, view.y[rows])):
                raise CheckFailed(f"loss {objective.name!r} changes the batch it is given; work on copies")
            return value

        before = {name: value.detach().clone() for name, value in embedder.named_parameters()}
        with disturbed():
            if loss(0, training=True) != loss(0, training=True):
                raise CheckFailed(
                    f"loss {objective.name!r} of the same batch and random state is another the second time; "
                    "let it keep no state"
                )
            if loss(0, training=False) != loss(1, training=False):
                raise CheckFailed(
                    f"loss {objective.name!r} draws random numbers of its own beside dropout layers; "
                    "draw them with generator=batch.generator"
                )
        if not same(before, dict(embedder.named_parameters())):
            raise CheckFailed(
                f"loss {objective.name!r} changes parameters; leave that to the trainer, or epoch_ended()"
            )


@after(check_scoring_changes_nothing)
def check_same_seed_same_scores(subject: MethodSubject) -> None:
    """The same seed gives the same weights and scores, bit for bit, whatever the state of the process."""
    models = []
    for state in (1, 2):
        with disturbed(state):
            models.append(train(subject, separable()))
    _compare(models, "two trainings with the same seed differ; draw only from torch, after the seed is set")


@after(check_trains)
def check_global_state_untouched(subject: MethodSubject) -> None:
    """Training and scoring leave the random states of Python, NumPy and torch alone, and torch's global settings."""
    data = separable()
    test = data.test_view()

    def work() -> None:
        train(subject, data).scores(test.x(slice(0, 20)), test.classes)

    if changed := changed_global_state(work):
        raise CheckFailed(f"it changes {changed}, which belongs to the whole process; torch is seeded for you")


@after(check_trains)
def check_view_untouched(subject: MethodSubject) -> None:
    """Training leaves the data it was given as it is."""
    view, fresh = train(subject, separable()).view, train_view(subject, separable())[0]
    for name, got, want in (
        ("x", view.x, fresh.x),
        ("y", view.y, fresh.y),
        ("semantics", view.semantics, fresh.semantics),
    ):
        if not torch.equal(got, want):
            raise CheckFailed(f"it changes view.{name} in place; work on a copy")


@after(check_same_seed_same_scores)
def check_test_images_have_no_influence(subject: MethodSubject) -> None:
    """Weights and scores are the same bit for bit when all test images and their labels are others."""
    data = separable()
    models = [train(subject, with_canaries(data, subject.setting, seed)) for seed in (1, 2)]
    _compare(models, "the model depends on test images or their labels, which were never handed to it")


@after(check_same_seed_same_scores)
def check_unseen_embeddings_have_no_influence(subject: MethodSubject) -> None:
    """Weights and scores are the same when unseen classes have other embeddings, unless its card declares the use."""
    if subject.setting != "inductive":
        raise Skip(f"it declares that it uses them: it is {subject.setting}")
    data = separable()
    models = [train(subject, with_other_unseen(data, seed)) for seed in (1, 2)]
    _compare(models, "the model depends on embeddings of unseen classes, but its card says inductive")


@after(check_scoring_changes_nothing)
def check_finish_repeats(subject: MethodSubject) -> None:
    """finish() may be called again: it draws no random number, and scores stay the same."""
    model = train(subject, separable())
    before = _scores(model)

    def work() -> None:
        with torch.no_grad():
            model.embedder.finish(model.view)

    if changed := changed_global_state(work):
        raise CheckFailed(f"finish() changes {changed}; it must use no randomness, as it may be called more than once")
    if not torch.equal(before, _scores(model)):
        raise CheckFailed("scores differ after finish() was called a second time; let it start from the weights alone")


@after(check_trains)
def check_state_keeps_its_shape(subject: MethodSubject) -> None:
    """After training there are the same parameters and persistent buffers, of the same shapes, as when it was built."""
    view, _ = train_view(subject, separable())
    built = _built(subject, view, shortened(subject.method)).state_dict()
    trained = train(subject, separable()).state()
    if strange := sorted(built.keys() ^ trained.keys()):
        raise CheckFailed(f"training adds or removes {strange[0]!r}; create parameters and buffers in build()")
    for name, value in trained.items():
        if value.shape != built[name].shape or value.dtype != built[name].dtype:
            raise CheckFailed(
                f"training turns {name!r} from {built[name].dtype} {tuple(built[name].shape)} "
                f"into {value.dtype} {tuple(value.shape)}; checkpoints need it as it was built"
            )


@after(check_state_keeps_its_shape, check_finish_repeats)
def check_state_round_trip(subject: MethodSubject) -> None:
    """A new model gives the same scores once it has the saved parameters and buffers, and is finished."""
    data = separable()
    model = train(subject, data)
    view, _ = train_view(subject, data)
    restored = _built(subject, view, model.embedder.params, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        save_checkpoint(path, {"embedder": model.embedder.state_dict()})
        saved = load_checkpoint(path)
    assert saved is not None
    restored.solve(view)
    restored.load_state_dict(saved["embedder"])
    restored.eval()
    with torch.no_grad():
        restored.finish(view)
    if not torch.equal(_scores(model), _scores(Model(restored, view, model.scale, model.fitted))):
        raise CheckFailed(
            "a model restored from its saved state gives other scores; keep what training finds in parameters or "
            "persistent buffers, or let finish() find it again"
        )


@after(check_same_seed_same_scores, check_state_round_trip)
def check_resume(subject: MethodSubject) -> None:
    """A training that is interrupted after any epoch ends bit for bit as one that is not."""
    whole = train(subject, separable())
    if not whole.fitted.losses:
        raise Skip("it is a closed form, without epochs")
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(1, len(whole.fitted.losses) + 1):
            path = Path(folder) / f"{epoch}.safetensors"
            with suppress(Interrupted):
                train(subject, separable(), checkpoint=path, on_epoch=_Interruption(epoch + 1))
            resumed = train(subject, separable(), checkpoint=path)
            if resumed.fitted.losses != whole.fitted.losses:
                raise CheckFailed(
                    f"interrupted after epoch {epoch} and resumed, its losses are others; keep what changes between "
                    "epochs in persistent buffers"
                )
            _compare([whole, resumed], f"interrupted after epoch {epoch} and resumed, it ends otherwise")


@after(check_trains)
def check_factors_are_free_of_parameters(subject: MethodSubject) -> None:
    """What factorize() returns depends on no hyper-parameter, and assemble() leaves it as it is."""
    view, kind = _factorized(subject), subject.method.params_type
    default = _built(subject, view, kind())
    factors = default.factorize(view)
    wanted = _tensors(default.factorize(view))
    default.assemble(factors)
    if not _equal(_tensors(factors), wanted):
        raise CheckFailed("assemble() changes the factors it is given; tuning uses them again, so work on copies")
    for name, space in kind.search_space().items():
        for value in space.grid():
            other = _built(subject, view, kind(**{name: value}))
            if not _equal(_tensors(other.factorize(view)), wanted):
                raise CheckFailed(f"factorize() gives something else for {name}={value}; use parameters in assemble()")


@after(check_trains)
def check_assembled_equals_solved(subject: MethodSubject) -> None:
    """factorize() and assemble() together give the parameters that solve() gives."""
    view = _factorized(subject)
    solved, assembled = (_built(subject, view, subject.method.params_type()) for _ in range(2))
    solved.solve(view)
    assembled.assemble(assembled.factorize(view))
    state = assembled.state_dict()
    for name, value in solved.state_dict().items():
        if not close(state[name], value):
            raise CheckFailed(f"{name!r} differs between solve() and assemble(factorize()); leave out solve()")


class _Interruption:
    """Raises when an epoch is over, before its state is saved."""

    def __init__(self, epoch: int) -> None:
        self.left = epoch

    def __call__(self, progress: Progress) -> None:
        self.left -= 1  # never 0 after the last epoch: then the training ends, and its end is what is resumed
        if self.left == 0:
            raise Interrupted


def _compare(models: list[Model], problem: str) -> None:
    first, second = models
    if not same(first.state(), second.state()):
        raise CheckFailed(f"{problem} (weights)")
    if not torch.equal(_scores(first), _scores(second)):
        raise CheckFailed(f"{problem} (scores, though the weights agree)")


def _scores(model: Model) -> Tensor:
    test = separable().test_view()
    return model.scores(test.x(slice(None, None, 7)), test.classes)


def _built(subject: MethodSubject, view: Any, params: Params, seed: int = 0) -> Embedder[Any]:
    with seeded(seed, view.x.device):
        embedder = subject.method(params)
        embedder.build(view.shape)
    return embedder


def _factorized(subject: MethodSubject) -> Any:
    method = subject.method
    if method.factorize is Embedder.factorize:
        raise Skip("it has no factorize()")
    return train_view(subject, separable())[0]


def _total(loss: Loss) -> float:
    return (
        float(sum(term.detach().double().sum() for term in loss.values()))
        if isinstance(loss, dict)
        else float(loss.detach())
    )


def _by_player(losses: dict[str, float]) -> dict[str, float]:
    """Sums the terms of each player."""
    players: dict[str, float] = {}
    for name, value in losses.items():
        player = name.split("/")[0]
        players[player] = players.get(player, 0.0) + value
    return players


def _tensors(value: Any) -> list[Tensor]:
    """Returns copies of all tensors in nested tuples, lists, dicts and objects, in order."""
    if isinstance(value, Tensor):
        return [value.clone()]
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        value = list(vars(value).values()) if hasattr(value, "__dict__") else []
    return [tensor for item in value for tensor in _tensors(item)]


def _equal(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
