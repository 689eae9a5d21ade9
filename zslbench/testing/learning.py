"""Checks of how a method learns: only from what it was given, the same each time, and despite interruptions."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import torch

from zslbench.api.embedder import Batch, Embedder, Objective, Stage
from zslbench.api.images import Pixels
from zslbench.api.views import TrainView
from zslbench.errors import one_line
from zslbench.runs.kept import Kept, restored
from zslbench.testing.draws import recorded
from zslbench.testing.fitting import (
    CPU,
    Model,
    built,
    close,
    generous,
    made,
    problem,
    shortened,
    shown,
    train,
    train_view,
    whole_batch,
)
from zslbench.testing.isolation import (
    Arrays,
    changed_global_state,
    differing,
    disturbed,
    reachable,
    seed_everything,
    untouched,
)
from zslbench.testing.methods import check_scoring_changes_nothing, check_trains
from zslbench.testing.problem import with_canaries, with_other_unseen
from zslbench.testing.reconstruction import check_reconstructs
from zslbench.testing.subjects import MethodSubject
from zslbench.testing.verdicts import CheckFailed, Skip, after
from zslbench.training.checkpoint import load_checkpoint, save_checkpoint
from zslbench.training.trainer import Fit


class Interrupted(Exception):
    """Ends a training after an epoch, as a killed process would."""


@after(check_trains)
def check_losses_are_pure(subject: MethodSubject) -> None:
    """A loss depends on parameters, batch and the batch's generator alone, and changes neither batch nor parameters."""
    model = train(subject)
    for objective in [objective for stage in _stages(model) for objective in stage.objectives]:
        loss, name = partial(_loss, objective, model), f"loss {objective.name!r}"
        wrong = f"{name} changes parameters; leave that to the trainer, or epoch_ended()"
        with untouched(lambda: dict(model.embedder.named_parameters()), wrong):
            if loss() != loss():
                raise CheckFailed(
                    f"{name} of the same batch and random state is another the second time; let it keep no state"
                )
            if loss(training=False) != loss(seed=1, training=False):
                raise CheckFailed(
                    f"{name} draws random numbers of its own beside dropout layers; "
                    "draw them with generator=batch.generator"
                )


@after(check_losses_are_pure)
def check_loss_falls(subject: MethodSubject) -> None:
    """In each stage one player at least has a lower loss than with the parameters it started from."""
    params = generous(subject.params)
    model = train(subject, params=params)
    start = built(subject, params, model.view.shape)
    start.solve(model.view)
    for stage in _stages(model):
        moves = {one.name: (_loss_at_start(one, model, start), _loss(one, model)) for one in stage.objectives}
        if not any(last < first for first, last in moves.values()):
            told = ", ".join(f"{name} from {first:.4g} to {last:.4g}" for name, (first, last) in moves.items())
            raise CheckFailed(f"training lowers no loss of stage {stage.name!r} ({told}); is its sign right?")


@after(check_scoring_changes_nothing, check_reconstructs)
def check_same_seed_same_scores(subject: MethodSubject) -> None:
    """The same seed gives the same weights and scores, bit for bit, whatever the state of the process."""
    models = []
    for state in (1, 2):
        with disturbed(state):
            models.append(train(subject))
    _compare(subject, models, "two trainings with the same seed differ; draw only from torch, after the seed is set")


@after(check_same_seed_same_scores)
def check_another_seed_draws_others(subject: MethodSubject) -> None:
    """Another seed gives other random numbers wherever it draws some, and other weights where it is trained."""
    with recorded() as first:
        model = train(subject)
    with recorded() as second:
        other = train(subject, seed=1)
    if same := sorted(first[draw] for draw in first.keys() & second.keys()):
        raise CheckFailed(
            f"{same[0]} draws the same random numbers whatever the seed of the run; torch is seeded for you, so seed "
            "nothing, and take a seed for a generator of your own from torch.randint"
        )
    if model.fitted.losses and not differing(model.state(), other.state()):
        raise CheckFailed("trained with seeds 0 and 1 it ends with the same weights; draw what is random from torch")


@after(check_same_seed_same_scores)
def check_deterministic(subject: MethodSubject) -> None:
    """Where it says that it is deterministic, two seeds give the same weights and scores, bit for bit."""
    if not subject.target.deterministic:
        raise Skip("it does not say that it is deterministic")
    models = [train(subject, seed=seed) for seed in (0, 1)]
    _compare(subject, models, "it says deterministic = True, but two seeds differ; leave that out")


