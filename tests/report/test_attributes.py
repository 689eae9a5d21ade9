"""What attributes vary in: the published cosines on real data, and maps of images by their attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zslbench.api.dataset import ZSLData
from zslbench.data.catalogue import find_dataset
from zslbench.errors import DataError
from zslbench.report.attributes import (
    CLASSES,
    IMAGES,
    attributes_of_images,
    mapped,
    some_unseen,
    variances,
    write_attributes,
)
from zslbench.report.figures import COLUMN, DPI, PAGE
from zslbench.runs.request import Request
from zslbench.runs.requested import data_or_labels


@pytest.fixture
def toy(make_xlsa17: Callable[..., Path]) -> ZSLData:
    """A problem whose features are a linear map of attributes, with twelve unseen classes."""
    return find_dataset(make_xlsa17(seen=30, unseen=12, images=20)).load(Path())


@pytest.mark.parametrize(("name", "cosine"), [("sun", 0.9851), ("cub", 0.9575), ("awa2", 0.7459), ("apy", 0.5847)])
def test_the_cosine_is_the_one_that_the_paper_prints(real_data: Path, name: str, cosine: float) -> None:
    """Table 1 of the SP-AEN paper has it in brackets in its head."""
    assert round(variances(find_dataset(name).load_labels(real_data)).cosine, 4) == cosine


def test_variances_are_over_images_each_standing_for_its_class(toy: ZSLData) -> None:
    found = variances(toy)
    for rows, values in ((toy.train, found.train), (toy.test_unseen, found.unseen)):
        counts = np.bincount(toy.labels[rows], minlength=len(toy.semantics)) / len(rows)
        centre = counts @ toy.semantics
        assert values == pytest.approx(counts @ (toy.semantics - centre) ** 2, rel=1e-4)
    assert (np.diff(found.train[found.order]) >= 0).all()
    low = np.setdiff1d(found.order, found.high)
    assert len(found.high) == 3 and found.train[found.high].min() >= found.train[low].max()


def test_embeddings_that_are_no_attributes_are_refused(toy: ZSLData) -> None:
    with pytest.raises(DataError, match="the class embeddings of TOY are no attributes"):
        variances(replace(toy, attributes=False))


def test_attributes_read_off_features_are_those_of_the_class(toy: ZSLData) -> None:
    rows = toy.test_unseen
    read, true = attributes_of_images(toy, rows), toy.semantics[toy.labels[rows]]
    assert np.corrcoef(read.ravel(), true.ravel())[0, 1] > 0.95


def test_no_class_and_no_seen_image_is_too_many_in_a_map(toy: ZSLData) -> None:
    rows = some_unseen(toy)
    assert set(rows) <= set(toy.test_unseen) and len(set(rows)) == len(rows)
    classes, counts = np.unique(toy.labels[rows], return_counts=True)
    assert len(classes) == CLASSES < len(toy.split.unseen)
    assert set(counts) == {20} and IMAGES > 20
    assert (some_unseen(toy) == rows).all()


def test_a_map_is_the_same_each_time_and_counts_neighbours_of_the_same_class() -> None:
    random = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], 10)
    apart = np.eye(3)[y] * 10 + random.normal(size=(30, 3))
    one, two = mapped(apart, y), mapped(apart, y)
    assert one.points.shape == (30, 2) and (one.points == two.points).all()
    assert one.nearest == 1.0
    noise = random.normal(size=(30, 3))
    distances = np.linalg.norm(noise[:, None] - noise[None], axis=2) + 1e9 * np.eye(30)
    assert mapped(noise, y).nearest == pytest.approx((y[distances.argmin(axis=1)] == y).mean())


def test_data_sets_without_features_have_a_heat_map_and_no_maps(
    make_xlsa17: Callable[..., Path], tmp_path: Path
) -> None:
    folders = {name: make_xlsa17(name, seed=len(name)) for name in ("WITH", "BARE")}
    request = Request(root=Path(), features="elsewhere")
    (png, pdf), lines = write_attributes(tmp_path / "bare", [data_or_labels(str(folders["BARE"]), request)])
    assert pdf.is_file()
    with Image.open(png) as image:
        assert image.width == round(COLUMN * DPI)
    assert len(lines) == 1 and lines[0].startswith("no maps of BARE: ") and "elsewhere" in lines[0]
    sources = [f"{folders['WITH']}@res101", str(folders["BARE"])]
    (png, _), lines = write_attributes(tmp_path / "both", [data_or_labels(source, request) for source in sources])
    with Image.open(png) as image:
        assert image.width == round(PAGE * DPI)
    assert [line.partition(":")[0] for line in lines] == ["no maps of BARE"]
