"""Scores of a model: scaled features, chunk by chunk, each class by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy import CPU, briefly, build, toy_data, train

from zslbench.data.scaling import Scaler
from zslbench.evaluation.scorers import ModelScorer
from zslbench.plugins import registry
from zslbench.trial import method_class

METHODS = registry().names("method")
GATED = {"cmt-star"}
"""Their scores say first on which side an image is, so they are relative to the best class of each side."""


@pytest.mark.parametrize("name", METHODS)
def test_scores_of_a_class_do_not_depend_on_the_order_or_number_of_classes(name: str) -> None:
    data = toy_data()
    method = method_class(name)
    embedder, _ = train(method, briefly(method), data.train_view("inductive"))
    scorer = ModelScorer(embedder, data.test_view(), lambda x: x, CPU)
    rows, classes = slice(0, len(scorer.view)), np.arange(len(scorer.view.classes))
    scores = scorer.scores(rows, classes)
    assert scores.abs().max() > 0
    orders = [classes[::-1], np.random.default_rng(0).permutation(classes)]
    parts = [] if name in GATED else [classes[3:], classes[[4, 1]]]
    for order in orders + parts:
        assert torch.allclose(scorer.scores(rows, order), scores[:, torch.from_numpy(order.copy())], atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_scores_of_an_image_do_not_depend_on_the_other_images(name: str) -> None:
    data = toy_data()
    method = method_class(name)
    embedder, _ = train(method, briefly(method), data.train_view("inductive"))
    scorer = ModelScorer(embedder, data.test_view(), lambda x: x, CPU)
    classes = np.arange(len(scorer.view.classes))
    together = scorer.scores(slice(0, 10), classes)
    alone = torch.cat([scorer.scores(slice(i, i + 1), classes) for i in range(10)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_test_images_are_scaled_as_the_training_images_were() -> None:
    data = toy_data()
    view = data.train_view("inductive")
    scale = Scaler.fit("zscore", view.x)
    method = method_class("eszsl")
    embedder = build(method, method.params_type(), view)
    embedder.solve(view)
    test = data.test_view()
    mean, deviation = data.features[data.train].mean(axis=0), data.features[data.train].std(axis=0)
    expected = ((data.features[test.images] - mean) / deviation) @ embedder.V.numpy() @ test.classes.semantics.numpy().T
    scores = ModelScorer(embedder, test, scale, CPU).scores(slice(0, len(test)), np.arange(len(test.classes)))
    assert np.allclose(scores.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_half_precision_scores_are_evaluated_in_full_precision() -> None:
    class Half(method_class("eszsl")):
        def scores(self, x, classes):
            return super().scores(x, classes).bfloat16()

    data = toy_data()
    embedder = build(Half, Half.params_type(), data.train_view("inductive"))
    scorer = ModelScorer(embedder, data.test_view(), lambda x: x, CPU)
    assert scorer.scores(slice(0, 2), np.arange(3)).dtype == torch.float32
    assert scorer.generalized.best_seen.dtype == np.float64