@after(check_trains)
def check_global_state_untouched(subject: MethodSubject) -> None:
    """Training and scoring leave the random states of Python, NumPy and torch alone, and torch's global settings."""
    images = shown(problem(subject))
    if changed := changed_global_state(lambda: train(subject).answers(images)):
        raise CheckFailed(f"it changes {changed}, which belongs to the whole process; torch is seeded for you")


@after(check_trains)
def check_view_untouched(subject: MethodSubject) -> None:
    """Training leaves the data it was given as it is."""
    view, fresh = train(subject).view, train_view(subject)
    if name := differing(_arrays(view), _arrays(fresh)):
        raise CheckFailed(f"it changes view.{name} in place; work on a copy")


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
    model, images = train(subject), shown(problem(subject))
    before = model.answers(images)
    with torch.no_grad():
        changed = changed_global_state(lambda: model.embedder.finish(model.view))
    if changed:
        raise CheckFailed(f"finish() changes {changed}; it must use no randomness, as it may be called more than once")
    if what := differing(before, model.answers(images)):
        raise CheckFailed(f"{what} differ after finish() was called a second time; let it start from the weights alone")


@after(check_finish_repeats, check_view_untouched, check_same_seed_same_scores)
def check_watching_changes_nothing(subject: MethodSubject) -> None:
    """A training that is scored after each epoch, for early stopping or to choose, ends as one that is not."""
    alone = train(subject)
    _epochs(alone)
    watched = train(subject, watch=True)
    wrong = "scored after each epoch it ends otherwise; finish() must leave what is trained alone"
    _compare(subject, [alone, watched], wrong)


@after(check_trains)
def check_state_keeps_its_shape(subject: MethodSubject) -> None:
    """After training there are the same parameters and persistent buffers, of the same shapes, as when it was built."""
    trained, view = train(subject).state(), train_view(subject)
    fresh = built(subject, shortened(subject.params), view.shape).state_dict()
    if strange := sorted(fresh.keys() ^ trained.keys()):
        raise CheckFailed(f"training adds or removes {strange[0]!r}; create parameters and buffers in build()")
    for name, value in trained.items():
        if value.shape != fresh[name].shape or value.dtype != fresh[name].dtype:
            raise CheckFailed(
                f"training turns {name!r} from {fresh[name].dtype} {tuple(fresh[name].shape)} "
                f"into {value.dtype} {tuple(value.shape)}; checkpoints need it as it was built"
            )


@after(check_state_keeps_its_shape, check_finish_repeats)
def check_state_round_trip(subject: MethodSubject) -> None:
    """A new model gives the same scores once it has the saved parameters and buffers, and is finished."""
    model, view, images = train(subject), train_view(subject), shown(problem(subject))
    restored = built(subject, model.embedder.params, view.shape, seed=1)
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
    if what := differing(model.answers(images), replace(model, embedder=restored).answers(images)):
        raise CheckFailed(
            f"a model restored from its saved state gives other {what}; keep what training finds in parameters or "
            "persistent buffers, or let finish() find it again"
        )


@after(check_state_round_trip)
def check_kept_model(subject: MethodSubject) -> None:
    """A model that is kept in a file gives the same scores, bit for bit, when it is read without training images."""
    model, images = train(subject), shown(problem(subject))
    kept = Kept.unpacked(Kept.of(model).packed(), "the file")
    advice = "keep what training and finish() find in parameters or buffers that build() registers"
    try:
        embedder = restored(partial(made, subject, model.embedder.params), kept)
        answers = replace(model, embedder=embedder).answers(images)
    except Exception as error:
        raise CheckFailed(f"a kept model cannot be used ({one_line(error)}); {advice}") from error
    if what := differing(model.answers(images), answers):
        raise CheckFailed(f"a kept model gives other {what}; {advice}")


@after(check_same_seed_same_scores, check_state_round_trip)
def check_resume(subject: MethodSubject) -> None:
    """A training that is interrupted after any epoch ends bit for bit as one that is not."""
    whole = train(subject)
    with tempfile.TemporaryDirectory() as folder:
        for epoch in range(1, _epochs(whole) + 1):
            how = Fit(CPU, checkpoint=Path(folder) / f"{epoch}.safetensors", checkpoint_seconds=0)
            # raised before the next epoch is saved; never after the last: then its end is what is resumed
            interruption = Mock(side_effect=[None] * epoch + [Interrupted])
            with suppress(Interrupted):
                train(subject, how=replace(how, on_epoch=interruption))
            resumed = train(subject, how=how)
            if resumed.fitted.losses != whole.fitted.losses:
                raise CheckFailed(
                    f"interrupted after epoch {epoch} and resumed, its losses are others; keep what changes between "
                    "epochs in persistent buffers"
                )
            _compare(subject, [whole, resumed], f"interrupted after epoch {epoch} and resumed, it ends otherwise")


