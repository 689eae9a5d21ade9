"""CONSE: the convex combination of the most probable classes against a loop, and at the ends of T."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from toy import build, toy_data, toy_view, train

from zslbench_methods.conse import CONSE, CONSEParams

DATA = toy_data(seed=9, noise=0.5)
VIEW, TEST = DATA.train_view("inductive"), DATA.test_view()
IMAGES = TEST.x(slice(0, 20))


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(a @ b / (np.sqrt(a @ a) * np.sqrt(b @ b)))


@pytest.mark.parametrize("top", [1, 3, 7, 1000])
def test_conse_is_its_formula_with_scikit_learns_softmax(top: int) -> None:
    conse, _ = train(CONSE, CONSEParams(l2=0.01, top=top), VIEW)
    x, seen = VIEW.x.double().numpy(), VIEW.semantics.double().numpy()
    model = LogisticRegression(C=1 / (0.01 * len(x)), tol=1e-10, max_iter=100_000).fit(x, VIEW.y.numpy())
    embedded = []
    for p in model.predict_proba(IMAGES.double().numpy()):
        best = sorted(range(len(seen)), key=lambda k, p=p: -p[k])[:top]
        embedded.append(sum(p[k] * seen[k] for k in best) / sum(p[k] for k in best))
    assert conse.embed(IMAGES).numpy() == pytest.approx(np.array(embedded), abs=1e-4)
    lengths = torch.linspace(0.2, 5.0, len(TEST.classes))[:, None]  # of class embeddings; a cosine does not see them
    classes = replace(TEST.classes, semantics=TEST.classes.semantics * lengths)
    expected = [[cosine(f, c) for c in classes.semantics.double().numpy()] for f in embedded]
    assert conse.scores(IMAGES, classes).numpy() == pytest.approx(np.array(expected), abs=1e-4)


def test_with_t_1_an_image_is_its_most_probable_class() -> None:
    conse, _ = train(CONSE, CONSEParams(top=1), VIEW)
    best = conse.classifier.logits(IMAGES).argmax(dim=1)
    assert conse.embed(IMAGES).numpy() == pytest.approx(VIEW.semantics[best].numpy(), abs=1e-6)
    assert torch.equal(conse.scores(IMAGES, VIEW.classes).argmax(dim=1), best)


def test_the_combination_by_hand() -> None:
    view = toy_view(seen=3, unseen=2, attributes=2, size=3)
    conse = build(CONSE, CONSEParams(top=2), view)
    conse.classifier.W.copy_(torch.eye(3))
    conse.seen.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]))
    x = torch.tensor([[6.0, 2.0, 1.0]]).log()  # p = (6, 2, 1) / 9, of which the two best give 6/8 and 2/8
    assert conse.embed(x).numpy() == pytest.approx(np.array([[0.75, 0.25]]), rel=1e-5)
