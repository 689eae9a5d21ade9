"""`shapes`: images that are the same each time and show their attributes, and semantic loss as far as it is dialled."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv
from numpy.typing import NDArray
from outside import Inside, inside, store
from PIL import Image, ImageDraw
from scipy.ndimage import label

from zslbench import DataError, ZSLData
from zslbench.api.images import Images
from zslbench.data.catalogue import find_dataset
from zslbench_datasets.scenes import Scene, draw
from zslbench_datasets.shapes import ATTRIBUTES, GROUPS, descriptions, shapes

__all__ = ["inside", "store"]

NOWHERE = Path("no folder is needed")
LOST = [i for i, name in enumerate(ATTRIBUTES) if name.startswith(("texture", "background"))]
KEPT = [i for i in range(len(ATTRIBUTES)) if i not in LOST]
DIALLED = (0.0, 0.25, 0.5, 0.75, 1.0)
HUES = {"red": 0, "orange": 28, "yellow": 54, "green": 120, "blue": 220, "purple": 285}
"""What people call these hues, in degrees; the nearest other one is 26 degrees away."""


def labelled(options: str = "") -> ZSLData:
    return find_dataset(f"shapes:{options}").load_labels(NOWHERE)


def images(options: str = "") -> Images:
    found = find_dataset(f"shapes:{options}").load_images(NOWHERE).images
    assert found is not None
    return found


def variances(data: ZSLData, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns the variance of each attribute over images."""
    assert data.original_semantics is not None
    exact: NDArray[np.float64] = data.original_semantics[data.labels[rows]].astype(np.float64)
    return exact.var(axis=0)


@cache
def pictures() -> list[tuple[dict[str, str], NDArray[np.float64], NDArray[np.bool_]]]:
    """Returns 4 images of each class: what it should show, its pixels in HSV, and which of them are saturated.

    Objects are more saturated than any background, dark parts of their textures included.
    """
    drawn, found = images("size=96"), []
    for c, own in enumerate(descriptions(0.0)):
        for number in range(4):
            hsv = rgb_to_hsv(np.asarray(drawn.read(60 * c + number)) / 255)
            found.append((own, hsv, hsv[:, :, 1] > 0.6))
    return found


