"""Checks of evaluators, on scores of a small problem."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zslbench.api import evaluator as interface
from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Evaluator, Scorer
from zslbench.api.params import Params
from zslbench.api.views import ClassSet, TestView
from zslbench.discovery.plugins import registry
from zslbench.errors import NotApplicable, ZSLBenchError
from zslbench.evaluation.accuracy import draw_weights
from zslbench.evaluation.scorers import MatrixScorer, StoredScorer
from zslbench.testing.isolation import Arrays, changed_global_state, disturbed, untouched
from zslbench.testing.registration import check_importable
from zslbench.testing.subjects import EvaluatorSubject
from zslbench.testing.verdicts import CheckFailed, Skip, after

SEEN, UNSEEN, ATTRIBUTES = 6, 4, 8
IMAGES = np.arange(3, 3 + SEEN + UNSEEN)
"""Of each class; no two have as many, so that no two can be taken for each other."""
STEP = 1e-4
"""Of a weight, for derivatives."""
SIDE = 16
"""Of the images, in pixels."""
_METRIC = re.compile(r"[a-z][a-z0-9_]*")
Case = Literal["random", "right", "wrong"]
CASES: tuple[Case, ...] = get_args(Case)
IntArray = NDArray[np.int64]
Values = Mapping[str, float]


def check_card(subject: EvaluatorSubject) -> None:
    """Its card says what it measures."""
    if not subject.known_card.summary.strip():
        raise CheckFailed("the card's summary is empty; say what it measures")


@after(check_importable)
def check_metrics(subject: EvaluatorSubject) -> None:
    """It declares its metrics, each with a name of its own and a title for tables; its version is valid."""
    metrics = getattr(subject.target, "metrics", ())
    if not metrics:
        raise CheckFailed("it declares no metrics; name what evaluate() returns, in the order of tables")
    names = [metric.name for metric in metrics]
    if len(set(names)) != len(names):
        raise CheckFailed(f"it declares a metric twice: {', '.join(names)}")
    for metric in metrics:
        if not _METRIC.fullmatch(metric.name) or not metric.title.strip():
            raise CheckFailed(f"metric {metric.name!r} needs a name of a-z, 0-9 and _, and a title")
        if subject.target.on_request and metric.shown:
            raise CheckFailed(
                f"metric {metric.name!r} is shown by default, and measured on request alone; declare shown=False"
            )
    version = subject.target.version
    if not isinstance(version, int) or version < 1:
        raise CheckFailed(f"version is {version!r}; a whole number from 1 is needed")


@after(check_metrics)
def check_names_are_free(subject: EvaluatorSubject) -> None:
    """No other evaluator has a metric of the same name: one of them would be left out."""
    own = {metric.name for metric in subject.target.metrics}
    for entry in registry().entries("evaluator"):
        if subject.entry is not None and entry.name == subject.entry.name:
            continue
        try:
            other = registry().resolve("evaluator", entry.name, Evaluator)
        except ZSLBenchError:
            continue  # it is left out itself
        if other is not subject.target and (taken := sorted(own & {metric.name for metric in other.metrics})):
            raise CheckFailed(f"its metric {taken[0]!r} belongs to evaluator {entry.name!r}; choose another name")


@after(check_metrics)
def check_returns_its_metrics(subject: EvaluatorSubject) -> None:
    """It returns the metrics that it declares, no more and no fewer, as numbers."""
    values = _evaluate(subject)
    declared = [metric.name for metric in subject.target.metrics]
    if set(values) != set(declared):
        raise CheckFailed(f"it declares {', '.join(declared)}, but returns {', '.join(sorted(values))}")
    for name, value in values.items():
        if not isinstance(value, int | float | np.number):
            raise CheckFailed(f"{name} is a {type(value).__name__}; a number is needed")


@after(check_returns_its_metrics)
def check_finite(subject: EvaluatorSubject) -> None:
    """Its metrics are finite, also where every image is right, or every image wrong."""
    for case in CASES:
        for name, value in _evaluate(subject, _problem(case)).items():
            if not np.isfinite(value):
                raise CheckFailed(f"{name} is {value} where images are {case}; a finite number is needed")


@after(check_finite)
def check_fractions(subject: EvaluatorSubject) -> None:
    """A metric shown in percent is a fraction in [0, 1]."""
    for case in CASES:
        values = _evaluate(subject, _problem(case))
        for metric in subject.target.metrics:
            if metric.percent and not -1e-9 <= values[metric.name] <= 1 + 1e-9:
                raise CheckFailed(
                    f"{metric.name} is {values[metric.name]:.4g} where images are {case}, but it is shown in percent; "
                    "return a fraction, or declare percent=False"
                )


@after(check_returns_its_metrics)
def check_deterministic(subject: EvaluatorSubject) -> None:
    """The same scores give the same metrics, whatever the state of the process."""
    with disturbed(1):
        first = _evaluate(subject)
    with disturbed(2):
        second = _evaluate(subject)
    _compare(first, second, "the same scores give another value the second time; draw from a fixed seed")


@after(check_returns_its_metrics)
def check_global_state_untouched(subject: EvaluatorSubject) -> None:
    """Evaluating leaves the random states of Python, NumPy and torch alone, and torch's global settings."""
    if changed := changed_global_state(lambda: _evaluate(subject)):
        raise CheckFailed(f"it changes {changed}; use np.random.default_rng(seed)")


