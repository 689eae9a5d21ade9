"""CMT and CMT*: the loss by numpy, both gates against the published formulas, and the decisions that they lead to."""

from __future__ import annotations

from math import erf, log, pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from planned import execute, plan
from scipy.stats import multivariate_normal
from torch import Tensor
from toy import build, same, toy_data, toy_view, train, weights

from zslbench import Batch, ClassSet, NotApplicable, TrainView
from zslbench.records.record import RunRecord
from zslbench.runs.request import Request
from zslbench_methods.cmt import CMT, CMTParams, CMTStar, CMTStarParams
from zslbench_methods.novelty import LAMBDA, NEIGHBOURS, ClassGaussians, LocalOutliers

Array = NDArray[np.float64]
VIEW = toy_view(seed=5)
DATA = toy_data(seed=5)
GATES = ["gaussian", "loop"]


def star(gate: str = "gaussian", rejected: float = 0.2, **values: Any) -> CMTStar:
    """A briefly trained model with its gate."""
    params = CMTStarParams(gate=gate, rejected=rejected, epochs=3, batch_size=16, hidden=8, **values)
    return train(CMTStar, params, VIEW)[0]


def images_and_classes() -> tuple[Tensor, ClassSet]:
    """Some images of all classes, and the classes, those without training images last."""
    view = DATA.test_view()
    return view.x(slice(0, len(view))), view.classes


def test_cmt_maps_by_two_layers_and_pays_the_squared_distance() -> None:
    model = build(CMT, CMTParams(hidden=3), VIEW)
    w2, w1 = (w.detach().double().numpy() for w in (model.network[0].weight, model.network[2].weight))
    assert [name for name, _ in model.named_parameters()] == ["network.0.weight", "network.2.weight"]
    x, y, s = VIEW.x[:9].double().numpy(), VIEW.y[:9].numpy(), VIEW.semantics.double().numpy()
    mapped = np.array([w1 @ np.tanh(w2 @ image) for image in x])
    assert model.embed(VIEW.x[:9]).detach().numpy() == pytest.approx(mapped, abs=1e-5)
    expected = sum(sum((s[c] - point) ** 2) for c, point in zip(y, mapped, strict=True)) / 9
    batch = Batch(VIEW.x[:9], VIEW.y[:9], VIEW.classes, torch.Generator())
    assert float(model.loss(batch).detach()) == pytest.approx(expected, rel=1e-5)
    scores = model.scores(VIEW.x[:9], VIEW.classes).detach().numpy()
    assert scores == pytest.approx(np.array([[-sum((c - point) ** 2) for c in s] for point in mapped]), abs=1e-5)


def test_cmt_by_hand() -> None:
    classes = ClassSet(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), ("a", "b"), torch.tensor([True, True]))
    view = TrainView("inductive", torch.tensor([[0.0], [1.0]]), torch.tensor([0, 1]), classes)
    model = build(CMT, CMTParams(hidden=1), view)
    with torch.no_grad():
        model.network[0].weight.fill_(0.5493061443)  # tanh of it is 1/2
        model.network[2].weight.copy_(torch.tensor([[2.0], [4.0]]))
        assert model.scores(view.x, classes).tolist() == [
            pytest.approx([-1.0, -1.0]),  # at (0, 0)
            pytest.approx([-4.0, -2.0]),  # at (1, 2)
        ]
        assert float(model.loss(Batch(view.x, view.y, classes, torch.Generator()))) == pytest.approx((1.0 + 2.0) / 2)


def test_cmt_learns_the_class_embeddings() -> None:
    model, fitted = train(CMT, CMTParams(epochs=60, batch_size=16, lr=0.02, hidden=16, weight_decay=0.0), VIEW)
    assert fitted.losses[-1]["loss"] < 0.1 * float(VIEW.semantics.square().sum(dim=1).mean())
    accuracy = (model.scores(VIEW.x, VIEW.classes).argmax(dim=1) == VIEW.y).float().mean()
    assert accuracy > 0.7  # chance: 1/7


