"""Fits that are trained as one: each is what it would be alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from players import Pair, Plain, Slope
from stacking import CPU, apart, as_one, double, work
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from toy import toy_view

import zslbench
from zslbench import interruption
from zslbench.api.embedder import Batch, Embedder, GradientParams
from zslbench.api.params import param
from zslbench.api.views import ProblemShape, TrainView
from zslbench.discovery.plugins import registry
from zslbench.errors import RunError
from zslbench.runs.problem import Problem
from zslbench.runs.resolve import method_class
from zslbench.runs.scaling import own_scaling
from zslbench.training import lockstep, rehearsal
from zslbench.training.trainer import Fit

GRADIENT = [
    name
    for name in registry().names("method")
    if issubclass((own := method_class(name)).params_type, GradientParams)
    and own.input == "features"
    and registry().entry("method", name).plugin.endswith(":methods")
]
VARIANTS = [
    ("spaen", {"dropout": 0.2, "negative": "violating", "training": "joint", "anchor": 0.1}),
    ("spaen", {"target": "gaussian", "critic_sigmoid": True, "negative": "random"}),
    ("spaen", {"target": "shuffled", "beta": 0.3, "hidden": 0, "activate_output": True}),
    ("latem", {"pruned": True, "K": 6, "optimizer": "sgd"}),
    ("cmt", {"optimizer": "adamw", "weight_decay": 0.1, "clip_norm": 0.01}),
    ("cmt", {"optimizer": "amsgrad", "clip_norm": 0.1, "clip_each": True, "schedule": "cosine"}),
    ("sse", {"transform": "relu", "schedule": "plateau"}),
]


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is known of what can be stacked."""
    for name in ("_refused", "_tried", "_mixed", "_sizes"):
        monkeypatch.setattr(rehearsal, name, {})
    with_dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(with_dtype)


def digits(method: type[Embedder[Any]], fold: int) -> TrainView:
    return Problem.of(zslbench.load("digits"), "inductive", own_scaling(method), (fold,)).train


def settings(method: type[Embedder[Any]], count: int, **given: Any) -> list[dict[str, Any]]:
    """Other values for each fit, of all that tuning varies and is of type float."""
    space = method.params_type.search_space()
    able = [name for name, own in space.items() if own.choices is None and not own.integer and name not in given]
    base = method.params_type(**given)
    return [{**given, **{name: getattr(base, name) * (1 + 0.1 * i) for name in able}} for i in range(count)]


@pytest.mark.parametrize(("name", "given"), [*((name, {}) for name in GRADIENT), *VARIANTS])
def test_weights_after_an_epoch_are_those_of_each_fit_alone(name: str, given: dict[str, Any]) -> None:
    torch.set_default_dtype(torch.float64)
    method = method_class(name)
    views = [double(digits(method, fold)) for fold in (0, 1)]
    chosen = settings(method, 4, epochs=1, **given)
    works = [work(method, views[i % 2], seed=i, **own) for i, own in enumerate(chosen)]
    alone = [one() for one in works]
    stacked = as_one(works, most=4)
    assert [fitted.stacked for _, fitted in stacked] == [4] * 4, list(rehearsal._refused.values())
    for (a, before), (b, after) in zip(alone, stacked, strict=True):
        assert apart(a, b) < 1e-5
        for own, other in zip(before.losses, after.losses, strict=True):
            assert other == pytest.approx(own, rel=1e-5)


def test_the_methods_are_all_tried() -> None:
    assert {"ale", "cmt", "cmt-star", "devise", "latem", "sje", "spaen", "sse"} <= set(GRADIENT)


@pytest.mark.parametrize("method", [Plain, Pair])
def test_dropout_and_random_negatives_are_drawn_as_each_fit_would(method: type[Embedder[Any]]) -> None:
    torch.set_default_dtype(torch.float64)
    view = double(toy_view())
    works = [work(method, view, seed=i, epochs=3, batch_size=16, lr=0.01 * (i + 1)) for i in range(5)]
    for (a, _), (b, fitted) in zip([one() for one in works], as_one(works), strict=True):
        assert fitted.stacked == 5
        assert apart(a, b) < 1e-9


