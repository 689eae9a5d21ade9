"""The gate: its probabilities recalculated one by one, what trains it, and what it may see."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from problem import mapped
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from zslbench_modern.gate import Gate, GateParams, SeenClassifier, highest, sharpness

from zslbench import ClassSet, Member, NotApplicable, TrainView
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, fit

SEEN, UNSEEN, IMAGES = 12, 4, 20
CPU = torch.device("cpu")


def images(seed: int = 0) -> tuple[Tensor, Tensor, ClassSet]:
    """Features of every class, a linear map of its embedding plus noise."""
    return mapped(SEEN, UNSEEN, IMAGES, seed)


def view() -> TrainView:
    x, y, classes = images()
    seen = classes.seen[y]
    return TrainView("inductive", x[seen], y[seen], classes.seen_only)


def trained(seed: int = 0, **values: Any) -> Gate:
    with seeded(seed, CPU):
        gate = Gate(GateParams(**values))
        gate.build(view().shape)
        fit(gate, view(), seed, Fit(CPU))
    return gate


def experts(gate: Gate, x: Tensor, classes: ClassSet) -> list[np.ndarray]:
    """The scores of either expert among the classes of its side, in float64."""
    with torch.no_grad():
        return [
            gate.unseen.scores(x, classes.unseen_only).double().numpy(),
            gate.seen.scores(x, classes.seen_only).double().numpy(),
        ]


@pytest.mark.parametrize("smoothing", [True, False])
def test_a_score_is_the_logarithm_of_the_total_probability(smoothing: bool) -> None:
    """Image by image and class by class, as the docstring has it; and the probabilities of all classes sum to 1."""
    gate = trained(smoothing=smoothing, top=3)
    x, _, classes = images(seed=1)
    x = x[::23]
    with torch.no_grad():
        scores = gate.scores(x, classes).double().numpy()
    sharp = gate.inverse_temperatures.double().numpy()
    for image, (u, s) in enumerate(zip(*experts(gate, x, classes), strict=True)):
        p_u, p_s = softmax(sharp[0] * u), softmax(sharp[1] * s)
        seen = [*sorted(p_u)[::-1][:3], *sorted(softmax(sharp[1] * s / 3.0))[::-1][:3]]
        gate_u = expit(np.dot(seen, gate.gate_weight.double().numpy()) + gate.gate_bias.item())
        if smoothing:
            p_u = gate_u * p_u + (1 - gate_u) / UNSEEN
            p_s = (1 - gate_u) * p_s + gate_u / SEEN
        expected = [*((1 - gate_u) * p_s), *(gate_u * p_u)]  # seen classes come first
        np.testing.assert_allclose(np.exp(scores[image]), expected, rtol=1e-4, atol=1e-9)
        assert math.fsum(expected) == pytest.approx(1)


def test_where_one_side_alone_can_be_chosen_its_expert_decides() -> None:
    gate = trained()
    x, _, classes = images(seed=1)
    for side, own in enumerate((classes.unseen_only, classes.seen_only)):
        expected = softmax(gate.inverse_temperatures[side].item() * experts(gate, x, classes)[side], axis=1)
        np.testing.assert_allclose(gate.scores(x, own).exp().numpy(), expected, rtol=1e-3, atol=1e-6)


def test_the_gate_is_the_balanced_regression_on_what_the_experts_of_a_part_say_of_the_rest() -> None:
    """The same steps by hand, with the random numbers that the run draws."""
    gate = trained(seed=5, unseen="sae", top=2)
    with seeded(5, CPU):
        again = Gate(GateParams(unseen="sae", top=2))
        again.build(view().shape)
        cut = view().cut(0.25)
        unseen, seen = again._experts()
        unseen.fit(cut.train)
        seen.fit(cut.train)
    rows, is_unseen = [], []
    novel = len(cut.train.classes)
    with torch.no_grad():
        among_unseen = unseen.scores(cut.x, cut.classes.unseen_only).double()
        among_seen = seen.scores(cut.x, cut.classes.seen_only).double()
    sharp = gate.inverse_temperatures.double()
    for u, s, y in zip(among_unseen, among_seen, cut.y.tolist(), strict=True):
        p, q = (sharp[0] * u).softmax(0), (sharp[1] / 3.0 * s).softmax(0)
        rows.append([*p.sort(descending=True).values[:2].tolist(), *q.sort(descending=True).values[:2].tolist()])
        is_unseen.append(y >= novel)
    regression = LogisticRegression(C=1.0, class_weight="balanced", max_iter=1000, tol=1e-8)
    expected = make_pipeline(StandardScaler(), regression).fit(rows, is_unseen).decision_function(rows)
    with torch.no_grad():
        odds = (gate._confidences(among_unseen, among_seen) @ gate.gate_weight.double() + gate.gate_bias).numpy()
    np.testing.assert_allclose(odds, expected, atol=0.02 * np.abs(expected).max())


def test_it_tells_seen_from_unseen_images_and_beats_its_unseen_expert_on_the_seen_ones() -> None:
    gate = trained()
    x, y, classes = images(seed=1)
    with torch.no_grad():
        chosen = gate.scores(x, classes).argmax(dim=1)
        expert = gate.unseen.scores(x, classes).argmax(dim=1)
    is_seen = classes.seen[y]
    sided = (classes.seen[chosen] == is_seen).float()
    assert (sided[is_seen].mean() + sided[~is_seen].mean()) / 2 > 0.65  # chance is 0.5
    right, before = (chosen == y).float(), (expert == y).float()
    assert right[is_seen].mean() > before[is_seen].mean()


@pytest.mark.parametrize(("scores", "b"), [([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 0.0]], math.log(3) / 2)])
def test_the_inverse_temperature_is_the_most_likely_one(scores: list[list[float]], b: float) -> None:
    """Three of four images right with a margin of 2: sigmoid(2 b) = 3/4."""
    assert sharpness(torch.tensor(scores), torch.tensor([0, 1, 0, 1])) == pytest.approx(b, rel=1e-3)


def test_the_inverse_temperature_makes_up_for_the_unit_of_the_scores() -> None:
    scores, y = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 4
    scores[torch.arange(50), y] += 1
    assert sharpness(1e4 * scores, y) * 1e4 == pytest.approx(sharpness(scores, y), rel=1e-2)


def test_the_highest_probabilities_come_in_order_and_missing_ones_are_zero() -> None:
    found = highest(torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor(1.0), 4)[0].tolist()
    total = sum(map(math.exp, (0, 1, 2)))
    assert found == pytest.approx([math.exp(2) / total, math.exp(1) / total, 1 / total, 0.0])


def test_the_seen_classifier_minimises_its_objective() -> None:
    """The gradient of C times the summed cross-entropy plus |W|^2 / 2, by autograd, is nothing at the solution."""
    classifier = SeenClassifier(0.3)
    classifier.fit(view())
    x = view().x.double()
    x = (x - x.mean(dim=0)) / (x - x.mean(dim=0)).square().mean().sqrt()
    own = view().x.double()
    unit = (own - own.mean(dim=0)).square().mean().sqrt()
    W = (classifier.W.double() * unit).requires_grad_()
    b = (classifier.b.double() + classifier.W.double() @ own.mean(dim=0)).requires_grad_()
    images = torch.nn.functional.cross_entropy(x @ W.T + b, view().y, reduction="sum")
    gradient = torch.autograd.grad(0.3 * images + W.square().sum() / 2, (W, b))
    alone = torch.autograd.grad(W.square().sum() / 2, W)[0]  # one of the two forces that balance
    assert gradient[0].norm() < 1e-2 * alone.norm()
    assert gradient[1].abs().max() < 0.05


def test_any_two_methods_can_be_experts() -> None:
    gate = trained(unseen="devise:epochs=2:margin=0.5", seen="sae")
    assert isinstance(gate.seen, Member) and gate.unseen.named.params.margin == 0.5
    x, _, classes = images(seed=1)
    assert torch.isfinite(gate.scores(x, classes)).all()


def test_an_expert_that_cannot_choose_among_unseen_classes_says_so() -> None:
    with pytest.raises(NotApplicable, match=r"CMT\*"):
        trained(unseen="cmt-star:epochs=2")
