"""The methods: promises of all methods, arithmetic worked with loops, and what the adapter is without its adapter."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from zslbench_clip.methods import CLIP, CLIPAdapter, CLIPAdapterParams, CLIPParams

import zslbench
from zslbench import Batch, ClassSet, NotApplicable, ProblemShape, ZSLData
from zslbench.testing import parametrize_with_checks

D, C = 12, 5


@parametrize_with_checks("clip", "clip-adapter")
def test_they_keep_the_promises_of_methods(check: Callable[[], None]) -> None:
    check()


@pytest.fixture
def classes() -> ClassSet:
    generator = torch.Generator().manual_seed(1)
    names = tuple(f"class {c}" for c in range(C))
    return ClassSet(torch.randn(C, D, generator=generator), names, torch.arange(C) < 3)


@pytest.fixture
def x() -> torch.Tensor:
    return 3 * torch.randn(7, D, generator=torch.Generator().manual_seed(2))


def adapter(**params: Any) -> CLIPAdapter:
    torch.manual_seed(0)
    made = CLIPAdapter(CLIPAdapterParams(**params))
    made.build(ProblemShape(D, D, 3))
    return made


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(p * q for p, q in zip(a, b, strict=True))
    return dot / math.sqrt(sum(p * p for p in a) * sum(q * q for q in b))


def test_scores_are_cosines_times_the_logit_scale(x: torch.Tensor, classes: ClassSet) -> None:
    model = CLIP(CLIPParams(logit_scale=50))
    wanted = [[50 * cosine(image, text) for text in classes.semantics.tolist()] for image in x.tolist()]
    np.testing.assert_allclose(model.scores(x, classes), wanted, rtol=1e-4, atol=1e-4)


def test_the_adapter_mixes_two_rectified_layers_into_the_feature(x: torch.Tensor, classes: ClassSet) -> None:
    model = adapter(ratio=0.3, reduction=4)
    first, second = (layer.weight.tolist() for layer in (model.adapter[0], model.adapter[2]))
    assert (len(first), len(second)) == (3, 12)
    wanted = []
    for image in x.tolist():
        hidden = [max(0.0, sum(w * v for w, v in zip(row, image, strict=True))) for row in first]
        out = [max(0.0, sum(w * v for w, v in zip(row, hidden, strict=True))) for row in second]
        mixed = [0.3 * a + 0.7 * v for a, v in zip(out, image, strict=True)]
        wanted.append([100 * cosine(mixed, text) for text in classes.semantics.tolist()])
    np.testing.assert_allclose(model.scores(x, classes).detach(), wanted, rtol=1e-4, atol=1e-4)


def test_without_its_adapter_it_is_clip_to_the_bit(x: torch.Tensor, classes: ClassSet) -> None:
    assert torch.equal(adapter(ratio=0).scores(x, classes), CLIP(CLIPParams()).scores(x, classes))
    assert not torch.allclose(adapter(ratio=0.2).scores(x, classes), CLIP(CLIPParams()).scores(x, classes))


def test_the_length_of_a_feature_is_of_no_account(x: torch.Tensor, classes: ClassSet) -> None:
    """ReLU without biases: A(c x) = c A(x), so features may be of unit length or as the model projects them."""
    model = adapter(ratio=0.5)
    torch.testing.assert_close(model.scores(x, classes), model.scores(0.01 * x, classes), rtol=1e-4, atol=1e-4)


def test_the_loss_is_the_cross_entropy_of_the_classes_it_may_see(x: torch.Tensor, classes: ClassSet) -> None:
    model, seen = adapter(), classes.seen_only
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    rows = model.scores(x, seen).tolist()
    wanted = [math.log(sum(math.exp(s - row[k]) for s in row)) for row, k in zip(rows, y.tolist(), strict=True)]
    loss = model.loss(Batch(x, y, seen, torch.Generator()))
    assert loss.item() == pytest.approx(sum(wanted) / 7, rel=1e-4)


def shared(width: int = D, seed: int = 0) -> ZSLData:
    """Features near their class embeddings, turned a little: zero-shot works, and learning the turn helps."""
    random = np.random.default_rng(seed)
    s = random.normal(size=(10, D))
    labels = np.repeat(np.arange(10), 20)
    x = s[labels] + 0.8 * s[labels][:, ::-1] + 0.6 * random.normal(size=(200, D))
    unseen, fifth = labels >= 7, np.arange(200) % 5 == 4
    return ZSLData(
        name="shared",
        features_name="vectors",
        features=np.concatenate([x] * (width // D), axis=1).astype(np.float32),
        labels=labels,
        semantics=(s / np.linalg.norm(s, axis=1, keepdims=True)).astype(np.float32),
        class_names=tuple(f"kind {c}" for c in range(10)),
        train=np.flatnonzero(~unseen & ~fifth),
        test_seen=np.flatnonzero(~unseen & fifth),
        test_unseen=np.flatnonzero(unseen),
        attributes=False,
    )


def test_clip_needs_no_training_image_and_the_adapter_learns_from_them(tmp_path: Path) -> None:
    data = shared()
    methods = ["clip", "clip-adapter:ratio=0", "clip-adapter:lr=0.01,epochs=100"]
    results = zslbench.compare(methods, dataset=data, seeds=1, store=tmp_path)
    clip, none, adapted = (dict(result.record.metrics) for result in results)
    s, rows = data.semantics, np.concatenate([data.test_seen, data.test_unseen])
    right = (data.features[rows] @ s.T).argmax(axis=1) == data.labels[rows]  # length of a feature: no account
    wanted = [np.mean([right[data.labels[rows] == c].mean() for c in some]) for some in (range(7), range(7, 10))]
    assert [clip["acc_st"], clip["acc_ut"]] == pytest.approx(wanted)
    assert {name: none[name] for name in clip} == clip
    assert adapted["acc_st"] > clip["acc_st"] + 0.05


def test_features_of_another_space_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NotApplicable) as error:
        zslbench.run("clip", dataset=shared(width=2 * D), store=tmp_path)
    assert str(error.value) == (
        "CLIP compares features with class embeddings, and those of shared have 24 and 12 dimensions; "
        "give --features and --semantics of one image-text model"
    )
