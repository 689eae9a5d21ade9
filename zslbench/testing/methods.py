"""Checks of what a method declares, and of its scores."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from zslbench.api.cards import Input
from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Embedder, ImageParams
from zslbench.api.params import Params
from zslbench.api.views import ClassSet
from zslbench.errors import NotApplicable, UsageError
from zslbench.runs import fit
from zslbench.runs.scaling import misdeclared
from zslbench.testing.fitting import CPU, Model, built, close, generous, problem, shortened, shown, train, train_view
from zslbench.testing.isolation import untouched
from zslbench.testing.registration import check_importable
from zslbench.testing.subjects import MethodSubject
from zslbench.testing.verdicts import CheckFailed, Skip, after
from zslbench.training.trainer import Fit

ENOUGH = {"unseen": 0.5, "seen": 0.2}
"""Which share of the images of a side must be right among its classes, 10 unseen and 30 seen ones.

Images of a class tend to be right or wrong together, so what chance may do is deal out whole classes: of all orders of
10 classes 1 in 270 leaves half of them in their places or more, of those of 30 classes 1 in 1700 leaves a fifth.
"""


def check_citation(subject: MethodSubject) -> None:
    """Its card has a title and names its paper, each in one line."""
    for field in ("title", "paper"):
        text = getattr(subject.known_card, field)
        if not text.strip() or "\n" in text:
            raise CheckFailed(f"the card's {field} is {text!r}; tables and papers need it, in one line")


@after(check_importable)
def check_declarations(subject: MethodSubject) -> None:
    """Its version, input, scaling, what tuning may choose it from, and type of hyper-parameters are valid."""
    method = subject.target
    if not isinstance(method.version, int) or isinstance(method.version, bool) or method.version < 1:
        raise CheckFailed(f"version is {method.version!r}; a whole number from 1 is needed")
    if not (isinstance(method.params_type, type) and issubclass(method.params_type, Params)):
        raise CheckFailed(f"params_type is {method.params_type!r}; write class {method.__name__}(Embedder[MyParams])")
    if wrong := misdeclared(method):
        raise CheckFailed(wrong)
    if method.input not in get_args(Input):
        raise CheckFailed(f"input is {method.input!r}; choose {', '.join(get_args(Input))}")
    if subject.on_images and not issubclass(method.params_type, ImageParams):
        raise CheckFailed(f"its input is images, but {method.params_type.__name__} does not extend ImageParams")
    if subject.card and method.input != subject.card.input:
        raise CheckFailed(f"its input is {method.input}, but its card says {subject.card.input}")


@after(check_declarations)
def check_parameters(subject: MethodSubject) -> None:
    """Its hyper-parameters have valid defaults, a line of help each, and survive being written down."""
    kind = subject.target.params_type
    values = kind().model_dump(mode="json")
    if kind(**values) != kind():
        raise CheckFailed(f"{kind.__name__} is not the same after it was written as JSON and read")
    for name, field in kind.model_fields.items():
        if len((field.description or "").strip().splitlines()) != 1:
            raise CheckFailed(f"parameter {name} has not one line of help; declare it with param(default, help)")


@after(check_declarations)
def check_parameters_are_frozen(subject: MethodSubject) -> None:
    """Its hyper-parameters cannot be changed, so that a record says what was run."""
    kind = subject.target.params_type
    if not kind.model_config.get("frozen"):
        raise CheckFailed(f"{kind.__name__} can be changed; leave frozen=True of Params as it is")


@after(check_parameters)
def check_search_space(subject: MethodSubject) -> None:
    """Each end and each choice of its search space is valid, and a model can be built with it."""
    kind = subject.target.params_type
    shape = train_view(subject).shape
    for name, space in kind.search_space().items():
        if space.choices is None:
            try:
                kind.parse_space(f"{name}={space}", "the method")
            except UsageError as error:
                raise CheckFailed(str(error).removeprefix("--search ")) from error
        for value in space.grid():
            try:
                params = kind.parse({**subject.params.model_dump(), name: value}, "search space")
            except UsageError as error:
                raise CheckFailed(f"{error}; make the space smaller, or the bounds wider") from error
            built(subject, params, shape)


@after(check_search_space)
def check_defaults_are_searched(subject: MethodSubject) -> None:
    """Its defaults lie inside the search space, so that tuning can find nothing worse than them."""
    defaults = subject.target.params_type()
    for name, space in subject.target.params_type.search_space().items():
        value = getattr(defaults, name)
        if not space.holds(value):
            raise CheckFailed(f"the default {name}={value!r} is outside of its search space {space}")


@after(check_declarations)
def check_variants(subject: MethodSubject) -> None:
    """Each ablation and each control has values that the method takes, and is not the method as it is."""
    card, kind = subject.known_card, subject.target.params_type
    variants = {
        f"{noun} {name!r}": v for noun in ("ablation", "control") for name, v in getattr(card, f"{noun}s").items()
    }
    if not variants:
        raise Skip("it has no ablations and no controls")
    for what, variant in variants.items():
        try:
            changed = kind.parse(variant.params, what).changed()
        except UsageError as error:
            raise CheckFailed(str(error)) from error
        if not changed:
            raise CheckFailed(f"{what} is the method with its defaults; let its params change something")


@after(check_parameters)
def check_trains(subject: MethodSubject) -> None:
    """It can be built and trained, and no loss becomes NaN or infinite."""
    train(subject)


@after(check_trains)
def check_scores(subject: MethodSubject) -> None:
    """Scores are finite floating-point numbers, one for each image and class; embed() gives class embeddings."""
    model, x, classes = _model_and_images(subject)
    for which, some in {"all": classes, "unseen": classes.unseen_only, "seen": classes.seen_only}.items():
        try:
            scores = model.scores(x, some)
        except NotApplicable as reason:
            if which == "all":
                raise CheckFailed(f"a method must answer among all classes, but it says: {reason}") from reason
            continue
        _check_numbers(scores, len(x), len(some), which)
    if subject.target.embed is not Embedder.embed:
        with torch.no_grad():
            embedding = model.embedder.embed(model.scale(x))
        if embedding.shape != (len(x), size := model.view.shape.attributes):
            raise CheckFailed(
                f"embed() of {len(x)} images has shape {tuple(embedding.shape)}; "
                f"({len(x)}, {size}) is needed, the size of class embeddings"
            )


@after(check_scores)
def check_scoring_changes_nothing(subject: MethodSubject) -> None:
    """Scoring leaves the model, the images and the classes as they are, and gives the same again."""
    model, x, classes = _model_and_images(subject)
    with (
        untouched(model.state, "scores() changes parameters or buffers; test images must leave no trace"),
        untouched(
            lambda: {"x": x, "semantics": classes.semantics},
            "scores() changes the features or class embeddings it was given; work on copies",
        ),
    ):
        first, again = model.scores(x, classes), model.scores(x, classes)
    if not torch.equal(first, again):
        raise CheckFailed("scores() of the same images differ when asked for again")


@after(check_scoring_changes_nothing)
def check_class_order(subject: MethodSubject) -> None:
    """The score of a class does not depend on the order of the classes."""
    model, x, classes = _model_and_images(subject)
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))
    if not close(model.scores(x, classes.select(order.tolist())), model.scores(x, classes)[:, order]):
        raise CheckFailed("scores() differ when the same classes come in another order; let them depend on s_c alone")


@after(check_scoring_changes_nothing)
def check_chunking(subject: MethodSubject) -> None:
    """The score of an image does not depend on the other images scored with it."""
    model, x, classes = _model_and_images(subject)
    whole = model.scores(x, classes)
    for size in (1, 7):
        parts = torch.cat([model.scores(part, classes) for part in torch.split(x, size)])
        if not close(parts, whole):
            raise CheckFailed(f"scores() differ when images come {size} at a time; use no statistics of test images")


@after(check_scores)
def check_other_sizes(subject: MethodSubject) -> None:
    """It works on a problem with other numbers of features, attributes and classes, fewer images than a batch."""
    data = problem(subject, seen=5, unseen=3, features=7, attributes=6, apart=2)
    model = train(subject, data, shortened(subject.params, batch=1000))
    x, classes, _ = shown(data, slice(None))
    _check_numbers(model.scores(x, classes), len(x), len(classes), "all")


@after(check_scoring_changes_nothing)
def check_devices_agree(subject: MethodSubject) -> None:
    """It trains on a GPU, and a model gives there the scores that it gives on the CPU."""
    device = accelerator()
    if device is None:
        raise Skip("there is no GPU here")
    model, x, classes = _model_and_images(subject)
    there = train(subject, how=Fit(device))
    at_home = model.scores(x, classes)
    view = model.view.to(device)
    there.embedder.load_state_dict(model.embedder.state_dict())
    with torch.no_grad():
        there.embedder.finish(view)
        away = there.embedder.scores(model.scale(x).to(device), model.problem.semantics(classes).to(device))
    if away.device.type != device.type:
        raise CheckFailed(f"scores() of images on {device} are on {away.device}; create tensors on the images' device")
    if not close(away.cpu(), at_home, 1e-3):
        difference = float((away.cpu() - at_home).abs().max())
        raise CheckFailed(f"scores on {device} differ from those on the CPU by up to {difference:.2g}")


@after(check_scores)
def check_beats_chance(subject: MethodSubject) -> None:
    """With its defaults it solves a problem that is separable through class embeddings, far beyond chance."""
    _check_learns(subject, problem(subject))


@after(check_beats_chance)
def check_signed_embeddings(subject: MethodSubject) -> None:
    """It does as well on class embeddings with negative values, unless its card says that it needs attributes."""
    if subject.card and subject.card.needs_attributes:
        raise Skip("it needs attributes, so it is refused on other class embeddings")
    try:
        _check_learns(subject, problem(subject, signed=True))
    except Exception as error:
        raise CheckFailed(
            f"on class embeddings that have negative values: {error}; make it work there, as vectors of words have "
            "them, or declare needs_attributes on its card"
        ) from error


def accelerator() -> torch.device | None:
    """Returns the GPU to compare with, or None."""
    return torch.device("cuda") if torch.cuda.is_available() else None


def _check_numbers(scores: Tensor, images: int, classes: int, which: str) -> None:
    if scores.shape != (images, classes):
        raise CheckFailed(
            f"scores() of {images} images and {classes} classes ({which}) have shape {tuple(scores.shape)}"
        )
    if not scores.is_floating_point():
        raise CheckFailed(f"scores() are {scores.dtype}; floating-point numbers are needed")
    if not bool(torch.isfinite(scores).all()):
        raise CheckFailed(f"scores() among {which} classes are NaN or infinite")


def right(model: fit.Model) -> dict[str, float]:
    """Returns which share of a problem's test images is right among the classes of their side, unseen and seen."""
    decisions = model.problem.scorer(model.embedder, CPU).generalized
    return {
        "unseen": float(decisions.hit_unseen[~decisions.seen].mean()),
        "seen": float(decisions.hit_seen[decisions.seen].mean()),
    }


def shortfall(model: fit.Model, data: ZSLData, ease: float = 1.0) -> str:
    """Returns which share of a problem's images that must be right is not, in words; nothing if a model has learnt.

    `ease` is a factor on the shares.
    """
    for side, share in right(model).items():
        classes, enough = len(getattr(data.split, side)), ease * ENOUGH[side]
        if share < enough:
            return (
                f"of the images of {side} classes {share:.0%} are right among these {classes}, where "
                f"chance is {1 / classes:.0%} and {enough:.0%} are needed"
            )
    return ""


def _check_learns(subject: MethodSubject, data: ZSLData) -> None:
    if wrong := shortfall(train(subject, data, generous(subject.params)), data):
        raise CheckFailed(f"{wrong}; is the sign of the scores right?")


def _model_and_images(subject: MethodSubject) -> tuple[Model, Tensor, ClassSet]:
    """Returns a briefly trained model, some test images of both sides, and all classes."""
    images = shown(problem(subject))
    return train(subject), images.x, images.classes
