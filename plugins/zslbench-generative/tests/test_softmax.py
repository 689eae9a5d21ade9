"""The softmax on real and synthetic features: its loss, its classes, and what it leaves alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from problem import SEEN, UNSEEN, batch, build, images, problem, train, values, weights
from torch import Tensor, nn
from zslbench_generative.cada_vae import CADAVAE
from zslbench_generative.clswgan import FCLSWGAN
from zslbench_generative.softmax import Generative, GenerativeParams
from zslbench_generative.vaegan import FVAEGAN, TFVAEGAN

from zslbench import Objective, ProblemShape, Stage

METHODS = [FCLSWGAN, CADAVAE, FVAEGAN, TFVAEGAN]
SHORT: dict[str, Any] = {"epochs": 1, "batch_size": 32}


class Echo(Generative[GenerativeParams]):
    """Synthesises the class embedding itself, and represents an image by its first features."""

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.other = nn.Linear(2, 2)
        self.softmax = nn.Linear(shape.attributes, shape.classes)
        self.asked: list[Tensor] = []

    def synthesize(self, semantics: Tensor, generator: torch.Generator) -> Tensor:
        self.asked.append(semantics)
        return semantics

    def represent(self, x: Tensor) -> Tensor:
        return x[:, : self.softmax.in_features]

    def stages(self) -> list[Stage]:
        other = Objective("other", lambda batch: self.other(batch.x[:, :2]).square().mean(), self.other.parameters())
        return [Stage("main", [other], 1), self.finishing()]


def surprise(logits: Tensor, y: int) -> float:
    row = logits.double().numpy()
    return float(np.log(np.exp(row).sum()) - row[y])


def test_the_loss_weighs_each_class_by_the_features_it_would_have_in_a_fixed_set() -> None:
    """With 2 synthetic features for each real one of a mean seen class: 12 seen weights of 1, 3 unseen ones of 2."""
    model, given = build(Echo, synthetic=2.0, standardise=False), batch()
    losses = values(model.softmax_loss(given))
    [synthetic] = model.asked
    classes = [int((given.classes.semantics == row).all(dim=1).nonzero()) for row in synthetic]
    with torch.no_grad():
        real = np.mean([surprise(model.softmax(x[:6]), int(y)) for x, y in zip(given.x, given.y, strict=True)])
        unseen = np.mean([surprise(model.softmax(s), c) for s, c in zip(synthetic, classes, strict=True)])
    assert losses["real"] == pytest.approx(real * 12 / (12 + 3 * 2), rel=1e-5)
    assert losses["synthetic"] == pytest.approx(unseen * 6 / (12 + 3 * 2), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_the_softmax_pays_for_its_weights_but_not_for_its_bias(method: Any) -> None:
    model = build(method, softmax_decay=0.3)
    losses = values(model.softmax_loss(batch()))
    assert losses["decay"] == pytest.approx(0.15 * (model.softmax.weight.detach().numpy() ** 2).sum(), rel=1e-5)
    assert "decay" not in build(method, softmax_decay=0.0).softmax_loss(batch())


def test_only_unseen_classes_are_synthesised_each_alike() -> None:
    model = build(Echo, standardise=False)
    model.softmax_loss(batch(rows=300))
    [synthetic] = model.asked
    classes = [int((problem().semantics == row).all(dim=1).nonzero()) for row in synthetic]
    counts = np.bincount(classes, minlength=SEEN + UNSEEN)
    assert counts[:SEEN].sum() == 0
    assert abs(counts[SEEN:] - 100).max() < 4 * np.sqrt(300 * 1 / 3 * 2 / 3)


def test_the_batchs_generator_is_the_only_randomness() -> None:
    for method in METHODS:
        model = build(method)
        first = values(model.softmax_loss(batch(seed=1)))
        torch.rand(5)
        assert values(model.softmax_loss(batch(seed=1))) == first != values(model.softmax_loss(batch(seed=2)))


@pytest.mark.parametrize("method", METHODS)
def test_the_softmax_is_a_short_finishing_stage_that_trains_nothing_else(method: Any) -> None:
    class Finished(method):
        def stages(self) -> list[Stage]:
            *_, last = super().stages()
            assert last.finishing and last.epochs == 2
            idle = Objective("idle", lambda batch: batch.x.mean() + 0 * self.softmax.weight.sum(), [])
            return [Stage("nothing", [], 1), Stage(last.name, [idle, *last.objectives][1:], 1, finishing=True)]

    before, after = weights(build(method)), weights(train(Finished, batch_size=32)[0])
    changed = {name for name in before if not torch.equal(before[name], after[name])} - {"epoch"}
    assert changed == {"softmax.weight", "softmax.bias"}


@pytest.mark.parametrize("method", METHODS)
def test_scores_belong_to_names_whatever_the_order_and_the_selection(method: Any) -> None:
    model, _ = train(method, **SHORT)
    x, _, classes = images(seed=1, count=2)
    with torch.no_grad():
        every = model.scores(x, classes)
        order = [14, 2, 13, 0, 7]
        assert torch.equal(model.scores(x, classes.select(order)), every[:, order])
        assert torch.equal(model.scores(x, classes.unseen_only), every[:, SEEN:])
        # the softmax over a selection is that over all classes, restricted
        probabilities = every.double().softmax(dim=1)[:, SEEN:]
        restricted = model.scores(x, classes.unseen_only).double().softmax(dim=1)
    torch.testing.assert_close(restricted, probabilities / probabilities.sum(dim=1, keepdim=True))


@pytest.mark.parametrize("method", METHODS)
def test_each_method_learns_classes_it_has_no_images_of(method: Any) -> None:
    x, y, classes = images(seed=1)
    small = {"hidden": 128} if "hidden" in method.params_type.model_fields else {}
    model, _ = train(
        method, epochs=40, batch_size=32, synthetic=6.0, softmax_epochs=5, softmax_lr=1e-2, lr=1e-3, **small
    )
    with torch.no_grad():
        unseen = model.scores(x, classes.unseen_only).argmax(dim=1) + SEEN == y
        every = model.scores(x, classes).argmax(dim=1) == y
    seen_images = classes.seen[y]
    assert unseen[~seen_images].float().mean() > 0.6  # chance: 1/3
    assert every[~seen_images].float().mean() > 0.4  # chance: 1/15
    assert every[seen_images].float().mean() > 0.3
