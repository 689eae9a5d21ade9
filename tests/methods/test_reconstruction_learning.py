"""What the reconstructing architectures learn of their training images, in the small preset made smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import CPU

from zslbench import Embedder
from zslbench.data.scaling import Scaler
from zslbench.discovery.plugins import registry
from zslbench.preparation.pixels import with_images
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, fit
from zslbench_datasets.shapes import shapes

SMALLER = {"image_size": 16, "crops": 1, "width": 0.1, "hidden": 64, "autoencoder_hidden": 64, "epochs": 8}


@pytest.mark.parametrize("name", ["directmap", "sae-image", "splitbranch", "spaen-image"])
def test_training_images_are_reconstructed_better_than_by_their_mean(name: str) -> None:
    method: type[Embedder[Any]] = registry().resolve("method", name, Embedder)
    values, scaling = registry().entry("method", name).card.preset("small").resolve("shapes", "")
    params = method.params_type(**(values | SMALLER))
    small = shapes.with_options(shapes.options.model_copy(update={"size": 20, "images_per_class": 10}))
    view = with_images(small.load_images(Path()), params, None, False, CPU).train_view("inductive")
    scaled = view.with_features(Scaler.fit(scaling.get("scale", method.scale), view.x)(view.x), None)
    with seeded(0, CPU):
        model = method(params)
        model.build(view.shape)
        fit(model, scaled, 0, Fit(CPU))
    assert view.pixels is not None
    images = view.pixels.centres(np.arange(len(view.x))).float() / 255
    with torch.no_grad():
        made = model.eval().reconstruct(scaled.x[:, 0], images)
    of_mean = float((images - images.mean(dim=0)).square().mean())
    assert float((made - images).square().mean()) < of_mean
