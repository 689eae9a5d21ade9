"""The methods trained as one: each fit is what it is alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from problem import CPU, problem
from zslbench_generative.cada_vae import CADAVAE
from zslbench_generative.clswgan import FCLSWGAN
from zslbench_generative.vaegan import FVAEGAN, TFVAEGAN

from zslbench import Embedder
from zslbench.runs.fit import fit_new
from zslbench.training.device import seeded
from zslbench.training.lockstep import in_lockstep
from zslbench.training.trainer import Fit


@pytest.mark.parametrize("method", [FCLSWGAN, CADAVAE, FVAEGAN, TFVAEGAN])
def test_weights_after_an_epoch_are_those_of_each_fit_alone(method: type[Embedder[Any]]) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        view = problem()
        classes = replace(view.classes, semantics=view.classes.semantics.double())
        view = view.with_features(view.x.double(), None).with_classes(classes)

        def make(which: int) -> Embedder[Any]:
            own = {"lr": 1e-3 * (which + 1), "synthetic": 10.0 + which, "softmax_decay": 0.01 * (which + 1)}
            return method(method.params_type(epochs=1, batch_size=96, **own))

        works = [partial(fit_new, partial(make, which), view, which, Fit(CPU)) for which in range(3)]
        alone = [work() for work in works]
        with seeded(0, CPU):
            together = in_lockstep(works, CPU, 3)
    finally:
        torch.set_default_dtype(torch.float32)
    for (a, _), (b, fitted) in zip(alone, together, strict=True):
        assert fitted.stacked == 3
        for own, other in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
            assert torch.allclose(own, other, rtol=1e-5, atol=1e-8)
