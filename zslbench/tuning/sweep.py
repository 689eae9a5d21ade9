"""A whole grid of a closed form for little more than one fit: what no hyper-parameter changes is computed once."""

from __future__ import annotations

import time
from typing import Any

import torch

from zslbench.errors import NotApplicable, UsageError, one_line
from zslbench.evaluation.measuring import metrics
from zslbench.evaluation.scorers import ModelScorer
from zslbench.records.search import SearchTrial, TuningMetric
from zslbench.runs.fit import OF_METRIC, part_of
from zslbench.runs.plan import Configuration
from zslbench.training.device import choose_device, seeded


def sweep(
    configuration: Configuration, points: list[dict[str, Any]], folds: int, metric: TuningMetric, device: str
) -> list[SearchTrial]:
    """Returns a trial for each point, scored on the validation classes of each fold.

    Raises:
        UsageError: the method does not have this metric.
    """
    started = time.monotonic()
    found = [measure(configuration, points, (fold,), metric, choose_device(device)) for fold in range(folds)]
    seconds = (time.monotonic() - started) / len(points)
    trials = []
    for point, values in zip(points, zip(*found, strict=True), strict=True):
        good = [value for value in values if isinstance(value, float)]
        reason = next((one_line(value) for value in values if isinstance(value, Exception)), "")
        state = "failed" if reason else "complete"
        trials.append(SearchTrial(params=point, state=state, values=good, seconds=seconds, reason=reason))
    return trials


def measure(
    configuration: Configuration,
    points: list[dict[str, Any]],
    fold: tuple[int, ...],
    metric: TuningMetric,
    device: torch.device,
) -> list[float | Exception]:
    """Returns the metric of each point on a fold, or on the proposed split's test images where it is empty.

    A point that fails has its error instead.

    Raises:
        UsageError: the method does not have this metric.
    """
    spec = configuration.job(0, "validation").spec
    part = part_of(configuration.data, spec, fold)
    x = part.scale(part.test.x(slice(0, len(part.test)))).to(device)  # held in memory: it is scored for every point
    method = configuration.method
    result: list[float | Exception] = []
    factors = None
    for point in points:
        try:
            params = method.params_type.parse({**configuration.values, **point}, configuration.owner)
            with seeded(0, device), torch.no_grad():  # what a run of seed 0 does
                embedder = method(params)
                embedder.build(part.train.shape)
                embedder.to(device)
                view = part.train.to(device)
                factors = embedder.factorize(view) if factors is None else factors
                embedder.assemble(factors)
                embedder.eval()
                embedder.finish(view)
                scorer = ModelScorer(embedder, part.test, part.scale, device, x)
                result.append(OF_METRIC[metric]().evaluate(scorer)[metric])
        except NotApplicable as reason:
            raise without_metric(configuration, metric, str(reason)) from None
        except Exception as error:  # a plugin's method may raise anything
            result.append(error)
    return result


def without_metric(configuration: Configuration, metric: TuningMetric, reason: str) -> UsageError:
    """Returns the error of a method that cannot be tuned by a metric."""
    return UsageError(f"{configuration.owner} cannot be tuned by {metrics()[metric].title}: {reason}; see --metric")