@after(check_returns_its_metrics)
def check_scorer_untouched(subject: EvaluatorSubject) -> None:
    """Evaluating leaves images, classes, scores and decisions as they are, which the next evaluator is handed too."""
    problem = _problem()

    def contents() -> Arrays:
        views, decisions = [s.view for s in problem], [d for s in problem for d in (s.generalized, s.conventional)]
        arrays = [array for view in views for array in (view.y, view.images, view.classes.semantics)]
        arrays += [scorer.matrix for scorer in problem] + [array for d in decisions for array in d.arrays().values()]
        return {str(place): array for place, array in enumerate(arrays)}

    with untouched(contents, "it changes the scorer, its view or its decisions; work on copies"):
        _evaluate(subject, problem)


@after(check_deterministic)
def check_class_order(subject: EvaluatorSubject) -> None:
    """Its metrics do not depend on the order of the classes."""
    random = np.random.default_rng(1)
    order = np.concatenate([random.permutation(SEEN), SEEN + random.permutation(UNSEEN)])
    other = _evaluate(subject, _problem(classes=order))
    _compare(_evaluate(subject), other, "another order of the classes gives another value")


@after(check_deterministic)
def check_image_order(subject: EvaluatorSubject) -> None:
    """Its metrics do not depend on the order of the test images."""
    random = np.random.default_rng(1)
    first, last = IMAGES[:SEEN].sum(), IMAGES[SEEN:].sum()
    order = np.concatenate([random.permutation(first), first + random.permutation(last)])
    other = _evaluate(subject, _problem(images=order))
    _compare(_evaluate(subject), other, "another order of the test images gives another value")


@after(check_deterministic)
def check_chunking(subject: EvaluatorSubject) -> None:
    """Its metrics do not depend on how many scores are held in memory at a time."""
    whole = _evaluate(subject)
    with mock.patch.object(interface, "SCORES_AT_ONCE", 7 * (SEEN + UNSEEN)):
        parts = _evaluate(subject)
    _compare(whole, parts, "scores in smaller parts give another value; add up, and divide at the end")


@after(check_deterministic)
def check_resample(subject: EvaluatorSubject) -> None:
    """resample() gives a value for each row of weights; weights of ones give evaluate()."""
    if subject.target.resample is Evaluator.resample:
        raise Skip("it has no intervals")
    scorer, evaluator = _prepared(subject, _problem())
    ones = np.ones((1, len(scorer.view.y)))
    weights = np.concatenate([draw_weights(scorer.view.y, 2), ones])
    values, resampled = evaluator.evaluate(scorer), evaluator.resample(scorer, weights)
    _check_names("resample()", resampled, evaluator)
    for name, replicates in resampled.items():
        if np.shape(replicates) != (3,):
            raise CheckFailed(
                f"resample() of 3 rows of weights gives {name} of shape {np.shape(replicates)}; (3,) is needed"
            )
    _compare(_row(resampled, -1), values, "resample() with weights of ones is not evaluate()")
    for row, one in enumerate(weights):
        alone = _row(evaluator.resample(scorer, one[None]), 0)
        _compare(_row(resampled, row), alone, "resample() of a row of weights depends on the other rows")


@after(check_resample)
def check_influence(subject: EvaluatorSubject) -> None:
    """influence() of what is stored is a finite number for each test image, and the derivative of resample()."""
    if subject.target.influence is Evaluator.influence:
        raise Skip("rows are not tested in its metrics")
    scorer, evaluator = _prepared(subject, _problem())
    metrics, arrays = evaluator.evaluate(scorer), evaluator.arrays(scorer)
    stored = StoredScorer(scorer.view, scorer.generalized)
    found = subject.target().influence(stored, metrics, arrays)
    _check_names("influence()", found, evaluator)
    y = scorer.view.y
    ones, steps = np.ones((1, len(y))), STEP * np.eye(len(y))
    up, down = (evaluator.resample(scorer, ones + step) for step in (steps, -steps))
    for name, influence in found.items():
        if np.shape(influence) != y.shape or not np.isfinite(influence).all():
            raise CheckFailed(f"the influence on {name} is not a finite number for each of the {len(y)} test images")
        if name in up:
            _check_derivative(name, y, influence, (up[name] - down[name]) / (2 * STEP))


def _check_names(what: str, found: Iterable[str], evaluator: Evaluator) -> None:
    if strange := sorted(set(found) - {metric.name for metric in evaluator.metrics}):
        raise CheckFailed(f"{what} returns {strange[0]!r}, which is none of its metrics")


