"""What a process makes once: a cut and scaled fold, its device copy, and nothing that a fit does not need."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import torch
from players import Plain

import zslbench
from zslbench.api.cards import Scaling
from zslbench.api.embedder import GradientParams
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
from zslbench.training.trainer import Fit
sys.path.insert(0, sys.argv[1])
from players import Plain
problem = Problem.of(zslbench.load("digits"), "inductive", Scaling("zscore", "none"))
for kind in ("adam", "amsgrad", "adamw", "sgd"):
    for schedule in ("constant", "plateau", "cosine"):
        params = GradientParams(epochs=1, optimizer=kind, schedule=schedule, clip_norm=1.0, weight_decay=0.1)
        train(lambda: Plain(params), problem, 0, Fit(torch.device("cpu")))
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


def test_a_fold_that_a_method_wrote_to_is_made_again() -> None:
    data = zslbench.load("digits")
    before = Problem.of(data, "inductive", ZSCORE)
    kept = before.train.x.clone()
    before.train.x.mul_(2)
    assert torch.equal(Problem.of(data, "inductive", ZSCORE).train.x, kept)


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
