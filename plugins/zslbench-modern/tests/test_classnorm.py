"""Class normalization against its equations, one class and one unit at a time, in plain Python and NumPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from problem import Array, batch, build, classes, images, numbers, problem, train, weights
from zslbench_modern.classnorm import EPSILON, ClassNorm


def layer(w: dict[str, Array], name: str, rows: Array) -> Array:
    return np.array([w[f"{name}.weight"] @ row + w[f"{name}.bias"] for row in rows])


def standardised(rows: Array, over: Array) -> Array:
    """Each unit minus its mean over `over`, divided by its standard deviation there, in loops."""
    result = np.empty_like(rows)
    for unit in range(rows.shape[1]):
        own = [float(row[unit]) for row in over]
        mean = sum(own) / len(own)
        variance = sum((value - mean) ** 2 for value in own) / len(own)
        for c in range(len(rows)):
            result[c, unit] = (rows[c, unit] - mean) / math.sqrt(variance + EPSILON)
    return result


def prototypes(model: Any, semantics: Array, seen: Array) -> Array:
    """Prototypes by the paper's Eq. (9), by the statistics of the seen classes."""
    w, p = weights(model), model.params

    def second(rows: Array) -> Array:
        lengthened = np.array([math.sqrt(len(row)) * row / math.sqrt(sum(row**2)) for row in rows])
        return layer(w, "second", np.maximum(layer(w, "first", lengthened), 0))

    own, of_seen = second(semantics), second(seen)
    if p.standardised:
        own, of_seen = standardised(own, of_seen), standardised(of_seen, of_seen)
    own, of_seen = np.maximum(own, 0), np.maximum(of_seen, 0)
    if p.standardised:
        own = standardised(own, of_seen)
    result = layer(w, "last", own)
    return np.maximum(result, 0) if p.rectified else result


def logits(model: Any, x: Array, points: Array) -> Array:
    gamma = model.params.gamma
    result = np.empty((len(x), len(points)))
    for i, image in enumerate(x):
        for c, point in enumerate(points):
            result[i, c] = gamma * image / np.linalg.norm(image) @ (gamma * point / np.linalg.norm(point))
    return result


VARIANTS = [{}, {"standardised": False}, {"rectified": True}, {"initialised": False, "gamma": 3.0, "hidden": 4}]


@pytest.mark.parametrize("values", VARIANTS)
def test_the_loss_is_the_cross_entropy_of_a_softmax_over_scaled_cosines(values: dict[str, Any]) -> None:
    model, b = build(ClassNorm, **{"hidden": 9, **values}), batch()
    seen = numbers(b.classes.semantics)
    f = logits(model, numbers(b.x), prototypes(model, seen, seen))
    losses = [math.log(sum(math.exp(v) for v in row)) - row[int(y)] for row, y in zip(f, b.y, strict=True)]
    assert model.loss(b).item() == pytest.approx(sum(losses) / len(losses), rel=1e-4)


@pytest.mark.parametrize("values", VARIANTS)
def test_scores_of_all_classes_use_the_statistics_of_seen_classes_with_the_final_weights(
    values: dict[str, Any],
) -> None:
    model = train(ClassNorm, epochs=3, lr=1e-2, **{"hidden": 9, **values})
    x, _ = images(generator=5)
    expected = logits(model, numbers(x), prototypes(model, numbers(classes().semantics), numbers(problem().semantics)))
    with torch.no_grad():
        found = model.scores(x, classes())
    assert found.numpy() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_score_of_a_class_depends_on_no_class_beside_it() -> None:
    model, (x, _) = train(ClassNorm, epochs=2), images()
    with torch.no_grad():
        together = model.scores(x, classes())
        for c in range(len(classes())):
            alone = model.scores(x, classes().select([c]))
            assert torch.allclose(alone[:, 0], together[:, c], atol=1e-4)


def test_hidden_units_have_mean_0_and_variance_1_over_the_seen_classes() -> None:
    model, view = train(ClassNorm, epochs=2, hidden=6), problem()
    with torch.no_grad():
        first = model.before(model._entered(view.semantics), own=False)
        second = model.behind(torch.relu(first), own=False)
    for units in (first, second):
        assert units.mean(dim=0).numpy() == pytest.approx(0, abs=1e-4)
        assert units.var(dim=0, correction=0).numpy() == pytest.approx(1, abs=1e-2)


def test_class_embeddings_and_features_may_have_any_length() -> None:
    model, (x, _) = train(ClassNorm, epochs=2), images()
    lengths = torch.linspace(0.01, 100, len(classes()))[:, None]
    longer = type(classes())(classes().semantics * lengths, classes().names, classes().seen)
    with torch.no_grad():
        assert torch.allclose(model.scores(7 * x, longer), model.scores(x, classes()), atol=1e-3)


def test_the_last_layer_begins_with_the_variance_of_equation_10() -> None:
    drawn = weights(build(ClassNorm, hidden=2000))["last.weight"]  # 6 x 2000 values
    bound = math.sqrt(3 / (2000 * 6))
    assert abs(drawn).max() <= bound * (1 + 1e-6) and abs(drawn).max() > 0.99 * bound
    assert drawn.var() == pytest.approx(1 / (2000 * 6), rel=0.05)
    other = weights(build(ClassNorm, hidden=2000, initialised=False))["last.weight"]
    assert other.var() == pytest.approx(1 / (3 * 2000), rel=0.05)  # torch's own, for 2000 inputs