def _row(resampled: Mapping[str, NDArray[np.float64]], row: int) -> Values:
    return {name: float(replicates[row]) for name, replicates in resampled.items()}


def _check_derivative(name: str, y: IntArray, influence: NDArray[np.float64], slopes: NDArray[np.float64]) -> None:
    """Compares influences with slopes by weight, but for a constant in each class: draws keep its number of images."""
    scale = max(np.abs(slopes).max(), np.abs(influence).max())
    for c in np.unique(y):
        own, slope = influence[y == c], slopes[y == c]
        if not np.allclose(own - own.mean(), slope - slope.mean(), rtol=0, atol=1e-4 * scale):
            raise CheckFailed(
                f"the influence on {name} is not the derivative of resample() by the weights of images; for a mean "
                "over images it is each image's share"
            )
        if not slope.any() and own.any():
            raise CheckFailed(f"the influence on {name} is not 0 for images that it is not about")


class _Scorer(MatrixScorer):
    """Has images too: noise, and what might have been made of it, better the lower its place in the data set."""

    def __init__(self, matrix: NDArray[np.floating[Any]], view: TestView, case: Case) -> None:
        super().__init__(matrix, view)
        self.case = case

    def embeddings(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns the features of some images, which are their embeddings, `(n, 8)`."""
        x = self.view.x(rows)
        return x, x

    def reconstruct(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Returns some images and their reconstructions, `(n, 3, 16, 16)`."""
        places = torch.from_numpy(self.view.images[rows])
        generator = torch.Generator().manual_seed(0)
        images = int(IMAGES.sum())
        original = torch.rand(images, 3, SIDE, SIDE, generator=generator)[places]
        error = {"random": places / images, "right": torch.zeros(len(places)), "wrong": torch.ones(len(places))}
        return original, torch.lerp(original, 1 - original, error[self.case][:, None, None, None])


class _Identity(Embedder[Params]):
    """E(x) = x: the features are embeddings already."""

    def embed(self, x: Tensor) -> Tensor:
        return x


def _problem(
    case: Case = "random", classes: IntArray | None = None, images: IntArray | None = None
) -> tuple[MatrixScorer, MatrixScorer]:
    """Returns the scores of some test images, and those of validation images for evaluators that choose something.

    Args:
        case: whether images resemble their own class, some class, or anything but their own.
        classes: order of the classes.
        images: order of the test images.
    """
    test, validation = (_scorer(case, seed, classes, images) for seed in (0, 1))
    return test, validation


def _scorer(case: Case, seed: int, classes: IntArray | None, images: IntArray | None) -> MatrixScorer:
    random = np.random.default_rng(seed)
    count = SEEN + UNSEEN
    semantics = random.normal(size=(count, ATTRIBUTES))
    semantics[:SEEN, 0] /= 10  # one attribute that seen classes hardly differ in
    semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
    y = np.repeat(np.arange(count), IMAGES)
    noise = 0.5 * random.normal(size=(len(y), ATTRIBUTES))
    x = {"random": semantics[y] + noise, "right": semantics[y], "wrong": -semantics[y]}[case]
    classes = np.arange(count) if classes is None else classes
    images = np.arange(len(y)) if images is None else images
    view = TestView(
        images=images,
        y=np.argsort(classes)[y[images]],
        classes=ClassSet(
            torch.from_numpy(semantics[classes].astype(np.float32)),
            tuple(f"class {c + 1}" for c in classes),
            torch.from_numpy(classes < SEEN),
        ),
        features=x.astype(np.float32),
    )
    scorer = _Scorer((x[images] @ semantics[classes].T).round(1), view, case)  # rounded, so that some classes tie
    scorer.embedder = _Identity(Params())
    return scorer


def _prepared(subject: EvaluatorSubject, problem: tuple[MatrixScorer, MatrixScorer]) -> tuple[Scorer, Evaluator]:
    scorer, validation = problem
    evaluator = subject.target()
    if evaluator.needs_validation:
        evaluator.prepare(validation)
    return scorer, evaluator


def _evaluate(subject: EvaluatorSubject, problem: tuple[MatrixScorer, MatrixScorer] | None = None) -> Values:
    """Evaluates with a new evaluator.

    Raises:
        Skip: it says that it does not apply here.
    """
    scorer, evaluator = _prepared(subject, problem or _problem())
    try:
        return evaluator.evaluate(scorer)
    except NotApplicable as reason:
        raise Skip(f"it does not apply to the problem of this check: {reason}") from reason


def _compare(first: Values, second: Values, problem: str) -> None:
    for name, value in first.items():
        if not np.isclose(value, second[name], rtol=1e-9, atol=1e-9, equal_nan=True):
            raise CheckFailed(f"{problem}: {name} is {value:.6g} and {second[name]:.6g}")
