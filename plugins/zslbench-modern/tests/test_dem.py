"""DEM against its equations in loops, and against the least squares that it converges to."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from problem import ATTRIBUTES, Array, batch, build, classes, images, numbers, problem, train, weights
from zslbench_modern.dem import DEM


def mapped(model: Any, semantics: Array) -> Array:
    """f(s) = W2 relu(W1 s + b1) + b2 of each class embedding, scaled to length sqrt(A), one unit at a time."""
    w, points = weights(model), []
    for row in semantics:
        s = math.sqrt(ATTRIBUTES) * row / math.sqrt(float(sum(row**2)))
        hidden = [max(0.0, float(u @ s + b)) for u, b in zip(w["network.0.weight"], w["network.0.bias"], strict=True)]
        point = [
            float(u @ np.array(hidden) + b) for u, b in zip(w["network.2.weight"], w["network.2.bias"], strict=True)
        ]
        points.append([max(0.0, value) for value in point] if model.params.rectified else point)
    return np.array(points)


def unit() -> float:
    values = numbers(problem().x).ravel()
    return math.sqrt(sum(float(v) ** 2 for v in values) / len(values))


@pytest.mark.parametrize("rectified", [False, True])
def test_the_loss_is_the_mean_squared_distance_of_images_to_their_class(rectified: bool) -> None:
    model, b = build(DEM, hidden=4, rectified=rectified), batch()
    points = mapped(model, numbers(b.classes.semantics))
    errors = [
        (float(v) / unit() - points[int(y)][d]) ** 2
        for image, y in zip(numbers(b.x), b.y, strict=True)
        for d, v in enumerate(image)
    ]
    assert model.loss(b).item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)


@pytest.mark.parametrize("rectified", [False, True])
def test_scores_are_negative_squared_distances_so_that_the_nearest_class_wins(rectified: bool) -> None:
    model = train(DEM, epochs=3, hidden=4, rectified=rectified)
    x, _ = images(generator=5)
    points = mapped(model, numbers(classes().semantics))
    expected = [[-np.mean((image / unit() - point) ** 2) for point in points] for image in numbers(x)]
    with torch.no_grad():
        found = model.scores(x, classes()).numpy()
    assert found == pytest.approx(np.array(expected), rel=1e-3, abs=1e-4)
    nearest = [min(range(len(points)), key=lambda c: math.dist(image / unit(), points[c])) for image in numbers(x)]
    assert found.argmax(axis=1).tolist() == nearest


def test_trained_long_enough_it_maps_seen_classes_to_the_means_of_their_images() -> None:
    """With more hidden units than classes, least squares are reached where each class meets its mean."""
    model, view = train(DEM, epochs=400, lr=1e-2, hidden=64, weight_decay=0.0), problem()
    points = mapped(model, numbers(view.semantics)) * unit()
    means = np.array([numbers(view.x[view.y == c]).mean(axis=0) for c in range(len(view.classes))])
    spread = np.abs(means - means.mean(axis=0)).mean()
    assert np.abs(points - means).mean() < 0.05 * spread


def test_any_scale_of_features_and_class_embeddings_gives_the_same_model() -> None:
    view = problem()
    b = batch()
    model, loss = build(DEM), build(DEM).loss(b).item()
    scaled = type(view)(view.setting, 1000 * view.x, view.y, view.classes)
    model.solve(scaled)
    longer = type(b.classes)(9 * b.classes.semantics, b.classes.names, b.classes.seen)
    other = type(b)(1000 * b.x, b.y, longer, b.generator)
    assert model.loss(other).item() == pytest.approx(loss, rel=1e-4)