def clusters(seed: int = 0, size: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Points of four classes of unequal spread and number, their classes, and centres beside their means."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(4), [40, 25, 30, 15])
    centres = random.normal(size=(4, size))
    points = centres[y] + 0.1 + random.normal(size=(len(y), size)) * np.array([0.1, 0.5, 0.3, 1.0])[y, None]
    return torch.from_numpy(points).float(), torch.from_numpy(y), torch.from_numpy(centres).float()


def test_gaussian_novelty_is_minus_the_highest_log_density_of_scipy() -> None:
    points, y, centres = clusters()
    gate, novelty = ClassGaussians.fit(points, y, centres)
    p, c, m = points.double().numpy(), y.numpy(), centres.double().numpy()
    variances = [np.mean([np.sum((p[i] - m[k]) ** 2) / 3 for i in np.flatnonzero(c == k)]) for k in range(4)]
    fresh = np.random.default_rng(1).normal(size=(50, 3))
    for given, found in ((p, novelty), (fresh, gate(torch.from_numpy(fresh).float()))):
        densities = [multivariate_normal(m[k], variances[k] * np.eye(3)).logpdf(given) for k in range(4)]
        assert found.numpy() == pytest.approx(-np.max(densities, axis=0), rel=1e-4, abs=1e-4)


def test_gaussian_novelty_by_hand() -> None:
    gate, novelty = ClassGaussians.fit(
        torch.tensor([[1.0], [3.0], [9.0]]), torch.tensor([0, 0, 1]), torch.tensor([[2.0], [7.0]])
    )
    assert gate.variances.tolist() == [1.0, 4.0]
    wide = log(2 * pi * 4) / 2
    assert novelty.tolist() == pytest.approx([log(2 * pi) / 2 + 1 / 2] * 2 + [wide + 1 / 2])
    assert gate(torch.tensor([[5.0]])).tolist() == pytest.approx(
        [wide + 1 / 2]
    )  # nearer to the wide class in deviations


def loop_probability(point: Array, points: Array, itself: int = -1) -> float:
    """LoOP of Kriegel, Kröger, Schubert & Zimek (CIKM 2009), written as they define it, one point at a time."""
    everyone = range(len(points))

    def context(o: Array, leave_out: int) -> list[int]:
        return sorted((i for i in everyone if i != leave_out), key=lambda i: float(np.linalg.norm(o - points[i])))[
            :NEIGHBOURS
        ]

    def pdist(o: Array, leave_out: int) -> float:
        return LAMBDA * sqrt(sum(np.linalg.norm(o - points[s]) ** 2 for s in context(o, leave_out)) / NEIGHBOURS)

    own = [pdist(points[i], i) for i in everyone]

    def plof(o: Array, leave_out: int) -> float:
        return float(pdist(o, leave_out) / np.mean([own[s] for s in context(o, leave_out)]) - 1)

    nplof = LAMBDA * sqrt(np.mean([plof(points[i], i) ** 2 for i in everyone]))
    return max(0.0, erf(plof(point, itself) / (nplof * sqrt(2))))


def test_loop_is_its_published_formulas() -> None:
    points, _, _ = clusters(size=2)
    points = points[::2]
    gate, novelty = LocalOutliers.fit(points)
    p = points.double().numpy()
    found = (novelty / 2**0.5).erf().clamp(min=0)
    some = [0, 7, 30, 54]
    assert [float(found[i]) for i in some] == pytest.approx([loop_probability(p[i], p, i) for i in some], abs=1e-5)
    fresh = np.random.default_rng(1).normal(size=(4, 2)) * 2
    found = (gate(torch.from_numpy(fresh)) / 2**0.5).erf().clamp(min=0)
    assert found.tolist() == pytest.approx([loop_probability(point, p) for point in fresh], abs=1e-5)
    assert max(found) > 0.3 and len({round(float(value), 4) for value in found}) > 2


def test_loop_does_not_depend_on_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _, _ = clusters()
    whole = LocalOutliers.fit(points)[1]
    monkeypatch.setattr("zslbench_methods.novelty.POINTS_AT_ONCE", 7)
    assert LocalOutliers.fit(points)[1].numpy() == pytest.approx(whole.numpy(), abs=1e-6)


def test_both_detectors_survive_points_that_coincide() -> None:
    points, y, centres = torch.ones(30, 3), torch.arange(30) % 3, torch.ones(4, 3)  # and a class without points
    for gate, novelty in (ClassGaussians.fit(points, y, centres), LocalOutliers.fit(points)):
        assert novelty.isfinite().all()
        assert gate(torch.zeros(2, 3)).isfinite().all()
        assert (gate(torch.zeros(2, 3)) > novelty.max()).all()


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("rejected", [0.05, 0.5])
def test_the_gate_rejects_its_share_of_the_training_images(gate: str, rejected: float) -> None:
    model = star(gate, rejected)
    with torch.no_grad():
        mapped = model.embed(VIEW.x)
    fit = {
        "gaussian": lambda: ClassGaussians.fit(mapped, VIEW.y, VIEW.semantics),
        "loop": lambda: LocalOutliers.fit(mapped),
    }
    novelty = fit[gate]()[1]
    assert float((novelty > model.tau).float().mean()) == pytest.approx(rejected, abs=1 / len(novelty))


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("rejected", [0.02, 0.2, 0.8])
def test_novel_images_go_to_the_nearest_unseen_class_and_the_others_to_the_nearest_seen(
    gate: str, rejected: float
) -> None:
    model = star(gate, rejected)
    _, classes = images_and_classes()
    order = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0)).tolist()
    classes = classes.select(order)
    x = torch.randn(400, VIEW.x.shape[1], generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mapped, decided = model.embed(x), model.scores(x, classes).argmax(dim=1)
        novel = model.gate(mapped) > model.tau
    distances = np.array([[np.linalg.norm(f - s) for s in classes.semantics.numpy()] for f in mapped.numpy()])
    seen = classes.seen.numpy()
    nearest = {side: np.where(seen == side, distances, np.inf).argmin(axis=1) for side in (True, False)}
    assert decided.tolist() == np.where(novel.numpy(), nearest[False], nearest[True]).tolist()
    if rejected == 0.2:
        assert 0 < int(novel.sum()) < len(x)  # both ways were taken


@pytest.mark.parametrize("gate", GATES)
def test_calibration_moves_the_threshold_of_the_gate(gate: str) -> None:
    model = star(gate)
    x, classes = images_and_classes()
    with torch.no_grad():
        scores, novelty = model.scores(x, classes), model.gate(model.embed(x))
    for shift in (-1.0, 0.0, 0.25, 2.0):
        to_unseen = (scores - shift * classes.seen)[:, ~classes.seen].amax(dim=1) > (scores - shift * classes.seen)[
            :, classes.seen
        ].amax(dim=1)
        assert to_unseen.tolist() == (novelty > model.tau - shift).tolist()


def test_classes_of_a_side_are_ranked_as_by_cmt() -> None:
    model = star()
    x, classes = images_and_classes()
    with torch.no_grad():
        gated, plain = model.scores(x, classes), CMT.scores(model, x, classes)
    for side in (classes.seen, ~classes.seen):
        difference = (gated - plain)[:, side]
        assert (difference - difference[:, :1]).abs().max() < 1e-5


def test_among_unseen_classes_only_there_is_nothing_to_gate() -> None:
    model = star()
    x, classes = images_and_classes()
    with pytest.raises(NotApplicable, match="no U->U"):
        model.scores(x, classes.unseen_only)
    with torch.no_grad():
        assert model.scores(x, classes.seen_only).isfinite().all()


@pytest.mark.parametrize("gate", GATES)
def test_weights_and_a_new_finish_give_the_same_scores(gate: str) -> None:
    model = star(gate)
    other = build(CMTStar, model.params, VIEW, seed=9)
    other.load_state_dict(weights(model))
    x, classes = images_and_classes()
    with torch.no_grad():
        other.finish(VIEW)
        assert torch.equal(other.scores(x, classes), model.scores(x, classes))


def test_the_gate_does_not_touch_what_cmt_learns() -> None:
    common: dict[str, Any] = {"epochs": 2, "batch_size": 16, "hidden": 8}
    plain, gated = train(CMT, CMTParams(**common), VIEW)[0], train(CMTStar, CMTStarParams(**common), VIEW)[0]
    assert same(weights(plain), weights(gated))


def run(row: str, root: Path) -> RunRecord:
    """Runs without the fit on validation classes that calibration takes."""
    (planned,) = plan([row], ["awa1"], Request(root=root, features="bow512", calibrated=False))
    return execute(planned.runs[0])[0]


def test_on_real_features_cmt_recognises_unseen_classes_and_a_gate_lets_more_of_them_through(real_data: Path) -> None:
    cmt, star = run("cmt", real_data), run("cmt-star:rejected=0.5", real_data)
    assert cmt.metrics["acc_uu"] >= 0.2  # chance: 0.1
    assert "acc_uu" not in star.metrics and "CMT*" in star.not_applicable["zsl"]
    assert star.metrics["acc_ut"] > 1.3 * cmt.metrics["acc_ut"]
    assert star.metrics["acc_st"] < cmt.metrics["acc_st"]
