"""A whole grid of a closed form for little more than one fit: what no hyper-parameter changes is computed once."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from zslbench.api.evaluator import Scorer
from zslbench.evaluation.scorers import ModelScorer
from zslbench.plan import Configuration
from zslbench.search import SearchTrial
from zslbench.training.device import choose_device, seeded
from zslbench.trial import part_of, quick_metrics


def sweep(
    configuration: Configuration, points: list[dict[str, Any]], folds: int, metric: str, device: str
) -> list[SearchTrial]:
    """Returns a trial for each point, scored on the validation classes of each fold."""
    started = time.monotonic()
    values = np.array([measure(configuration, points, (fold,), metric, choose_device(device)) for fold in range(folds)])
    seconds = (time.monotonic() - started) / len(points)
    return [
        SearchTrial(params=point, state="complete", values=values[:, i].tolist(), seconds=seconds)
        for i, point in enumerate(points)
    ]


def measure(
    configuration: Configuration, points: list[dict[str, Any]], fold: tuple[int, ...], metric: str, device: torch.device
) -> list[float]:
    """Returns the metric of each point on a fold, or on the proposed split's test images where it is empty."""
    spec = configuration.job(0, "validation").spec
    part = part_of(configuration.data, spec, fold)
    x = part.scale(part.test.x(slice(0, len(part.test)))).to(device)  # held in memory: it is scored for every point
    method = configuration.method
    result = []
    with seeded(0, device):
        factors = None
        for point in points:
            params = method.params_type.parse({**configuration.values, **point}, configuration.owner)
            embedder = method(params)
            embedder.build(part.train.shape)
            embedder.to(device)
            factors = embedder.factorize(part.train.to(device)) if factors is None else factors
            embedder.assemble(factors)
            embedder.eval()
            scorer: Scorer = ModelScorer(embedder, part.test, part.scale, device, x)
            result.append(quick_metrics(scorer, [metric])[metric])
    return result
