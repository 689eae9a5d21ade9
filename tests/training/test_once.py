"""What a process makes once: a cut and scaled fold, its device copy, and nothing that a fit does not need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from players import Plain

import zslbench
from zslbench.api.cards import Scaling
from zslbench.api.embedder import GradientParams
from zslbench.api.images import Pixels
from zslbench.api.views import TrainView
from zslbench.runs.fit import train
from zslbench.runs.problem import Problem
from zslbench.training.trainer import Fit

CPU = torch.device("cpu")
ZSCORE = Scaling("zscore", "none")
FIT = """
import sys, torch, zslbench
from zslbench.api.cards import Scaling
from zslbench.api.embedder import GradientParams
from zslbench.runs.fit import train
from zslbench.runs.problem import Problem
from zslbench.runs.resolve import method_class
from zslbench.training.trainer import Fit
sys.path.insert(0, sys.argv[1])
from players import Plain
problem = Problem.of(zslbench.load("digits"), "inductive", Scaling("zscore", "none"))
for kind in ("adam", "amsgrad", "adamw", "sgd"):
    for schedule in ("constant", "plateau", "cosine"):
        params = GradientParams(epochs=1, optimizer=kind, schedule=schedule, clip_norm=1.0, weight_decay=0.1)
        train(lambda: Plain(params), problem, 0, Fit(torch.device("cpu")))
for method in map(method_class, ("dap", "iap", "conse", "sync", "eszsl", "sae")):
    train(lambda: method(method.params_type()), problem, 0, Fit(torch.device("cpu")))
print("torch._dynamo" in sys.modules)
"""


def test_a_fold_is_cut_and_scaled_once() -> None:
    data = zslbench.load("digits")
    first = Problem.of(data, "inductive", ZSCORE, (0,))
    assert Problem.of(data, "inductive", ZSCORE, (0,)) is first
    assert first.view(CPU) is Problem.of(data, "inductive", ZSCORE, (0,)).view(CPU)
    assert Problem.of(data, "inductive", ZSCORE, (1,)) is not first
    assert Problem.of(data, "inductive", Scaling("l2", "none"), (0,)) is not first
    assert Problem.of(replace(data), "inductive", ZSCORE, (0,)) is not first


@pytest.mark.parametrize(
    "write",
    [
        lambda view: view.x.mul_(2),
        lambda view: view.x.numpy().__imul__(2),
        lambda view: np.copyto(view.x.numpy(), view.x.numpy()[::-1].copy()),
        lambda view: view.y.numpy().__setitem__(0, view.y[-1]),
        lambda view: view.semantics.numpy().__setitem__(0, 0),
    ],
    ids=["torch", "NumPy", "another order", "labels", "class embeddings"],
)
def test_a_fold_that_a_method_wrote_to_is_made_again(write: Callable[[TrainView], object]) -> None:
    data = zslbench.load("digits")
    before = Problem.of(data, "inductive", ZSCORE)
    kept = [tensor.clone() for tensor in before.tensors()]
    write(before.view(CPU))
    again = Problem.of(data, "inductive", ZSCORE)
    assert again is not before
    assert all(torch.equal(own, was) for own, was in zip(again.tensors(), kept, strict=False))


def test_images_that_a_method_put_in_another_order_are_read_again() -> None:
    data = zslbench.load("digits")
    pixels = Pixels(Path("squares"), np.arange(len(data.labels)), 32, 1)
    data = replace(data, features=data.features[:, None], pixels=pixels)
    before = Problem.of(data, "inductive", Scaling("none", "none"))
    kept = before.train.pixels.rows.copy()
    before.train.pixels.rows[:] = kept[::-1]
    assert (Problem.of(data, "inductive", Scaling("none", "none")).train.pixels.rows == kept).all()


def test_kept_test_features_are_those_that_chunks_give() -> None:
    problem = Problem.of(zslbench.load("digits"), "inductive", ZSCORE)
    model = train(lambda: Plain(GradientParams(epochs=1)), problem, 0, Fit(CPU))
    scorer = model.scorer()
    assert scorer.x is not None
    rows = slice(100, 200)
    assert torch.equal(scorer.x[rows], problem.scale(problem.test.x(rows)))


def test_memory_of_kept_folds_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr("zslbench.runs.problem.KEPT", 1)
    data = zslbench.load("digits")
    first = Problem.of(data, "inductive", ZSCORE, (0,))
    Problem.of(data, "inductive", ZSCORE, (1,))
    assert Problem.of(data, "inductive", ZSCORE, (0,)) is not first


def test_a_fit_does_not_load_the_compiler() -> None:
    code = [sys.executable, "-c", FIT, __file__.rsplit("/", 2)[0]]
    assert subprocess.run(code, capture_output=True, text=True, check=True).stdout.strip() == "False"
