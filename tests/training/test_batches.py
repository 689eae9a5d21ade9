"""Batches: every image once a pass, and where the input is images, crops that match their features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toy import toy_view
from toy_images import random_squares, toy_image_data

from zslbench.api.embedder import Batch, Part
from zslbench.api.images import CROPS, Pixels, square_side
from zslbench.api.views import TrainView
from zslbench.training.batches import Batches


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batches(view: TrainView, size: int, count: int, seed: int = 0) -> list[Batch]:
    shared = generator(seed)
    return list(Batches(view, shared, shared).draw(size, count))


def test_a_pass_has_every_image_once_and_as_many_batches_as_asked_for_are_drawn() -> None:
    view = toy_view(images=10)
    found = batches(view, 16, 9)
    per_pass = -(-len(view.x) // 16)
    first = torch.cat([batch.x for batch in found[:per_pass]])
    assert len(found) == 9
    assert sorted(map(tuple, first.tolist())) == sorted(map(tuple, view.x.tolist()))


def test_a_batch_of_images_has_one_crop_of_each_with_the_features_of_that_very_crop(tmp_path: Path) -> None:
    data = toy_image_data(tmp_path, crops=10)
    view = data.train_view("inductive")
    assert view.pixels is not None
    rows_met, crops_met = [], []
    for batch in batches(view, 8, 20):
        assert batch.pixels is not None and batch.pixels.shape == (len(batch.x), 3, 16, 16)
        for x, pixels, y in zip(batch.x, batch.pixels, batch.y, strict=True):
            row, crop = next(zip(*torch.where((view.x == x).all(dim=2)), strict=True))
            expected = view.pixels.read([int(row)], [int(crop)])[0].float() / 255
            assert torch.equal(pixels, expected) and int(y) == int(view.y[row])
            rows_met.append(int(row))
            crops_met.append(int(crop))
    assert len(set(rows_met[: len(view.x)])) == len(view.x)
    assert set(crops_met) == set(range(10))


def test_the_same_generator_gives_the_same_batches(tmp_path: Path) -> None:
    view = toy_image_data(tmp_path).train_view("inductive")
    once, again, other = batches(view, 8, 5), batches(view, 8, 5), batches(view, 8, 5, seed=1)
    assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(once, again, strict=True))
    assert not all(torch.equal(a.pixels, b.pixels) for a, b in zip(once, other, strict=True))


def test_a_training_view_reads_training_images_alone(tmp_path: Path) -> None:
    data = toy_image_data(tmp_path)
    view, test = data.train_view("inductive"), data.test_view()
    assert view.pixels is not None and test.pixels is not None
    assert view.pixels.rows.tolist() == data.train.tolist()
    assert test.pixels.rows.tolist() == test.images.tolist()
    with pytest.raises(IndexError):
        view.pixels.read([len(view.x)], [0])


@pytest.mark.parametrize("crops", CROPS)
def test_crops_are_centre_corners_and_their_mirror_images(tmp_path: Path, crops: int) -> None:
    squares = random_squares(tmp_path / "squares", 3, 56)
    side = square_side(56)
    assert side == 64
    pixels = Pixels(tmp_path / "squares", np.arange(3), 56, crops)
    places = [(4, 4), (0, 0), (0, 8), (8, 0), (8, 8)]  # top and left edge: centre, then the corners row by row
    expected = [squares[2, :, top : top + 56, left : left + 56] for top, left in places]
    expected += [image[:, :, ::-1] for image in expected]
    wanted = {1: [0], 2: [0, 5], 5: [0, 1, 2, 3, 4], 10: list(range(10))}[crops]
    found = pixels.read([2] * crops, list(range(crops)))
    for image, number in zip(found.numpy(), wanted, strict=True):
        np.testing.assert_array_equal(image, expected[number])


def test_the_square_of_a_224_crop_has_a_side_of_256() -> None:
    assert square_side(224) == 256


def test_numbers_drawn_for_images_are_the_same_however_many_processes_compute_them() -> None:
    view = toy_view()

    def batch(rows: slice, part: Part | None) -> Batch:
        return Batch(view.x[rows], view.y[rows], view.classes, generator(0), part=part)

    whole = batch(slice(0, 8), None).rand(3)
    first = batch(slice(0, 3), Part(8, 0, 3 / 8, generator(0))).rand(3)
    second = batch(slice(3, 8), Part(8, 3, 5 / 8, generator(0))).rand(3)
    assert torch.equal(whole, torch.cat([first, second]))
