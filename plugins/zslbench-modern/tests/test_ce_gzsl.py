"""CE-GZSL: each loss recalculated in loops, the slope of its penalty, who trains what, and that it learns."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from problem import mapped
from torch import Tensor
from zslbench_modern.ce_gzsl import CEGZSL, CEGZSLParams, Comparator, instance_loss

from zslbench import Batch, ClassSet, TrainView
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, fit

SEEN, UNSEEN, IMAGES, ATTRIBUTES, FEATURES = 12, 3, 30, 6, 10
CPU = torch.device("cpu")
SMALL: dict[str, Any] = {"hidden": 16, "embedding": 8, "projection": 4}


def images(seed: int = 0) -> tuple[Tensor, Tensor, ClassSet]:
    """Features of every class, a linear map of its embedding plus noise; in [0, 1]."""
    x, y, classes = mapped(SEEN, UNSEEN, IMAGES, seed)
    return (x / 6 + 0.5).clamp(0, 1), y, classes


def view() -> TrainView:
    x, y, classes = images()
    seen = classes.seen[y]
    return TrainView("semantic-transductive", x[seen], y[seen], classes)


def batch(seed: int = 0, rows: int = 12) -> Batch:
    chosen = torch.arange(rows) * 37 % len(view().x)
    return Batch(view().x[chosen], view().y[chosen] // 3, view().classes, torch.Generator().manual_seed(seed))


def build(**values: Any) -> CEGZSL:
    with seeded(0, CPU):
        model = CEGZSL(CEGZSLParams(**{**SMALL, **values}))
        model.build(view().shape)
        model.solve(view())
    with torch.no_grad():  # weights begin so small that every contrast would be alike
        for parameter in model.parameters():
            parameter.mul_(10)
    return model


def contrast(z: list[list[float]], y: list[int], tau: float) -> float:
    """Eq. (5) with all images of the class as positives, in loops."""
    dot = lambda a, b: sum(p * q for p, q in zip(a, b, strict=True))  # noqa: E731
    each = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positive = [j for j in others if y[j] == y[i]]
        if positive:
            total = sum(math.exp(dot(z[i], z[j]) / tau) for j in others)
            each.append(sum(math.log(total) - dot(z[i], z[j]) / tau for j in positive) / len(positive))
    return sum(each) / len(each)


def embedded(model: CEGZSL, x: Tensor) -> Tensor:
    return torch.stack([(model.E.weight @ row + model.E.bias).clamp(min=0) for row in x])


def projected(model: CEGZSL, h: Tensor) -> list[list[float]]:
    rows = [model.H.weight @ row + model.H.bias for row in h]
    return [(row / row.norm()).tolist() for row in rows]


def compared(model: CEGZSL, h: Tensor, given: Batch, tau: float) -> float:
    """Eq. (8) in loops, over the seen classes alone."""
    surprises = []
    for row, y in zip(h, given.y.tolist(), strict=True):
        logits = []
        for c in range(SEEN):
            s = (given.classes.semantics[c] - model.semantic.shift) / model.semantic.divisor
            hidden = model.F.image.weight @ row + model.F.image.bias + model.F.semantic.weight @ s
            hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
            logits.append((model.F.second.weight @ hidden + model.F.second.bias).item() / tau)
        top = max(logits)
        surprises.append(top + math.log(sum(math.exp(v - top) for v in logits)) - logits[y])
    return sum(surprises) / len(surprises)


def test_the_contrast_of_images_is_that_of_the_paper() -> None:
    random = torch.Generator().manual_seed(1)
    z = torch.nn.functional.normalize(torch.randn(9, 4, generator=random), dim=1)
    y = [0, 0, 1, 2, 1, 0, 3, 1, 4]  # classes 2, 3 and 4 have one image each, which count as negatives alone
    assert instance_loss(z, torch.tensor(y), 0.3).item() == pytest.approx(contrast(z.tolist(), y, 0.3), rel=1e-5)


def test_images_without_another_of_their_class_give_no_contrast_and_a_finite_slope() -> None:
    z = torch.eye(3, requires_grad=True)
    loss = instance_loss(z, torch.arange(3), 0.1)
    assert loss.item() == 0
    assert torch.isfinite(torch.autograd.grad(loss, z)[0]).all()


def test_the_slope_of_the_contrast_is_that_of_finite_differences() -> None:
    z = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    y = torch.tensor([0, 1, 0, 1, 2, 0])
    assert torch.autograd.gradcheck(lambda z: instance_loss(z, y, 0.5), z)


def test_the_embeddings_losses_are_those_of_real_images_one_by_one() -> None:
    model, given = build(contrast=0.7, comparison=0.4, temperature=0.5), batch()
    losses = model.critic_loss(given)
    with torch.no_grad():
        h = embedded(model, model.visual(given.x))
        expected = 0.7 * contrast(projected(model, h), given.y.tolist(), 0.5)
        assert losses["instances"].item() == pytest.approx(expected, rel=1e-4)
        assert losses["classes"].item() == pytest.approx(0.4 * compared(model, h, given, 0.5), rel=1e-4)


def test_the_generators_losses_are_those_of_what_it_makes_one_by_one() -> None:
    model, given = build(instances=0.3, classes=0.6, temperature=0.5), batch(seed=4)
    losses = model.generator_loss(given)
    noise = torch.randn(len(given.y), ATTRIBUTES, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        s = (given.classes.semantics[given.y] - model.semantic.shift) / model.semantic.divisor
        fake = torch.stack([model.G(torch.cat([z, row])) for z, row in zip(noise, s, strict=True)])
        h, real = embedded(model, fake), embedded(model, model.visual(given.x))
        judged = [model.D.network(torch.cat([f, row])).item() for f, row in zip(fake, s, strict=True)]
        both = projected(model, h) + projected(model, real)
        assert losses["adv"].item() == pytest.approx(-sum(judged) / len(judged), rel=1e-4)
        expected = 0.3 * contrast(both, given.y.tolist() * 2, 0.5)
        assert losses["instances"].item() == pytest.approx(expected, rel=1e-4)
        assert losses["classes"].item() == pytest.approx(0.6 * compared(model, h, given, 0.5), rel=1e-4)


def test_the_critics_loss_and_its_penalty_are_those_of_slopes_by_finite_differences() -> None:
    model, given = build(gradient_penalty=3.0).double(), batch(seed=4)
    given = Batch(
        given.x.double(), given.y, ClassSet(given.classes.semantics.double(), *vars_of(given)), given.generator
    )
    losses = model.critic_loss(given)
    random = torch.Generator().manual_seed(4)
    with torch.no_grad():
        x, s = model.inputs(given)
        z = torch.randn(s.shape, generator=random, dtype=torch.float32)
        between = torch.rand(len(x), 1, generator=random)
        fake = model.G(torch.cat([z.double(), s], dim=1))
        distance = (model.D(fake, s) - model.D(x, s)).mean().item()
        slopes = []
        for f, r, c, t in zip(fake, x, s, between.double(), strict=True):
            point, step = t * r + (1 - t) * f, 1e-6
            moved = point + step * torch.eye(FEATURES, dtype=torch.float64)
            back = point - step * torch.eye(FEATURES, dtype=torch.float64)
            c = c.expand(FEATURES, -1)
            slopes.append(((model.D(moved, c) - model.D(back, c)) / (2 * step)).norm().item())
    assert losses["distance"].item() == pytest.approx(distance, rel=1e-6)
    assert losses["penalty"].item() == pytest.approx(3 * sum((v - 1) ** 2 for v in slopes) / len(slopes), rel=1e-4)


def vars_of(given: Batch) -> tuple[tuple[str, ...], Tensor]:
    return given.classes.names, given.classes.seen


def test_the_comparator_is_one_network_on_image_and_class_together() -> None:
    comparator = Comparator(3, 2, 5)
    h, s = torch.randn(4, 3), torch.randn(6, 2)
    weight = torch.cat([comparator.image.weight, comparator.semantic.weight], dim=1)
    for i in range(4):
        for c in range(6):
            hidden = weight @ torch.cat([h[i], s[c]]) + comparator.image.bias
            hidden = torch.where(hidden > 0, hidden, 0.2 * hidden)
            expected = comparator.second.weight @ hidden + comparator.second.bias
            assert comparator(h, s)[i, c].item() == pytest.approx(expected.item(), abs=1e-5)


def test_critic_and_embedding_learn_from_real_images_and_the_generator_alone_from_its_own() -> None:
    model = build()
    critic, generator = model.stages()[0].objectives
    owners = {id(parameter): name.partition(".")[0] for name, parameter in model.named_parameters()}
    assert {owners[id(parameter)] for parameter in critic.parameters} == {"D", "E", "H", "F"}
    assert {owners[id(parameter)] for parameter in generator.parameters} == {"G"}
    assert (critic.steps, generator.steps) == (5, 1)
    assert [(stage.name, stage.finishing) for stage in model.stages()] == [("generator", False), ("softmax", True)]
    embedding = model.critic_loss(batch())
    for term in ("instances", "classes"):
        assert torch.autograd.grad(embedding[term], model.E.weight, retain_graph=True)[0].abs().max() > 0


def test_unseen_classes_take_no_part_in_the_comparison() -> None:
    model, given = build(), batch()
    other = given.classes.semantics.clone()
    other[SEEN:] += 1
    moved = Batch(given.x, given.y, ClassSet(other, *vars_of(given)), given.generator)
    h = model.embedded(model.visual(given.x))
    assert torch.equal(model.class_loss(h, given), model.class_loss(h, moved))


def test_the_softmax_works_on_the_embedding_of_real_and_generated_features() -> None:
    model = build()
    x, _, classes = images(seed=1)
    made = model.synthesize(model.semantic(classes.semantics), torch.Generator().manual_seed(0))
    assert made.shape == (len(classes), SMALL["embedding"]) and made.min() >= 0
    expected = embedded(model, model.visual(x[::50])) @ model.softmax.weight.T + model.softmax.bias
    torch.testing.assert_close(model.scores(x[::50], classes), expected)


def test_it_learns_to_tell_classes_that_it_saw_no_image_of() -> None:
    with seeded(0, CPU):
        sizes = {"hidden": 64, "embedding": 64, "projection": 16, "batch_size": 32}
        model = CEGZSL(CEGZSLParams(**sizes, epochs=25, softmax_epochs=25))
        model.build(view().shape)
        fit(model, view(), 0, Fit(CPU))
    x, y, classes = images(seed=1)
    with torch.no_grad():
        among_unseen = model.scores(x[~classes.seen[y]], classes.unseen_only).argmax(dim=1) + SEEN
        among_seen = model.scores(x[classes.seen[y]], classes.seen_only).argmax(dim=1)
    assert (among_unseen == y[~classes.seen[y]]).float().mean() > 0.6  # chance is 1/3
    assert (among_seen == y[classes.seen[y]]).float().mean() > 0.6  # chance is 1/12
