"""Checks of how a method learns: from what it was given alone, the same each time, and through interruptions."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zslbench.api.embedder import Embedder, Loss, Objective
from zslbench.api.params import Params
from zslbench.api.progress import Progress
from zslbench.errors import NotApplicable
from zslbench.testing.fitting import (
    CPU,
    Model,
    built,
    close,
    generous,
    problem,
    same,
    shortened,
    shown,
    train,
    train_view,
    whole_batch,
)
from zslbench.testing.isolation import changed_global_state, disturbed
from zslbench.testing.methods import check_scoring_changes_nothing, check_trains
from zslbench.testing.problem import with_canaries, with_other_unseen
from zslbench.testing.reconstruction import check_reconstructs
from zslbench.testing.subjects import MethodSubject
from zslbench.testing.verdicts import CheckFailed, Skip, after
from zslbench.training.checkpoint import load_checkpoint, save_checkpoint
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit


class Interrupted(Exception):
    """Ends a training after an epoch, as a killed process would."""


@after(check_trains)
def check_losses_are_pure(subject: MethodSubject) -> None:
    """A loss depends on parameters, batch and the batch's generator alone, and changes neither batch nor parameters."""
    model = train(subject, problem(subject))
    embedder = model.embedder
    stages = embedder.stages()
    if not stages:
        raise Skip("it is a closed form, without a loss")
    for objective in [objective for stage in stages for objective in stage.objectives]:
        loss = partial(_loss, objective, model)
        before = {name: value.detach().clone() for name, value in embedder.named_parameters()}
        with disturbed():
            if loss() != loss():
                raise CheckFailed(
                    f"loss {objective.name!r} of the same batch and random state is another the second time; "
                    "let it keep no state"
                )
            if loss(training=False) != loss(seed=1, training=False):
                raise CheckFailed(
                    f"loss {objective.name!r} draws random numbers of its own beside dropout layers; "
                    "draw them with generator=batch.generator"
                )
        if not same(before, dict(embedder.named_parameters())):
            raise CheckFailed(
                f"loss {objective.name!r} changes parameters; leave that to the trainer, or epoch_ended()"
            )


@after(check_losses_are_pure)
def check_loss_falls(subject: MethodSubject) -> None:
    """In each stage one player at least has a lower loss than with the parameters it started from."""
    params = generous(subject.params)
    model = train(subject, problem(subject), params)
    start = _built(subject, model.view, params)
    start.solve(model.view)
    started = dict(start.named_parameters())
    stages = model.embedder.stages()
    if not stages:
        raise Skip("it is a closed form, without a loss")
    for stage in stages:
        moves = []
        for objective in stage.objectives:
            with disturbed():
                last = _loss(objective, model)
                with _parameters(objective, model.embedder, started):
                    first = _loss(objective, model)
            moves.append((objective.name, first, last))
        if not any(last < first for _, first, last in moves):
            told = ", ".join(f"{name} from {first:.4g} to {last:.4g}" for name, first, last in moves)
            raise CheckFailed(f"training lowers no loss of stage {stage.name!r} ({told}); is its sign right?")


@after(check_scoring_changes_nothing, check_reconstructs)
def check_same_seed_same_scores(subject: MethodSubject) -> None:
    """The same seed gives the same weights and scores, bit for bit, whatever the state of the process."""
    models = []
    for state in (1, 2):
        with disturbed(state):
            models.append(train(subject, problem(subject)))
    _compare(subject, models, "two trainings with the same seed differ; draw only from torch, after the seed is set")


@after(check_trains)
def check_global_state_untouched(subject: MethodSubject) -> None:
    """Training and scoring leave the random states of Python, NumPy and torch alone, and torch's global settings."""
    data = problem(subject)
    images = shown(data)

    def work() -> None:
        model = train(subject, data)
        model.scores(images.x, images.classes)
        if images.pixels is not None:
            with suppress(NotApplicable):
                model.made(images.x, images.pixels)

    if changed := changed_global_state(work):
        raise CheckFailed(f"it changes {changed}, which belongs to the whole process; torch is seeded for you")


