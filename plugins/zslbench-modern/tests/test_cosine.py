"""The cosine softmax against its definition in loops, and against scikit-learn's logistic loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from problem import batch, build, classes, images, numbers, train, weights
from sklearn.metrics import log_loss
from sklearn.metrics.pairwise import cosine_similarity
from torch.nn.functional import normalize
from zslbench_modern.cosine import CosineSoftmax


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_the_loss_is_the_cross_entropy_with_smoothed_labels(smoothing: float, temperature: float) -> None:
    model, b = build(CosineSoftmax, smoothing=smoothing, temperature=temperature), batch()
    w, total, count = weights(model), 0.0, len(b.classes)
    for x, y in zip(numbers(b.x), b.y.tolist(), strict=True):
        e = w["W.weight"] @ x + w["W.bias"]
        cosines = [float(e @ s) / math.dist(e, 0 * e) / math.dist(s, 0 * s) for s in numbers(b.classes.semantics)]
        logsum = math.log(sum(math.exp(cosine / temperature) for cosine in cosines))
        for c, cosine in enumerate(cosines):
            label = smoothing / count + (1 - smoothing) * (c == y)
            total -= label * (cosine / temperature - logsum)
    assert model.loss(b).item() == pytest.approx(total / len(b.y), rel=1e-4)


def test_without_smoothing_it_is_scikit_learns_log_loss() -> None:
    model, b = build(CosineSoftmax, smoothing=0.0, temperature=0.2), batch()
    w = weights(model)
    f = cosine_similarity(numbers(b.x) @ w["W.weight"].T + w["W.bias"], numbers(b.classes.semantics)) / 0.2
    probabilities = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
    assert model.loss(b).item() == pytest.approx(log_loss(b.y, probabilities, labels=range(f.shape[1])), rel=1e-4)


def test_scores_are_cosines_of_all_classes() -> None:
    model, (x, _) = train(CosineSoftmax, epochs=2), images(generator=5)
    w = weights(model)
    expected = cosine_similarity(numbers(x) @ w["W.weight"].T + w["W.bias"], numbers(classes().semantics))
    with torch.no_grad():
        assert model.scores(x, classes()).numpy() == pytest.approx(expected, abs=1e-5)
        assert model.embed(x).norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)


def test_the_length_of_class_embeddings_does_not_matter() -> None:
    model, b = build(CosineSoftmax), batch()
    short = type(b.classes)(normalize(b.classes.semantics, dim=1), b.classes.names, b.classes.seen)
    other = type(b)(b.x, b.y, short, b.generator)
    assert model.loss(other).item() == pytest.approx(model.loss(b).item(), rel=1e-5)
