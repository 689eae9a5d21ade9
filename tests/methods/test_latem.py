"""LATEM: scores and loss against loops, frequencies of the drawn classes, pruning on constructed maps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import build, same, toy_view, train, weights

from zslbench.api.embedder import Batch, Embedder
from zslbench.api.progress import Progress
from zslbench.api.views import ClassSet, TrainView
from zslbench_methods.latem import LATEM, LATEMParams

VIEW = toy_view(seed=2)


def latem(view: TrainView, maps: list[Tensor], **values: bool) -> LATEM:
    """A model with these maps, each `(A, D)`."""
    model = build(LATEM, LATEMParams(K=len(maps), **values), view)
    assert isinstance(model, LATEM)
    with torch.no_grad():
        model.W.weight.copy_(torch.cat(maps))
    return model


def maps_of(model: Embedder) -> list[Tensor]:
    return list(model.W.weight.detach().split(model.W.weight.shape[0] // model.params.K))


def random_maps(count: int, view: TrainView = VIEW) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return list(torch.randn(count, view.semantics.shape[1], view.x.shape[1], generator=generator))


def identity_view(scores: list[list[float]], y: list[int]) -> TrainView:
    """Features are scores and classes unit vectors, so that the map 1 gives the scores themselves."""
    x = torch.tensor(scores)
    classes = ClassSet(torch.eye(x.shape[1]), tuple(map(str, range(x.shape[1]))), torch.ones(x.shape[1]).bool())
    return TrainView("inductive", x, torch.tensor(y), classes)


def batch_of(view: TrainView, seed: int = 0) -> Batch:
    return Batch(view.x, view.y, view.classes, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_score_is_that_of_the_best_bilinear_map(count: int) -> None:
    maps = random_maps(count)
    scores = latem(VIEW, maps).scores(VIEW.x[:6], VIEW.classes).detach().numpy()
    x, s = VIEW.x[:6].double().numpy(), VIEW.semantics.double().numpy()
    for image in range(6):
        for c in range(len(s)):
            best = max(float(s[c] @ W.double().numpy() @ x[image]) for W in maps)
            assert scores[image, c] == pytest.approx(best, rel=1e-4, abs=1e-5)


def test_k_maps_are_trained_and_stay_different() -> None:
    model, _ = train(LATEM, LATEMParams(K=3, epochs=3), VIEW)
    maps = maps_of(model)
    assert [tuple(W.shape) for W in maps] == [(VIEW.semantics.shape[1], VIEW.x.shape[1])] * 3
    assert sum(p.numel() for p in model.parameters()) == 3 * maps[0].numel()
    assert min(float((maps[i] - maps[j]).abs().max()) for i in range(3) for j in range(i)) > 1e-3


def test_each_wrong_class_is_drawn_equally_often_and_the_true_class_never() -> None:
    view = identity_view([[0.5, 0.0, 0.25, 1.0, 0.75]], [2])
    model, batch = latem(view, [torch.eye(5)]), batch_of(view)
    expected = {1.25: 1 / 4, 0.75: 1 / 4, 1.75: 1 / 4, 1.5: 1 / 4}  # 1 + F(x, c) - F(x, y) of classes 0, 1, 3, 4
    draws = 4000
    found = Counter(float(model.loss(batch).detach()) for _ in range(draws))
    assert found.keys() == expected.keys()
    for value, probability in expected.items():
        assert abs(found[value] / draws - probability) <= 5 * np.sqrt(probability * (1 - probability) / draws)


def test_the_expected_loss_is_the_mean_hinge_over_wrong_classes() -> None:
    maps = random_maps(3)
    images = [n % 20 for n in range(20_000)]  # each draws for itself
    view = VIEW.with_features(VIEW.x[images], None)
    view = TrainView("inductive", view.x, VIEW.y[images], VIEW.classes)
    x, y, s = VIEW.x[:20].double().numpy(), VIEW.y[:20].tolist(), VIEW.semantics.double().numpy()
    F = np.max([s @ W.double().numpy() @ x.T for W in maps], axis=0).T
    hinges = [[max(0.0, 1 + F[n, c] - F[n, y[n]]) for c in range(len(s)) if c != y[n]] for n in range(20)]
    deviation = np.sqrt(np.mean(np.var(hinges, axis=1)) / len(images))
    assert np.var(hinges) > 0.01
    assert float(latem(view, maps).loss(batch_of(view)).detach()) == pytest.approx(np.mean(hinges), abs=5 * deviation)


def test_only_the_maps_that_scored_are_changed() -> None:
    """Of three maps the first is best for the true class, the second for the wrong one."""
    view = identity_view([[3.0, 0.0]], [0])
    maps = [torch.tensor(W) for W in ([[0.5, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.9, 0.0]], [[0.4, 0.0], [0.8, 0.0]])]
    model = latem(view, maps)
    loss = model.loss(batch_of(view))
    assert float(loss.detach()) == pytest.approx(1 + 2.7 - 1.5)
    (gradient,) = torch.autograd.grad(loss, model.W.weight)
    assert gradient.tolist() == [[-3, 0], [0, 0], [0, 0], [3, 0], [0, 0], [0, 0]]


def winners(counts: list[int]) -> tuple[TrainView, list[Tensor]]:
    """Images for which map i fits best `counts[i]` times: x is a unit vector and map i sees only its i-th entry."""
    x = torch.eye(len(counts)).repeat_interleave(torch.tensor(counts), dim=0)
    classes = ClassSet(torch.tensor([[0.6, 0.8], [0.8, 0.6]]), ("a", "b"), torch.ones(2).bool())
    maps = [torch.eye(len(counts))[i].expand(2, -1) for i in range(len(counts))]
    return TrainView("inductive", x, torch.arange(len(x)) % 2, classes), maps


def test_a_map_that_wins_too_little_is_dropped_after_the_fifth_epoch() -> None:
    view, maps = winners([60, 36, 4])
    model = latem(view, maps, pruned=True)
    before = model.scores(view.x, view.classes)
    for epoch in range(1, 5):
        model.epoch_ended(view, epoch)
        assert model.alive.tolist() == [True, True, True]
    model.epoch_ended(view, 5)
    assert model.alive.tolist() == [True, True, False]
    after = model.scores(view.x, view.classes)
    assert torch.equal(after[:96], before[:96])
    assert before[96:].min() > 1 and after[96:].tolist() == [[0.0, 0.0]] * 4  # what the other two maps say
    model.epoch_ended(view, 10)
    assert model.alive.tolist() == [True, True, False]  # it would win again


@pytest.mark.parametrize(("wins", "stays"), [(0, False), (6, False), (7, True), (8, True)])
def test_the_least_share_is_five_per_cent_of_the_training_images(wins: int, stays: bool) -> None:
    view, maps = winners([140 - wins, wins])
    model = latem(view, maps, pruned=True)
    model.epoch_ended(view, 5)
    assert model.alive.tolist() == [True, stays]


def test_the_share_counts_images_beyond_the_first_thousand() -> None:
    view, maps = winners([2000, 400, 60])
    model = latem(view, maps, pruned=True)
    model.epoch_ended(view, 5)
    assert model.alive.tolist() == [True, True, False]


def test_the_map_with_most_wins_always_stays() -> None:
    view, maps = winners([2] * 12 + [3] + [2] * 18)  # all below 5 %
    model = latem(view, maps, pruned=True)
    model.epoch_ended(view, 5)
    assert model.alive.nonzero().flatten().tolist() == [12]
    assert torch.isfinite(model.scores(view.x, view.classes)).all()


def test_a_fixed_number_of_maps_is_never_pruned() -> None:
    view, maps = winners([96, 4])
    model = latem(view, maps)
    model.epoch_ended(view, 5)
    assert model.alive.all()


class Killed(Exception):
    pass


@pytest.mark.parametrize("done", [4, 6, 11])
def test_pruned_training_that_was_killed_ends_as_if_left_alone(done: int, tmp_path: Path) -> None:
    def kill(progress: Progress) -> None:
        if progress.epoch > done:
            raise Killed

    params, path = LATEMParams(K=16, pruned=True, epochs=12, batch_size=16, lr=0.5), tmp_path / "state.safetensors"
    whole, fitted = train(LATEM, params, VIEW)
    assert 1 <= int(whole.alive.sum()) < 16
    with pytest.raises(Killed):
        train(LATEM, params, VIEW, checkpoint=path, checkpoint_seconds=0, on_epoch=kill)
    resumed, again = train(LATEM, params, VIEW, checkpoint=path, checkpoint_seconds=0)
    assert same(weights(resumed), weights(whole)) and again.losses == fitted.losses
    assert torch.equal(resumed.alive, whole.alive)


@pytest.mark.parametrize("pruned", [False, True])
def test_it_separates_the_training_classes(pruned: bool) -> None:
    view = toy_view(noise=0.02)
    model, _ = train(LATEM, LATEMParams(K=8, pruned=pruned, epochs=60, batch_size=16), view)
    accuracy = (model.scores(view.x, view.classes).argmax(dim=1) == view.y).float().mean()
    assert accuracy > 0.5  # chance: 1/7


def test_maps_start_with_differences_of_a_tenth_of_the_margin_and_in_axes_of_the_seen_classes() -> None:
    for margin in (0.5, 4.0):
        model = build(LATEM, LATEMParams(K=200, margin=margin), VIEW)
        assert isinstance(model, LATEM)
        model.solve(VIEW)
        by_map = model.scores_by_map(VIEW.x, VIEW.classes).detach()
        differences = (by_map - by_map.mean(dim=2, keepdim=True)).square().mean().sqrt()
        assert float(differences) == pytest.approx(0.1 * margin, rel=0.2)
        assert (
            float((model.basis.T @ model.basis).fill_diagonal_(0).abs().max())
            < 1e-6 * float(model.basis.max()) ** 2 + 1e-6
        )
