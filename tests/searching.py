"""Searches over a problem in memory: a small method, and trials that are run or only answered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from planned import entrant_of
from torch import Tensor, nn
from toy import toy_data

import zslbench.runs.execute as execution
from zslbench.api.cards import Setting
from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Batch, Embedder, GradientParams
from zslbench.api.engine import Listener
from zslbench.api.params import Params, Space, param
from zslbench.api.views import ProblemShape, TrainView
from zslbench.engines.inline import Inline
from zslbench.records.record import RunRecord, Training
from zslbench.records.search import Search
from zslbench.records.store import Store
from zslbench.runs.entrant import Entrant, Run
from zslbench.runs.execute import Setup
from zslbench.runs.memory import Where
from zslbench.tuning.tune import Tuner


class ExampleParams(GradientParams):
    epochs: int = param(3, "epochs", search=(1, 5), ge=1)
    batch_size: int = param(16, "images in a batch", ge=1)
    lr: float = param(0.05, "learning rate", search=(1e-3, 0.5), log=True, gt=0)
    width: int = param(6, "hidden units", search=(2, 9), ge=1)
    kind: Literal["relu", "tanh"] = param("tanh", "non-linearity", search=["relu", "tanh"])


class Example(Embedder[ExampleParams]):
    """Regression by a small network; one parameter to search of each kind."""

    def build(self, shape: ProblemShape) -> None:
        middle = {"relu": nn.ReLU, "tanh": nn.Tanh}[self.params.kind]()
        width = self.params.width
        self.net = nn.Sequential(nn.Linear(shape.features, width), middle, nn.Linear(width, shape.attributes))

    def embed(self, x: Tensor) -> Tensor:
        return self.net(x)

    def loss(self, batch: Batch) -> Tensor:
        return (self.net(batch.x) - batch.s).square().mean()


class RidgeParams(Params):
    weight: float = param(1.0, "penalty", search=(1e-2, 1e2), log=True, ge=0)


class Ridge(Embedder[RidgeParams]):
    """Ridge regression onto a random basis, with a scale found at the end: all that a closed form may do."""

    W: Tensor

    def build(self, shape: ProblemShape) -> None:
        self.register_buffer("basis", torch.linalg.qr(torch.randn(shape.features, 4)).Q)
        self.register_buffer("W", torch.zeros(4, shape.attributes))
        self.size = 0.0

    def embed(self, x: Tensor) -> Tensor:
        return self.size * (x @ self.basis @ self.W)

    def factorize(self, view: TrainView) -> tuple[Tensor, Tensor]:
        x = (view.x @ self.basis).double()
        return x.T @ x, x.T @ view.semantics[view.y].double()

    def assemble(self, factors: tuple[Tensor, Tensor]) -> None:
        gram, right = factors
        if self.params.weight == 0:
            raise ValueError("nothing holds it\nat all")
        self.W.copy_(torch.linalg.solve(gram + self.params.weight * torch.eye(len(gram)), right))

    def finish(self, view: TrainView) -> None:
        self.size = 1 / float((view.x @ self.basis @ self.W).abs().mean())


METHODS: dict[str, type[Embedder[Any]]] = {"example": Example, "ridge": Ridge}


def configuration(
    method: str = "example",
    data: ZSLData | None = None,
    setting: Setting = "inductive",
    request: dict[str, Any] | None = None,
    **values: Any,
) -> Entrant:
    """A method on data in memory, `values` fixed."""
    how = {"scale": "zscore"} | (request or {})
    return entrant_of(METHODS[method], data or toy_data(), method, values, setting, **how)


def landscape(params: Any, fold: int) -> list[float]:
    """A made-up validation curve with its best epoch at 2, 3, 4 in folds 0, 1, 2."""
    height = 0.6 - 0.1 * abs(math.log10(params.lr) + 1.5) - 0.02 * abs(params.width - 5) + 0.03 * fold
    height -= 0.05 * (params.kind == "relu")
    return [height - 0.02 * abs(epoch - 2 - fold) for epoch in range(1, params.epochs + 1)]


class Killed(BaseException):
    """Stands for a kill between two steps."""


@dataclass
class Answers:
    """Answers trials by a made-up curve instead of running them; `kill_at` is the call in which it dies.

    Attributes:
        runs: all that were asked for.
    """

    curve: Callable[[Any, int], list[float] | Exception] = landscape
    kill_at: int = -1
    backwards: bool = False
    metric: str = "ausuc"
    runs: list[Run] = field(default_factory=list)
    calls: int = 0

    def __call__(self, jobs: list[Run], status: str = "") -> dict[str, RunRecord | Exception]:
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed
        self.runs += jobs
        order = reversed(jobs) if self.backwards else jobs
        return {job.spec.id: self.answer(job) for job in order}

    def answer(self, job: Run) -> RunRecord | Exception:
        spec = job.spec
        curve = self.curve(params_of(job), spec.fold)
        if isinstance(curve, Exception):
            return curve
        return RunRecord(
            id=spec.id,
            spec=spec,
            params=spec.params,
            metrics={self.metric: curve[-1]},
            not_applicable={} if self.metric == "ausuc" else {"ausuc": "the gate needs seen classes"},
            training=Training(seconds=1.0, epochs=len(curve), watched=[{self.metric: value} for value in curve]),
        )


def params_of(job: Run) -> Any:
    return METHODS[job.spec.method].params_type(**job.spec.params)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, store: Store) -> Iterator[Callable[..., dict[str, RunRecord | Exception]]]:
    """Executes runs of METHODS on data in memory, and stores what comes of them."""
    monkeypatch.setattr(execution, "provenance", lambda *arguments: {})
    monkeypatch.setattr(execution, "REPLICATES", 50)

    def run(runs: list[Run], status: str = "") -> dict[str, RunRecord | Exception]:
        outcomes: dict[str, RunRecord | Exception] = {}
        listener = Listener(
            finished=lambda run, record: outcomes.update({run.id: record}),
            failed=lambda run, error: outcomes.update({run.id: error}),
        )
        Inline().execute(runs, Setup(store=store.root, device="cpu"), listener)
        return outcomes

    return run


def search(
    store: Store,
    execute: Callable[[list[Run]], dict[str, RunRecord | Exception]],
    of: Entrant | None = None,
    *,
    afresh: bool = False,
    only_stored: bool = False,
    space: dict[str, Space] | None = None,
    **how: Any,
) -> Search:
    """Tunes; `how` are fields of the request."""
    of = of or configuration()
    searched = tuple(f"{name}={own}" for name, own in (space or {}).items())
    existing = "only-cached" if only_stored else "reuse"
    how = {"trials": 8, "folds": 3, "search": searched, "existing": existing} | how
    asked = replace(of, request=of.request.model_copy(update=how))
    return Tuner(store, execute, Where.of("cpu", None), afresh=afresh).tune(asked)


def span(low: float, high: float, **more: Any) -> Space:
    return Space(low=low, high=high, **more)


def among(*choices: Any) -> Space:
    return Space(choices=choices)
