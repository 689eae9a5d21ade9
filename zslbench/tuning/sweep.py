"""A whole grid of a closed form for little more than one fit: what no hyper-parameter changes is computed once.

If scalings are searched too, it is computed once for each way of scaling the data.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from zslbench.api.cards import SCALINGS, Scaling
from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Metric
from zslbench.api.views import TrainView
from zslbench.errors import NotApplicable, UsageError, one_line
from zslbench.evaluation.measuring import evaluators, metric_name, owner_of
from zslbench.records.search import Search, SearchTrial
from zslbench.runs.entrant import Entrant
from zslbench.runs.fit import train
from zslbench.runs.isolation import contained, known_state
from zslbench.runs.memory import Where
from zslbench.runs.problem import Problem
from zslbench.training.trainer import Fit


def sweep(entrant: Entrant, points: list[dict[str, Any]], search: Search, where: Where) -> list[SearchTrial]:
    """Returns a trial for each point, scored on the validation classes of each fold."""
    started = time.monotonic()
    found = [measure(entrant, points, (fold,), search.metric, where) for fold in range(search.folds)]
    seconds = (time.monotonic() - started) / len(points)
    trials = []
    for point, values in zip(points, zip(*found, strict=True), strict=True):
        good = [value for value in values if isinstance(value, float)]
        reason = next((one_line(value) for value in values if isinstance(value, Exception)), "")
        state = "failed" if reason else "complete"
        trials.append(SearchTrial(params=point, state=state, values=good, seconds=seconds, reason=reason))
    return trials


def measure(
    entrant: Entrant,
    points: list[dict[str, Any]],
    fold: tuple[int, ...],
    metric: str,
    where: Where,
    seed: int = 0,
) -> list[float | Exception]:
    """Returns the metric of each point on a fold, or on the proposed split's test images where it is empty.

    `seed` draws the training images, where not all are used.

    A point that fails has its error instead.
    """
    alike: dict[Scaling, list[int]] = {}
    for place, point in enumerate(points):
        own = {name: value for name, value in point.items() if name in SCALINGS}
        alike.setdefault(entrant.scaling._replace(**own), []).append(place)
    result: dict[int, float | Exception] = {}
    data = entrant.drawn(entrant.data, seed)
    for scaling, places in alike.items():
        problem = partial(Problem.of, data, entrant.setting, scaling, fold, where.memory)
        found = _measure(entrant, problem, [points[place] for place in places], metric, where.device)
        result |= zip(places, found, strict=True)
    return [result[place] for place in range(len(points))]


def _measure(
    entrant: Entrant, make: Callable[[], Problem], points: list[dict[str, Any]], metric: str, device: torch.device
) -> list[float | Exception]:
    """Returns the metric of each point, or its error; all see the same problem, which is made once."""
    problem = make()
    x = None
    if problem.train.scratch is None:  # held: it is scored for every point
        x = problem.scale(problem.test.x(slice(0, len(problem.test)))).to(device)
    evaluator = evaluators()[owner_of(metric)]
    factors: list[Any] = []

    def solve(embedder: Embedder[Any], view: TrainView) -> None:
        if not factors:
            factors.append(embedder.factorize(view))
        embedder.assemble(factors[0])

    result: list[float | Exception] = []
    for point in points:
        try:
            params, _ = entrant.chosen({**entrant.fixed, **point})
            with known_state(0), contained():  # as a run of seed 0
                model = train(partial(entrant.make, params), problem, 0, Fit(device, solve=solve))
                result.append(float(evaluator().evaluate(model.scorer(x))[metric]))
        except NotApplicable as reason:
            raise without_metric(entrant, metric, str(reason)) from None
        except Exception as error:  # a plugin's method may raise anything
            result.append(error)
    return result


def tuning_metric(text: str) -> Metric:
    """Returns the metric of this name or title, in any case, if it needs no validation classes itself, nor images."""
    able = [e for e in evaluators().values() if not e.needs_validation and not e.needs_images]
    known, name = {metric.name: metric for evaluator in able for metric in evaluator.metrics}, metric_name(text)
    if name not in known:
        raise UsageError(f"--metric {text}: tuning chooses by {', '.join(known)}")
    return known[name]


def without_metric(entrant: Entrant, metric: str, reason: str) -> UsageError:
    """Returns the error of a method that cannot be tuned by a metric."""
    title = tuning_metric(metric).title
    return UsageError(f"{entrant.owner} cannot be tuned by {title}: {reason}; see --metric")
