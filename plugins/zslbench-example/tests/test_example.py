"""The plugin, through public names of zslbench alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import zslbench_example
from zslbench_example.blobs import blobs
from zslbench_example.exemplars import ExemplarParams, Exemplars

from zslbench import ClassSet, MethodCard, ProblemShape, Registry, TrainView
from zslbench.testing import parametrize_with_checks


@parametrize_with_checks("exemplars", "blobs")
def test_method_and_data_set_keep_their_promises(check: Callable[[], None]) -> None:
    check()


def class_set(semantics: torch.Tensor, seen: int) -> ClassSet:
    names = tuple(f"class {c}" for c in range(len(semantics)))
    return ClassSet(semantics, names, torch.arange(len(semantics)) < seen)


def test_it_registers_a_method_and_a_data_set() -> None:
    registry = Registry()
    zslbench_example.zslbench_register(registry)
    assert registry.names("method") == ["exemplars"]
    assert registry.names("dataset") == ["blobs"]
    assert isinstance(registry.entry("method", "exemplars").card, MethodCard)


def test_exemplars_recover_a_linear_map_of_the_embeddings() -> None:
    """With features that are exactly S W and hardly any penalty, the unseen class's exemplar is its true centre."""
    semantics = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    truth = torch.tensor([[2.0, 0.0, 1.0], [0.0, 3.0, -1.0]])
    seen = class_set(semantics[:2], seen=2)
    y = torch.tensor([0, 0, 1, 1])
    embedder = Exemplars(ExemplarParams(lam=1e-9))
    embedder.build(ProblemShape(3, 2, 2))
    embedder.solve(TrainView("inductive", (semantics @ truth)[y], y, seen))

    scores = embedder.scores((semantics @ truth)[2:], class_set(semantics, seen=2))

    # |c3 - c1|^2 = |(1.2, 2.4, -0.2) - (2, 0, 1)|^2 = 7.84; |c3 - c2|^2 = |(1.2, -0.6, 0.8)|^2 = 2.44
    torch.testing.assert_close(scores, torch.tensor([[-7.84, -2.44, 0.0]]), atol=1e-4, rtol=0)


def test_blobs_are_the_same_each_time_and_stay_in_their_roles() -> None:
    first, second = blobs.load(Path()), blobs.load(Path())
    assert first.fingerprint == second.fingerprint
    assert (len(first.train), len(first.test_seen), len(first.test_unseen)) == (192, 48, 120)
    assert set(first.labels[first.test_unseen]) == {8, 9, 10, 11}
    np.testing.assert_allclose(np.linalg.norm(first.semantics, axis=1), 1.0, rtol=1e-6)


def test_the_observer_writes_only_where_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    monkeypatch.delenv(zslbench_example.LOG, raising=False)
    zslbench_example._log("nowhere")
    monkeypatch.setenv(zslbench_example.LOG, str(log))
    zslbench_example._log("here")
    assert log.read_text() == "here\n"
