"""Scores of a model: scaled features, chunk by chunk, each class by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy import CPU, build, toy_data

from zslbench.api.evaluator import Scorer
from zslbench.data.scaling import Scaler
from zslbench.discovery.plugins import registry
from zslbench.errors import RunError
from zslbench.evaluation.scorers import ModelScorer
from zslbench.runs.resolve import method_class
from zslbench.testing.fitting import problem
from zslbench.testing.fitting import train as train_checked
from zslbench.testing.subjects import MethodSubject, subjects

METHODS = [name for name in registry().names("method") if method_class(name).input == "features"]
GATED = {"cmt-star"}
"""Their scores say first on which side an image is, so they are relative to the best class of each side."""


@pytest.mark.parametrize("subject", [s for s in subjects(METHODS) if s.name not in GATED], ids=lambda s: s.name)
def test_scores_of_a_class_do_not_depend_on_which_other_classes_there_are(subject: MethodSubject) -> None:
    data = problem(subject)
    model = train_checked(subject, data)
    scorer = ModelScorer(model.embedder, data.test_view(), model.scale, CPU)
    rows, classes = slice(0, len(scorer.view)), np.arange(len(scorer.view.classes))
    scores = scorer.scores(rows, classes)
    assert scores.abs().max() > 0
    for part in (classes[3:], classes[[4, 1]]):
        assert torch.allclose(scorer.scores(rows, part), scores[:, torch.from_numpy(part)], atol=1e-5)


@pytest.mark.parametrize("name", ["devise", "spaen", "cmt"])
def test_images_of_unseen_classes_are_scored_again_only_where_other_classes_may_matter(name: str) -> None:
    [subject] = subjects([name])
    data = problem(subject)
    model = train_checked(subject, data)
    scorer = ModelScorer(model.embedder, data.test_view(), model.scale, CPU)
    embed, scored = model.embedder.embed, []
    model.embedder.embed = lambda x: scored.append(len(x)) or embed(x)
    unseen = int((~scorer.view.seen).sum())
    found = scorer.conventional.arrays()
    assert sum(scored) == (unseen if name == "cmt" else len(scorer.view))  # CMT has scores of its own
    expected = Scorer.conventional.func(scorer).arrays()
    for key, array in found.items():
        assert np.allclose(array, expected[key], rtol=1e-5), key


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


@pytest.mark.parametrize(
    ("wrong", "given"),
    [
        (lambda scores: scores[:, :-1], "shape (10, 9)"),
        (lambda scores: scores[:-1], "shape (9, 10)"),
        (lambda scores: scores[:, 0], "shape (10,)"),
        (lambda scores: scores.tolist(), "type list"),
    ],
)
def test_scores_of_another_shape_are_refused_with_the_shape_that_is_needed(wrong, given: str) -> None:
    class Odd(method_class("eszsl")):
        def scores(self, x, classes):
            return wrong(super().scores(x, classes))

    data = toy_data()
    scorer = ModelScorer(
        build(Odd, Odd.params_type(), data.train_view("inductive")), data.test_view(), lambda x: x, CPU
    )
    with pytest.raises(RunError) as refused:
        scorer.scores(slice(0, 10), np.arange(10))
    assert str(refused.value) == (
        f"scores() of 10 images and 10 classes have {given}; a tensor of shape (10, 10) is needed"
    )
