"""The evaluator `probe`, on embeddings of which it is known what they tell of which attribute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from toy import CPU
from toy_images import toy_image_data

from zslbench.api.embedder import Embedder
from zslbench.api.params import Params
from zslbench.api.views import ClassSet, TestView
from zslbench.errors import NeedsScores, NotApplicable
from zslbench.evaluation.probe import PENALTIES, Probe, ridge
from zslbench.evaluation.scorers import MatrixScorer, ModelScorer, StoredScorer

SEEN = np.array([[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1]], dtype=np.float32)
UNSEEN = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=np.float32)
"""The second attribute is the losable one; the third tells seen classes apart, and no unseen ones."""
EACH = 20


class Known(MatrixScorer):
    """Features tell all attributes; E(x) tells those in `told`, and has 10 dimensions of noise beside them."""

    def __init__(self, told: list[int], order: NDArray[np.int64] | None = None, seen: Any = SEEN) -> None:
        semantics = np.concatenate([seen, UNSEEN])
        y = np.repeat(np.arange(len(semantics)), EACH)
        random = np.random.default_rng(0)
        self.x = (semantics[y] @ random.normal(size=(3, 6)) + 0.05 * random.normal(size=(len(y), 6))).astype(np.float32)
        noise = random.normal(size=(len(y), 10))
        self.embedded = np.concatenate([semantics[y][:, told], noise], axis=1).astype(np.float32)
        order = np.arange(len(y)) if order is None else order
        self.order = order
        names = tuple(f"class {c}" for c in range(len(semantics)))
        classes = ClassSet(torch.from_numpy(semantics), names, torch.arange(len(semantics)) < len(seen))
        super().__init__(random.normal(size=(len(y), len(semantics))), TestView(order, y[order], classes, None))

    def embeddings(self, rows: slice) -> tuple[Tensor, Tensor]:
        own = self.order[rows]
        return torch.from_numpy(self.x[own]), torch.from_numpy(self.embedded[own])


def test_the_read_out_is_that_of_scikit_learn_with_the_penalty_of_its_leave_one_out_error() -> None:
    random = np.random.default_rng(1)
    for images, size in ((40, 7), (12, 30)):
        inputs, new = random.normal(size=(images, size)) * np.arange(1, size + 1), random.normal(size=(9, size))
        targets = inputs[:, :2] @ random.normal(size=(2, 3)) + random.normal(size=(images, 3))
        scaler = StandardScaler().fit(inputs)
        theirs = RidgeCV(alphas=np.array(PENALTIES) * size).fit(scaler.transform(inputs), targets)
        np.testing.assert_allclose(
            ridge(inputs, targets, new), theirs.predict(scaler.transform(new)), rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize(("told", "lost", "kept"), [([0, 1], True, True), ([0], False, True), ([1], True, False)])
def test_an_attribute_is_read_from_an_embedding_that_tells_it_and_from_no_other(
    told: list[int], lost: bool, kept: bool
) -> None:
    found = Probe().evaluate(Known(told))
    assert (found["probe_lost"] > 0.7, found["probe_kept"] > 0.7) == (lost, kept)
    assert (found["probe_lost"] < 0.1, found["probe_kept"] < 0.1) == (not lost, not kept)
    assert found["probe_lost_x"] > 0.9 < found["probe_kept_x"]


def test_the_order_of_images_does_not_matter() -> None:
    random = np.random.default_rng(2)
    first, last = len(SEEN) * EACH, (len(SEEN) + len(UNSEEN)) * EACH
    order = np.concatenate([random.permutation(first), first + random.permutation(last - first)])
    assert Probe().evaluate(Known([0], order)) == pytest.approx(Probe().evaluate(Known([0])), rel=1e-9)


def test_its_metrics_follow_from_what_is_stored() -> None:
    scorer, evaluator = Known([0, 1]), Probe()
    metrics = evaluator.evaluate(scorer)
    stored = StoredScorer(scorer.view, scorer.generalized)
    assert Probe().recomputed(stored, metrics, evaluator.arrays(scorer)) == pytest.approx(metrics, rel=1e-5)
    ones = evaluator.resample(scorer, np.ones((2, len(scorer.view))))
    assert {name: value[1] for name, value in ones.items()} == pytest.approx(metrics)
    with pytest.raises(NeedsScores):
        Probe().evaluate(stored)


def test_it_says_why_it_cannot_answer() -> None:
    with pytest.raises(NotApplicable, match="no attribute differs between unseen classes and hardly"):
        Probe().evaluate(Known([0], seen=np.concatenate([SEEN, UNSEEN])))
    with pytest.raises(NotApplicable, match="every attribute"):
        Probe().evaluate(Known([0], seen=SEEN * np.array([0, 0, 1], dtype=np.float32)))
    known = Known([0])
    with pytest.raises(NotApplicable, match="no model"):
        Probe().evaluate(MatrixScorer(known.matrix, known.view))


def test_embeddings_of_images_are_those_of_their_centre_crops(tmp_path: Path) -> None:
    class First(Embedder[Params]):
        def embed(self, x: Tensor) -> Tensor:
            return x[:, :5]

    class Scores(Embedder[Params]):
        def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
            return x[:, :5] @ classes.semantics.T

    data = toy_image_data(tmp_path)
    assert data.features is not None
    view = data.test_view()
    x, embedded = ModelScorer(First(Params()), view, lambda x: 2 * x, CPU).embeddings(slice(2, 7))
    np.testing.assert_array_equal(x, 2 * data.features[view.images[2:7], 0])
    np.testing.assert_array_equal(embedded, 2 * data.features[view.images[2:7], 0, :5])
    with pytest.raises(NotApplicable, match="no embedding"):
        ModelScorer(Scores(Params()), view, lambda x: x, CPU).embeddings(slice(2, 7))
