"""f-CLSWGAN: its losses recalculated, its networks, and who trains what."""

from __future__ import annotations

import math

import pytest
import torch
from problem import ATTRIBUTES, FEATURES, SEEN, UNSEEN, batch, build, train, values
from torch import nn
from zslbench_generative.clswgan import FCLSWGAN

CLASSES = SEEN + UNSEEN


def test_its_networks_have_the_papers_shapes() -> None:
    """G: noise as wide as the embedding; D sees features and embedding; one hidden layer each; G ends in ReLU."""
    model, h = build(FCLSWGAN, hidden=20, standardise=False), 20
    sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in model.named_children()}
    assert sizes["G"] == 2 * ATTRIBUTES * h + h + h * FEATURES + FEATURES
    assert sizes["D"] == (FEATURES + ATTRIBUTES) * h + h + h + 1
    assert sizes["classifier"] == sizes["softmax"] == FEATURES * CLASSES + CLASSES
    assert isinstance(model.G[-1], nn.ReLU) and isinstance(build(FCLSWGAN).G[-1], nn.Linear)


def test_the_stages_are_the_seen_classifier_the_game_and_the_softmax() -> None:
    model = build(FCLSWGAN, critic_steps=5, epochs=7, classifier_epochs=4, softmax_epochs=2)
    assert [(stage.name, stage.epochs, stage.finishing) for stage in model.stages()] == [
        ("classifier", 4, False),
        ("generator", 7, False),
        ("softmax", 2, True),
    ]
    assert [(player.name, player.steps) for player in model.stages()[1].objectives] == [("critic", 5), ("generator", 1)]


def test_the_generators_loss_is_that_of_generated_features_one_by_one() -> None:
    model, given = build(FCLSWGAN, classification=0.5), batch(seed=4)
    losses = values(model.generator_loss(given))
    noise = torch.randn(len(given.x), ATTRIBUTES, generator=torch.Generator().manual_seed(4))
    judged, surprises = [], []
    with torch.no_grad():
        for z, y in zip(noise, given.y.tolist(), strict=True):
            s = (given.classes.semantics[y] - model.semantic.shift) / model.semantic.divisor
            fake = model.G(torch.cat([z, s]))
            judged.append(model.D.network(torch.cat([fake, s])).item())
            logits = model.classifier(fake).tolist()[:SEEN]  # the classifier knows seen classes only
            surprises.append(math.log(sum(map(math.exp, logits))) - logits[y])
    assert losses["adv"] == pytest.approx(-sum(judged) / len(judged), rel=1e-4)
    assert losses["cls"] == pytest.approx(0.5 * sum(surprises) / len(surprises), rel=1e-5)


def test_the_critics_loss_is_the_distance_of_generated_from_real_features() -> None:
    model, given = build(FCLSWGAN), batch(seed=4)
    distance = model.critic_loss(given)["distance"].item()
    with torch.no_grad():
        x, s = model.inputs(given)
        fake = model.synthesize(s, torch.Generator().manual_seed(4))
        expected = [
            (model.D(f[None], c[None]) - model.D(r[None], c[None])).item() for f, r, c in zip(fake, x, s, strict=True)
        ]
    assert distance == pytest.approx(sum(expected) / len(expected), rel=1e-3, abs=1e-7)


def test_the_seen_classifier_gives_unseen_classes_nothing() -> None:
    model = build(FCLSWGAN)
    gradient = torch.autograd.grad(model.classifier_loss(batch()), model.classifier.weight)[0]
    assert gradient[:SEEN].abs().max() > 0 and gradient[SEEN:].abs().max() == 0


def test_the_seen_classifier_recognises_seen_classes_before_the_generator_starts() -> None:
    _, fitted = train(FCLSWGAN, epochs=1, classifier_epochs=30, softmax_lr=1e-2, batch_size=32)
    classifier = [losses["classifier"] for losses in fitted.losses if "classifier" in losses]
    assert len(classifier) == 30
    assert classifier[-1] < 0.3 * math.log(SEEN)