def test_each_fit_has_its_own_end() -> None:
    view = toy_view()

    def how(best: int) -> Fit:
        epochs = iter(range(1, 100))
        return Fit(CPU, watch=lambda model: {"m": -abs(next(epochs) - best)}, stop_on="m")

    def works() -> list[Any]:
        stops = [work(Plain, view, i, how(best), epochs=30, patience=2) for i, best in enumerate((3, 5, 11))]
        return [*stops, *(work(Plain, view, i, epochs=count) for i, count in enumerate((1, 4, 9)))]

    alone, stacked = [one() for one in works()], as_one(works())
    assert [fitted.epochs for _, fitted in stacked] == [3, 5, 11, 1, 4, 9]
    for (a, before), (b, after) in zip(alone, stacked, strict=True):
        assert len(before.losses) == len(after.losses)
        assert before.watched == after.watched
        assert apart(a, b) < 1e-3


def test_fits_of_other_shapes_train_beside_each_other() -> None:
    view = toy_view()
    works = [work(method_class("cmt"), view, i, epochs=2, hidden=hidden) for i, hidden in enumerate((8, 16) * 4)]
    for (a, _), (b, fitted) in zip([one() for one in works], as_one(works), strict=True):
        assert fitted.stacked == 4
        assert apart(a, b) < 1e-4


def test_one_that_fails_costs_itself_alone() -> None:
    view = toy_view()
    works = [work(Plain, view, i, epochs=3, lr=lr, optimizer="sgd") for i, lr in enumerate((0.01, 1e30, 0.02, 0.03))]
    first, failed, *others = as_one(works)
    assert isinstance(failed, RunError) and "NaN or infinite" in str(failed)
    for (a, _), (b, _) in zip([works[0](), works[2](), works[3]()], [first, *others], strict=True):
        assert apart(a, b) < 1e-4


class BranchParams(GradientParams):
    power: float = param(1.0, "of the loss", search=(0.5, 2.0), gt=0)


class Branch(Embedder[BranchParams]):
    """A method whose loss asks a tensor, which no stack can answer."""

    def build(self, shape: ProblemShape) -> None:
        self.W = nn.Linear(shape.features, shape.attributes)

    def embed(self, x: Tensor) -> Tensor:
        return self.W(x)

    def loss(self, batch: Batch) -> Tensor:
        error = (self.W(batch.x) - batch.s).square().mean()
        return error if error > 0.5 else 2 * error


class Early(Branch):
    """A method that keeps a hyper-parameter where it is out of sight."""

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.power = [self.params.power]

    def loss(self, batch: Batch) -> Tensor:
        return self.power[0] * (self.W(batch.x) - batch.s).square().mean()


class Counting(Branch):
    """A method whose loss writes to a buffer."""

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.register_buffer("count", torch.zeros(()))

    def loss(self, batch: Batch) -> Tensor:
        self.count += 1
        return (self.W(batch.x) - batch.s).square().mean()


class Uneven(Branch):
    """A method whose loss draws in a way that is not served."""

    def loss(self, batch: Batch) -> Tensor:
        noise = torch.empty_like(batch.x).normal_(generator=batch.generator)
        return (self.W(batch.x + noise) - batch.s).square().mean()


@pytest.mark.parametrize(
    ("method", "reason"),
    [(Branch, "data-dependent"), (Early, "another"), (Counting, "changes buffers"), (Uneven, "normal_")],
)
def test_what_cannot_be_stacked_is_trained_one_at_a_time(method: type[Embedder[Any]], reason: str) -> None:
    view = toy_view()
    works = [work(method, view, i, epochs=2, power=0.5 * i + 0.5) for i in range(4)]
    alone, stacked = [one() for one in works], as_one(works)
    for (a, _), (b, fitted) in zip(alone, stacked, strict=True):
        assert fitted.stacked == 1
        assert apart(a, b) == 0
    assert reason in " ".join(rehearsal._refused.values())


class Weighed(Branch):
    """A loss with a branch on a hyper-parameter."""

    def loss(self, batch: Batch) -> Tensor:
        error = (self.W(batch.x) - batch.s).square().mean()
        return error * self.params.power if self.params.power > 1 else error