@after(check_trains)
def check_factors_are_free_of_parameters(subject: MethodSubject) -> None:
    """What factorize() returns depends on no hyper-parameter, and assemble() leaves it as it is."""
    view, kind = _factorized(subject), subject.target.params_type
    default = built(subject, subject.params, view.shape)
    factors, wanted = default.factorize(view), _inside(default.factorize(view))
    with untouched(
        lambda: _inside(factors),
        "assemble() changes the factors it is given; tuning uses them again, so work on copies",
    ):
        default.assemble(factors)
    for name, space in kind.search_space().items():
        for value in space.grid():
            other = built(subject, kind(**{**subject.params.model_dump(), name: value}), view.shape)
            if differing(_inside(other.factorize(view)), wanted):
                raise CheckFailed(f"factorize() gives something else for {name}={value}; use parameters in assemble()")


@after(check_trains)
def check_assembled_equals_solved(subject: MethodSubject) -> None:
    """factorize() and assemble() together give the parameters that solve() gives."""
    view = _factorized(subject)
    solved, assembled = (built(subject, subject.params, view.shape) for _ in range(2))
    solved.solve(view)
    assembled.assemble(assembled.factorize(view))
    state = assembled.state_dict()
    for name, value in solved.state_dict().items():
        if not close(state[name], value):
            raise CheckFailed(f"{name!r} differs between solve() and assemble(factorize()); leave out solve()")


def _compare(subject: MethodSubject, models: list[Model], wrong: str) -> None:
    images, (first, second) = shown(problem(subject)), models
    if differing(first.state(), second.state()):
        raise CheckFailed(f"{wrong} (weights)")
    if what := differing(first.answers(images), second.answers(images)):
        raise CheckFailed(f"{wrong} ({what}, though the weights agree)")


def _stages(model: Model) -> list[Stage]:
    if not (stages := model.embedder.stages()):
        raise Skip("it is a closed form, without a loss")
    return stages


def _epochs(model: Model) -> int:
    if not model.fitted.losses:
        raise Skip("it is a closed form, without epochs")
    return len(model.fitted.losses)


def _factorized(subject: MethodSubject) -> TrainView:
    if subject.target.factorize is Embedder.factorize:
        raise Skip("it has no factorize()")
    return train_view(subject)


def _arrays(of: TrainView | Batch) -> Arrays:
    """Returns what training must leave alone of a view or a batch."""
    pixels = of.pixels.rows if isinstance(of.pixels, Pixels) else of.pixels
    arrays = {"x": of.x, "y": of.y, "semantics": of.classes.semantics, "pixels": pixels}
    return {name: array for name, array in arrays.items() if array is not None}


def _inside(factors: Any) -> Arrays:
    return {str(place): array for place, array in enumerate(reachable(factors))}


def _loss(objective: Objective, model: Model, seed: int = 0, training: bool = True) -> float:
    """Returns a loss of all training images, with the global random states seeded and the generator always alike.

    Raises:
        CheckFailed: the loss changes the batch.
    """
    model.embedder.train(training)
    batch = whole_batch(model.view)
    with (
        disturbed(),
        untouched(lambda: _arrays(batch), f"loss {objective.name!r} changes the batch it is given; work on copies"),
    ):
        seed_everything(seed)
        loss = objective.loss(batch)
    terms = loss.values() if isinstance(loss, dict) else [loss]
    return float(sum(term.detach().double() for term in terms))


def _loss_at_start(objective: Objective, model: Model, start: Embedder[Any]) -> float:
    """Returns a player's loss with the parameters it started from, all others as they are now."""
    own, trained = set(map(id, objective.parameters)), deepcopy(model.embedder.state_dict())
    first = dict(start.named_parameters())
    names = [name for name, parameter in model.embedder.named_parameters() if id(parameter) in own and name in first]
    model.embedder.load_state_dict({name: first[name] for name in names}, strict=False)
    loss = _loss(objective, model)
    model.embedder.load_state_dict(trained)
    return loss
