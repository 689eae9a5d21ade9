"""The paper's network at full size, fitted by the shared trainer to crops and features of drawn images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy import CPU

from zslbench import Images, ZSLData
from zslbench.preparation.pixels import with_images
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, fit
from zslbench_datasets.shapes import SEEN, shapes
from zslbench_methods.spaen_images import SPAENImageParams, SPAENImages

EACH = 5
"""Images of a class in the data set that they are taken from."""


class Few(Images):
    """Some of the images of a data set."""

    def __init__(self, images: Images, rows: list[int]) -> None:
        self.images, self.rows = images, rows
        self.fingerprint = f"{images.fingerprint} {rows}"

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, row: int) -> str:
        return self.images.name(self.rows[row])

    def read(self, row: int) -> Image.Image:
        return self.images.read(self.rows[row])


def few_shapes() -> ZSLData:
    """An image of each class at full resolution, and a second one of two classes to test."""
    whole = shapes.with_options(shapes.options.model_copy(update={"size": 256, "images_per_class": EACH}))
    data = whole.load_images(Path())
    assert data.images is not None
    classes = len(data.class_names)
    rows = [EACH * c for c in range(classes)] + [1, EACH + 1]
    return replace(
        data,
        labels=data.labels[rows],
        images=Few(data.images, rows),
        train=np.arange(SEEN),
        test_seen=np.array([classes, classes + 1]),
        test_unseen=np.arange(SEEN, classes),
    )


@pytest.mark.slow
def test_twenty_steps_of_the_papers_network_have_finite_losses() -> None:
    params = SPAENImageParams(batch_size=8, epochs=4, crops=1)  # 40 images are 5 batches of 8
    data = with_images(few_shapes(), params, None, False, CPU)
    assert data.features is not None and data.features.shape == (50, 1, 2048)
    assert np.isfinite(data.features).all() and (data.features[:, 0].std(axis=0) > 0).mean() > 0.9
    view = data.train_view("inductive")
    with seeded(0, CPU):
        model = SPAENImages(params)
        model.pretrained = False
        model.build(view.shape)
        fitted = fit(model, view, 0, Fit(CPU))
    assert len(fitted.losses) == 4
    assert set(fitted.losses[0]) == {
        *("critic/distance", "critic/penalty", "embed/cls", "embed/adv"),
        *("autoencoder/phi", "autoencoder/pixels", "autoencoder/adv"),
    }
    assert all(math.isfinite(value) for losses in fitted.losses for value in losses.values())
    assert fitted.losses[-1]["autoencoder/pixels"] < fitted.losses[0]["autoencoder/pixels"]