@after(check_trains)
def check_view_untouched(subject: MethodSubject) -> None:
    """Training leaves the data it was given as it is."""
    view, fresh = train(subject, problem(subject)).view, train_view(subject, problem(subject))
    for name, got, want in (
        ("x", view.x, fresh.x),
        ("y", view.y, fresh.y),
        ("semantics", view.semantics, fresh.semantics),
    ):
        if not torch.equal(got, want):
            raise CheckFailed(f"it changes view.{name} in place; work on a copy")
    rows, same_rows = (one.pixels.rows if one.pixels else np.empty(0) for one in (view, fresh))
    if not np.array_equal(rows, same_rows):
        raise CheckFailed("it changes view.pixels in place; work on a copy")


@after(check_same_seed_same_scores)
def check_test_images_have_no_influence(subject: MethodSubject) -> None:
    """Weights and scores are the same bit for bit when all test images and their labels are others."""
    data = problem(subject)
    models = [train(subject, with_canaries(data, subject.setting, seed)) for seed in (1, 2)]
    _compare(subject, models, "the model depends on test images or their labels, which were never handed to it")


@after(check_same_seed_same_scores)
def check_unseen_embeddings_have_no_influence(subject: MethodSubject) -> None:
    """Weights and scores are the same when unseen classes have other embeddings, unless its card declares the use."""
    if subject.setting != "inductive":
        raise Skip(f"it declares that it uses them: it is {subject.setting}")
    data = problem(subject)
    models = [train(subject, with_other_unseen(data, seed)) for seed in (1, 2)]
    _compare(subject, models, "the model depends on embeddings of unseen classes, but its card says inductive")


@after(check_scoring_changes_nothing, check_reconstructs)
def check_finish_repeats(subject: MethodSubject) -> None:
    """finish() may be called again: it draws no random number, and scores stay the same."""
    model = train(subject, problem(subject))
    before = _answers(subject, model)

    def work() -> None:
        with torch.no_grad():
            model.embedder.finish(model.view)

    if changed := changed_global_state(work):
        raise CheckFailed(f"finish() changes {changed}; it must use no randomness, as it may be called more than once")
    for what, now in _answers(subject, model).items():
        if not torch.equal(before[what], now):
            raise CheckFailed(
                f"{what} differ after finish() was called a second time; let it start from the weights alone"
            )


@after(check_finish_repeats, check_view_untouched, check_same_seed_same_scores)
def check_watching_changes_nothing(subject: MethodSubject) -> None:
    """A training that is scored after each epoch, for early stopping or to choose, ends as one that is not."""
    data = problem(subject)
    alone = train(subject, data)
    if not alone.fitted.losses:
        raise Skip("it is a closed form, without epochs")
    watched = train(subject, data, watch=True)
    _compare(
        subject,
        [alone, watched],
        "scored after each epoch it ends otherwise; finish() must leave what is trained alone",
    )


@after(check_trains)
def check_state_keeps_its_shape(subject: MethodSubject) -> None:
    """After training there are the same parameters and persistent buffers, of the same shapes, as when it was built."""
    view = train_view(subject, problem(subject))
    built = _built(subject, view, shortened(subject.params)).state_dict()
    trained = train(subject, problem(subject)).state()
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
    data = problem(subject)
    model = train(subject, data)
    view = train_view(subject, data)
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
    found = _answers(subject, replace(model, embedder=restored))
    for what, wanted in _answers(subject, model).items():
        if not torch.equal(wanted, found[what]):
            raise CheckFailed(
                f"a model restored from its saved state gives other {what}; keep what training finds in parameters or "
                "persistent buffers, or let finish() find it again"
            )


@after(check_same_seed_same_scores, check_state_round_trip)
def check_resume(subject: MethodSubject) -> None:
    """A training that is interrupted after any epoch ends bit for bit as one that is not."""
    whole = train(subject, problem(subject))
    if not whole.fitted.losses:
        raise Skip("it is a closed form, without epochs")
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(1, len(whole.fitted.losses) + 1):
            how = Fit(CPU, checkpoint=Path(folder) / f"{epoch}.safetensors", checkpoint_seconds=0)
            with suppress(Interrupted):
                train(subject, problem(subject), how=replace(how, on_epoch=_Interruption(epoch + 1)))
            resumed = train(subject, problem(subject), how=how)
            if resumed.fitted.losses != whole.fitted.losses:
                raise CheckFailed(
                    f"interrupted after epoch {epoch} and resumed, its losses are others; keep what changes between "
                    "epochs in persistent buffers"
                )
            _compare(subject, [whole, resumed], f"interrupted after epoch {epoch} and resumed, it ends otherwise")