def test_values_that_take_different_branches_are_stacked_apart() -> None:
    view = toy_view()
    works = [work(Weighed, view, i, epochs=2, power=power) for i, power in enumerate((0.5, 1.5, 0.6, 1.6) * 4)]
    for (a, _), (b, fitted) in zip([one() for one in works], as_one(works), strict=True):
        assert fitted.stacked == 8
        assert apart(a, b) < 1e-5


def test_an_interruption_writes_every_checkpoint_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = toy_view()

    def works(folder: Path | None) -> list[Any]:
        made = []
        for i in range(4):
            how = Fit(CPU, checkpoint=folder / f"{i}.safetensors" if folder else None)
            made.append(work(Plain, view, i, how, epochs=6, lr=0.01 * (i + 1)))
        return made

    whole = as_one(works(None))
    epochs = iter(range(4 * 3))
    monkeypatch.setattr(Plain, "epoch_ended", lambda self, view, epoch: next(epochs, None) or stop(epochs))
    stopped = []

    def stop(left: Iterator[int]) -> None:
        if next(left, None) is None and not stopped:
            stopped.append(True)
            monkeypatch.setattr(interruption._state, "first", 2)

    with pytest.raises(KeyboardInterrupt):
        as_one(works(tmp_path))
    monkeypatch.setattr(interruption._state, "first", 0)
    assert len(list(tmp_path.iterdir())) == 4
    monkeypatch.undo()
    resumed = as_one(works(tmp_path))
    for (a, before), (b, after) in zip(whole, resumed, strict=True):
        assert len(after.losses) == 6
        for one, other in zip(before.losses, after.losses, strict=True):
            assert other == pytest.approx(one, rel=1e-6)
        assert apart(a, b) < 1e-6  # some end an epoch in a smaller stack, which not every processor rounds alike


def test_large_tensors_within_a_loss_keep_fits_apart_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """SSE has 2 kB of parameters, and differences of each image from each class in each feature."""
    sse = method_class("sse")
    view = digits(sse, 0)
    works = [work(sse, view, i, epochs=1) for i in range(4)]
    differences = 4 * sse.params_type().batch_size * len(view.classes) * view.x.shape[1]
    for room, many in ((4 * differences, 4), (4 * differences - 1, 1)):
        monkeypatch.setattr(lockstep, "BYTES", room)
        assert {fitted.stacked for _, fitted in as_one(works)} == {many}
    assert {fitted.stacked for _, fitted in as_one(works, most=4)} == {4}


def test_operations_fall_in_proportion() -> None:
    view = digits(method_class("ale"), 0)

    def operations(work: Any) -> int:
        with profile(activities=[ProfilerActivity.CPU]) as found:
            work()
        return sum(event.count for event in found.key_averages())

    works = [work(method_class("ale"), view, i, epochs=4) for i in range(16)]
    as_one(works)  # tries
    assert operations(lambda: as_one(works)) / 16 < operations(works[0]) / 4


def test_steps_are_as_long_as_each_rate_says() -> None:
    view = toy_view()
    works = [
        work(Slope, view, 0, epochs=1, batch_size=10**6, lr=lr, optimizer="sgd", beta1=0.0, clip_norm=clip)
        for lr, clip in ((0.1, 0.0), (0.2, 0.0), (0.1, 6.5), (0.3, 0.0))
    ]
    for (lr, norm), (embedder, fitted) in zip(
        ((0.1, 13), (0.2, 13), (0.1, 6.5), (0.3, 13)), as_one(works), strict=True
    ):
        assert fitted.stacked >= 1
        assert math.hypot(*embedder.a.tolist(), *embedder.b.tolist()) == pytest.approx(lr * norm, rel=1e-5)


def test_a_view_of_its_own_is_each_fits() -> None:
    views = [replace(toy_view(), x=toy_view().x * (1 + i)) for i in range(4)]
    works = [work(Plain, view, 0, epochs=2) for view in views]
    for (a, _), (b, fitted) in zip([one() for one in works], as_one(works), strict=True):
        assert fitted.stacked == 4
        assert apart(a, b) < 1e-4
