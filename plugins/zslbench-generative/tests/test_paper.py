"""The papers' setting, without standardisation, trains on min-max scaled features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from problem import problem, train
from zslbench_generative.cada_vae import CADAVAE
from zslbench_generative.clswgan import FCLSWGAN
from zslbench_generative.vaegan import FVAEGAN, TFVAEGAN


@pytest.mark.parametrize("method", [FCLSWGAN, CADAVAE, FVAEGAN, TFVAEGAN])
def test_it_generates_features_of_the_same_range_and_scores_every_class(method: Any) -> None:
    model, fitted = train(method, epochs=3, batch_size=32, standardise=False)
    view = problem()
    with torch.no_grad():
        assert torch.equal(model.visual(view.x), view.x) and torch.equal(model.semantic(view.semantics), view.semantics)
        made = model.synthesize(view.semantics, torch.Generator().manual_seed(0))
        scores = model.scores(view.x, view.classes)
    assert len(fitted.losses) >= 5
    assert scores.shape == (len(view.x), len(view.classes)) and torch.isfinite(scores).all()
    if method is FCLSWGAN:
        assert made.min() >= 0
    elif method is not CADAVAE:
        features = made[:, : view.x.shape[1]]
        assert features.min() >= 0 and features.max() <= 1