@after(check_trains)
def check_factors_are_free_of_parameters(subject: MethodSubject) -> None:
    """What factorize() returns depends on no hyper-parameter, and assemble() leaves it as it is."""
    view, kind = _factorized(subject), subject.method.params_type
    default = _built(subject, view, subject.params)
    factors = default.factorize(view)
    wanted = _tensors(default.factorize(view))
    default.assemble(factors)
    if not _equal(_tensors(factors), wanted):
        raise CheckFailed("assemble() changes the factors it is given; tuning uses them again, so work on copies")
    for name, space in kind.search_space().items():
        for value in space.grid():
            other = _built(subject, view, kind(**{**subject.params.model_dump(), name: value}))
            if not _equal(_tensors(other.factorize(view)), wanted):
                raise CheckFailed(f"factorize() gives something else for {name}={value}; use parameters in assemble()")


@after(check_trains)
def check_assembled_equals_solved(subject: MethodSubject) -> None:
    """factorize() and assemble() together give the parameters that solve() gives."""
    view = _factorized(subject)
    solved, assembled = (_built(subject, view, subject.params) for _ in range(2))
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


def _compare(subject: MethodSubject, models: list[Model], wrong: str) -> None:
    first, second = models
    if not same(first.state(), second.state()):
        raise CheckFailed(f"{wrong} (weights)")
    for (what, one), other in zip(_answers(subject, first).items(), _answers(subject, second).values(), strict=True):
        if not torch.equal(one, other):
            raise CheckFailed(f"{wrong} ({what}, though the weights agree)")


def _answers(subject: MethodSubject, model: Model) -> dict[str, Tensor]:
    """Returns scores of some test images and, where the method makes them, images."""
    images = shown(problem(subject))
    answers = {"scores": model.scores(images.x, images.classes)}
    if images.pixels is not None:
        with suppress(NotApplicable):
            answers["images"] = model.made(images.x, images.pixels)
    return answers


def _built(subject: MethodSubject, view: Any, params: Params, seed: int = 0) -> Embedder[Any]:
    with seeded(seed, view.x.device):
        return built(subject, params, view.shape)


def _factorized(subject: MethodSubject) -> Any:
    method = subject.method
    if method.factorize is Embedder.factorize:
        raise Skip("it has no factorize()")
    return train_view(subject, problem(subject))


def _loss(objective: Objective, model: Model, seed: int = 0, training: bool = True) -> float:
    """Returns a loss of all training images, with the global random states seeded and the generator always alike.

    Raises:
        CheckFailed: the loss changes the batch.
    """
    view = model.view
    model.embedder.train(training)
    for seeds in (random.seed, np.random.seed, torch.manual_seed):
        seeds(seed)
    batch, fresh = whole_batch(view), whole_batch(view)
    value = _total(objective.loss(batch))
    pairs = [(batch.x, fresh.x), (batch.y, fresh.y)]
    if batch.pixels is not None and fresh.pixels is not None:
        pairs.append((batch.pixels, fresh.pixels))
    if not all(torch.equal(own, other) for own, other in pairs):
        raise CheckFailed(f"loss {objective.name!r} changes the batch it is given; work on copies")
    return value


@contextmanager
def _parameters(objective: Objective, embedder: Embedder[Any], others: Mapping[str, Tensor]) -> Iterator[None]:
    """Gives a player's parameters the values of others of the same names, and takes them back on leaving."""
    own = {id(parameter) for parameter in objective.parameters}
    named = {
        name: parameter for name, parameter in embedder.named_parameters() if id(parameter) in own and name in others
    }
    kept = {name: parameter.detach().clone() for name, parameter in named.items()}

    def put(values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name in named.keys() & values.keys():
                named[name].copy_(values[name])

    put(others)
    try:
        yield
    finally:
        put(kept)


def _total(loss: Loss) -> float:
    return (
        float(sum(term.detach().double().sum() for term in loss.values()))
        if isinstance(loss, dict)
        else float(loss.detach())
    )


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