class TestTheProblem:
    def test_there_are_40_seen_and_8_unseen_classes_of_60_images(self) -> None:
        data = labelled()
        assert (len(data.labels), len(data.split.seen), len(data.split.unseen)) == (2880, 40, 8)
        assert np.bincount(data.labels).tolist() == [60] * 48
        assert len(set(data.class_names)) == 48

    @pytest.mark.parametrize("count", [5, 12, 60])
    def test_a_fifth_of_each_seen_class_is_in_test_seen_and_no_image_is_left_over(self, count: int) -> None:
        data = labelled(f"images_per_class={count}")
        assert np.bincount(data.labels[data.test_seen], minlength=48).tolist() == [count // 5] * 40 + [0] * 8
        assert len(data.train) + len(data.test_seen) + len(data.test_unseen) == len(data.labels) == 48 * count

    @pytest.mark.parametrize("dial", DIALLED)
    def test_class_embeddings_are_one_value_of_each_group_normalised(self, dial: float) -> None:
        data = labelled(f"semantic_loss={dial}")
        assert data.original_semantics is not None
        assert set(np.unique(data.original_semantics)) == {0, 1}
        start = 0
        for values in GROUPS.values():
            assert (data.original_semantics[:, start : start + len(values)].sum(axis=1) == 1).all()
            start += len(values)
        assert start == len(ATTRIBUTES) == data.semantics.shape[1]
        np.testing.assert_allclose(data.semantics, data.original_semantics / np.sqrt(len(GROUPS)), rtol=1e-6)
        assert len(np.unique(data.semantics, axis=0)) == 48

    def test_values_are_balanced_over_seen_classes(self) -> None:
        data, start = labelled(), 0
        assert data.original_semantics is not None
        for values in GROUPS.values():
            counts = data.original_semantics[:40, start : start + len(values)].sum(axis=0)
            assert counts.max() - counts.min() <= 1
            start += len(values)

    def test_small_features_are_the_images_averaged(self) -> None:
        data = find_dataset("shapes:images_per_class=5").load(NOWHERE)
        assert data.features is not None
        assert data.features.shape == (240, 16 * 16 * 3)
        drawn = images("images_per_class=5,size=64")
        for row in (0, 101, 239):
            small = drawn.read(row).resize((16, 16), Image.Resampling.BOX)
            np.testing.assert_allclose(data.features[row].reshape(16, 16, 3), np.asarray(small) / 255, atol=1 / 255)

    @pytest.mark.parametrize("options", [{"features": "res101"}, {"splits": "att_splits_v1"}])
    def test_other_features_and_splits_are_refused(self, options: dict[str, str]) -> None:
        with pytest.raises(DataError, match="data set shapes has no"):
            shapes.load(NOWHERE, **options)


class TestSemanticLoss:
    def test_without_it_texture_and_background_vary_alike_over_seen_and_unseen_classes(self) -> None:
        data = labelled()
        np.testing.assert_allclose(variances(data, data.train)[LOST], 3 / 16)  # one of four values: 1/4 * 3/4
        np.testing.assert_allclose(variances(data, data.test_unseen)[LOST], 3 / 16)

    def test_it_lowers_their_variance_over_seen_classes_alone(self) -> None:
        seen, unseen, others = [], [], []
        for dial in DIALLED:
            data = labelled(f"semantic_loss={dial}")
            seen.append(variances(data, data.train)[LOST].mean())
            unseen.append(variances(data, data.test_unseen)[LOST].mean())
            others.append(variances(data, data.train)[KEPT])
        assert (np.diff(seen) < -0.01).all()
        # 37 of 40 classes have the first of four values, one class has each of the others
        assert seen[-1] == pytest.approx((37 / 40 * 3 / 40 + 3 * (1 / 40 * 39 / 40)) / 4)
        assert unseen == pytest.approx([3 / 16] * len(DIALLED))
        for other in others:
            np.testing.assert_array_equal(other, others[0])

    @pytest.mark.parametrize(("dial", "constant"), [(0, 10), (1 / 3, 19), (2 / 3, 28), (1, 37)])
    def test_classes_with_the_constant_value_grow_on_a_straight_line(self, dial: float, constant: int) -> None:
        seen = descriptions(dial)[:40]
        assert sum(own["texture"] == "plain" for own in seen) == constant
        assert sum(own["background"] == "white" for own in seen) == constant

    @pytest.mark.parametrize("dial", DIALLED)
    def test_every_attribute_has_training_images_however_large_it_is(self, dial: float) -> None:
        data = labelled(f"semantic_loss={dial}")
        assert (variances(data, data.train) > 0).all()

    def test_unseen_classes_and_their_images_are_the_same_whatever_it_is(self) -> None:
        assert descriptions(0.0)[40:] == descriptions(1.0)[40:]
        without, full = images("images_per_class=5"), images("images_per_class=5,semantic_loss=1")
        assert without.read(5 * 45).tobytes() == full.read(5 * 45).tobytes()
        assert without.fingerprint != full.fingerprint

    def test_an_unseen_class_has_the_object_of_a_seen_one_and_of_three_unseen_ones(self) -> None:
        for dial in DIALLED:
            classes = descriptions(dial)
            things = [tuple(own[g] for g in ("shape", "colour", "size", "position")) for own in classes]
            assert len(set(things[:40])) == 40
            for thing in things[40:]:
                assert (things[:40].count(thing), things[40:].count(thing)) == (1, 4)


class TestTheImages:
    def test_an_image_is_the_same_in_any_order_and_in_other_processes(self) -> None:
        drawn, rows = images("size=32"), (2879, 0, 1234, 7)
        here = {row: drawn.read(row).tobytes() for row in rows}
        copy = pickle.loads(pickle.dumps(drawn))  # noqa: S301
        assert {row: copy.read(row).tobytes() for row in reversed(rows)} == here
        code = (
            "import hashlib; from pathlib import Path; from zslbench.data.catalogue import find_dataset; "
            f"drawn = find_dataset('shapes:size=32').load_images(Path()).images; "
            f"print(drawn.fingerprint, *(hashlib.sha256(drawn.read(row).tobytes()).hexdigest() for row in {rows}))"
        )
        said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert said == [drawn.fingerprint, *(hashlib.sha256(here[row]).hexdigest() for row in rows)]

    def test_no_two_images_of_a_class_are_equal(self) -> None:
        drawn = images("size=16")
        assert len({drawn.read(row).tobytes() for row in range(60)}) == 60

    def test_fewer_images_are_the_first_of_each_class(self) -> None:
        assert images("images_per_class=5").read(5 * 9 + 2).tobytes() == images().read(60 * 9 + 2).tobytes()

    def test_other_options_have_another_fingerprint(self) -> None:
        options = ("", "size=65", "semantic_loss=0.9", "images_per_class=61")
        assert len({images(text).fingerprint for text in options}) == len(options)

    @pytest.mark.parametrize("size", [128, 192, 256])
    def test_a_larger_image_shows_the_same_scene(self, size: int) -> None:
        small, large = images("size=64"), images(f"size={size}")
        for row in range(0, 2880, 180):
            reduced = large.read(row).resize((64, 64), Image.Resampling.BOX)
            difference = np.abs(np.asarray(reduced, dtype=float) - np.asarray(small.read(row), dtype=float))
            assert difference.mean() < 1, "of 255"
            assert np.quantile(difference, 0.99) < 20

    def test_what_an_image_is_called_says_what_it_shows(self) -> None:
        assert images().name(60 * 40 + 2) == "large striped red circle at the top on white, image 3"

    def test_the_colour_of_the_object_is_the_one_that_is_said(self) -> None:
        for own, hsv, inside_object in pictures():
            hues = 360 * hsv[:, :, 0][inside_object]
            apart = {name: np.median(np.abs((hues - hue + 180) % 360 - 180)) for name, hue in HUES.items()}
            assert min(apart, key=lambda name: apart[name]) == own["colour"]

    def test_the_background_is_the_one_that_is_said(self) -> None:
        for own, hsv, _ in pictures():
            corners = np.concatenate([hsv[:4, :4].reshape(-1, 3), hsv[-4:, -4:].reshape(-1, 3)])
            hue, saturation, value = np.median(corners, axis=0)
            if value < 0.4:
                found = "night"
            elif saturation < 0.1:
                found = "white"
            else:
                found = "sky" if 0.4 < hue < 0.7 else "sand"
            assert found == own["background"]

    def test_the_object_is_where_and_as_large_as_is_said(self) -> None:
        for own, hsv, inside_object in pictures():
            rows, columns = np.nonzero(inside_object)
            extent = max(np.ptp(rows), np.ptp(columns)) / len(hsv)
            assert ("large" if extent > 0.38 else "small") == own["size"]
            middle = (rows.min() + rows.max()) / 2 / len(hsv)
            assert ("top" if middle < 0.42 else "bottom" if middle > 0.58 else "centre") == own["position"]

    def test_the_texture_is_the_one_that_is_said(self) -> None:
        for own, hsv, inside_object in pictures():
            dark = float((hsv[:, :, 2][inside_object] < 0.45).mean())
            spots = label(inside_object & (hsv[:, :, 2] < 0.5))[1]
            assert (dark < 0.05) == (own["texture"] == "plain")  # some edge before the night is dark too
            if own["texture"] in ("striped", "checked"):
                assert 0.3 < dark < 0.7
            if own["texture"] == "dotted":
                assert 0.1 < dark < 0.4 and spots >= 4

    def test_a_ring_alone_has_a_hole(self) -> None:
        for own, _, inside_object in pictures():
            if own["texture"] == "plain":
                outside = label(~inside_object)[1]
                assert outside == (2 if own["shape"] == "ring" else 1)

    @pytest.mark.parametrize("shape", ["circle", "square", "triangle", "star", "cross", "ring"])
    def test_shapes_are_those_that_polygons_draw(self, shape: str) -> None:
        scene = Scene.sample(np.random.default_rng(1), shape, "red", "plain", "large", "centre", "white")
        ours = rgb_to_hsv(draw(scene, 600) / 255)[:, :, 1] > 0.45
        theirs = np.asarray(polygon(scene, 600))
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97


def polygon(scene: Scene, side: int) -> Image.Image:
    """Fills the outline of a scene's object, drawn from its corners."""
    picture = Image.new("1", (side, side))
    pencil = ImageDraw.Draw(picture)

    def place(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        cos, sin = np.cos(scene.angle), np.sin(scene.angle)
        (left, top), radius = scene.centre, scene.radius
        return [
            (side * (left + radius * (cos * x - sin * y)), side * (top + radius * (sin * x + cos * y)))
            for x, y in points
        ]

    def star(points: int, outer: float, inner: float) -> list[tuple[float, float]]:
        radii = [outer, inner] * points
        angles = [np.pi * i / points for i in range(2 * points)]
        return [(r * np.sin(a), -r * np.cos(a)) for r, a in zip(radii, angles, strict=True)]

    def bar(x: float, y: float) -> list[tuple[float, float]]:
        return [(-x, -y), (x, -y), (x, y), (-x, y)]

    filled = {
        "circle": [star(180, 0.95, 0.95)],
        "ring": [star(180, 1, 1)],
        "square": [bar(0.82, 0.82)],
        "cross": [bar(1, 0.36), bar(0.36, 1)],
        "triangle": [[(0.58 * np.sqrt(3), 0.8), (-0.58 * np.sqrt(3), 0.8), (0, 0.22 - 2 * 0.58)]],
        "star": [star(5, 1.1, 0.54)],
    }
    for points in filled[scene.shape]:
        pencil.polygon(place(points), fill=1)
    if scene.shape == "ring":
        pencil.polygon(place(star(180, 0.46, 0.46)), fill=0)
    return picture


class TestCommands:
    def test_options_are_described_with_their_values(self, inside: Inside) -> None:
        lines = inside("data", "describe", "shapes:semantic_loss=0.9").out.splitlines()
        [line] = [line for line in lines if line.startswith("option semantic_loss")]
        assert line.split(maxsplit=2)[2].startswith("0.9 (how far texture and background are constant")

    def test_a_table_says_which_options_it_is_of(self, inside: Inside) -> None:
        few = "shapes:images_per_class=10"
        arguments = ("compare", "eszsl", "-d", few, "-d", f"{few},semantic_loss=1@pixels", "--seeds", "1", "--plain")
        headings = [line for line in inside(*arguments).out.splitlines() if line.startswith("shapes")]
        assert [heading.split(":")[0] for heading in headings] == [
            "shapes, images_per_class=10",
            "shapes, semantic_loss=1.0, images_per_class=10",
        ]

    def test_an_audit_finds_nothing_wrong(self, inside: Inside) -> None:
        answer = inside("data", "audit", "shapes:images_per_class=10,semantic_loss=0.9")
        assert answer.status == 0
        assert {line.split()[0] for line in answer.out.splitlines()[1:]} == {"ok"}
