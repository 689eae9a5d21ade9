"""What a run on images is given: crops, their features, and a split without the images that cannot be read."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from crops import CPU, SIDE, again, array, cache, in_files, prepared, problem
from PIL import Image

from zslbench import DataError, UnreadableImage
from zslbench.data import decoding
from zslbench.data.decoding import central_square
from zslbench.data.imagefiles import FileImages
from zslbench.errors import RunError
from zslbench.preparation import pixels as making
from zslbench.preparation.backbones import AveragePixels, TimmBackbone, TorchvisionBackbone, load_backbone
from zslbench.preparation.pixels import crop_features, cut_crops, squares

__all__ = ["cache"]


def test_crops_are_the_centre_the_corners_and_their_mirror_images(tmp_path: Path) -> None:
    images = in_files(tmp_path)
    pixels = prepared(problem(images)).pixels
    assert pixels is not None
    whole = array(tmp_path / "a" / "5.png")
    places = [(2, 2), (0, 0), (0, 4), (4, 0), (4, 4)]  # row and column of the upper left corner
    expected = [whole[:, row : row + 28, column : column + 28] for row, column in places]
    expected += [crop[:, :, ::-1] for crop in expected]
    found = pixels.read([5] * 10, range(10)).numpy()
    np.testing.assert_array_equal(found, np.stack(expected))


def test_features_are_those_of_the_same_crops(tmp_path: Path) -> None:
    """Of noise of the square's own size, the corners of a crop are those of its features' crop, pixel by pixel."""
    data = prepared(problem(in_files(tmp_path, size=2)), crops=5)  # `corners` takes 2 x 2, of a square of 2
    assert data.features is not None
    assert data.features.shape == (12, 5, 12)
    for row in (0, 11):
        np.testing.assert_array_equal(data.features[row, 3].reshape(3, 2, 2), array(tmp_path / "a" / f"{row}.png"))


@pytest.mark.parametrize("size", [(300, 256), (259, 256), (256, 411)])
@pytest.mark.parametrize("make", [lambda: TorchvisionBackbone("squeezenet1_1", pretrained=False), AveragePixels])
def test_the_centre_crop_is_what_the_backbone_makes_of_the_whole_image(size: tuple[int, int], make) -> None:  # type: ignore[no-untyped-def]
    backbone = make()
    scale = 1 if isinstance(backbone, TorchvisionBackbone) else 73 / 256
    size = tuple(round(length * scale) for length in size)
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    side = 224 if isinstance(backbone, TorchvisionBackbone) else 64
    [crop] = cut_crops(image, side, 1)
    torch.testing.assert_close(backbone.prepare_crop(crop), backbone.prepare(image), rtol=0, atol=0)


def test_a_crop_loses_nothing_but_scale_in_timm() -> None:
    backbone = TimmBackbone("resnet18", pretrained=False)
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    made = backbone.prepare_crop(Image.fromarray(noise))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (torch.from_numpy(noise).permute(2, 0, 1) / 255 - mean[:, None, None]) / deviation[:, None, None]
    torch.testing.assert_close(made, expected)
    assert backbone.prepare_crop(Image.new("RGB", (100, 100))).shape == (3, 224, 224)


def test_the_backbone_of_pixels_averages_fields(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    backbone = load_backbone("pixels").backbone
    found = backbone(backbone.prepare_crop(Image.fromarray(noise))[None])[0].reshape(3, 16, 16).numpy()
    expected = noise.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def odd(folder: Path) -> FileImages:
    """Images of every kind that is readable but unusual."""
    folder.mkdir()
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(folder / "cmyk.jpg", quality=100)
    Image.new("L", (40, 50), 77).save(folder / "gray.png")
    Image.fromarray(np.full((40, 40), 257 * 50, np.uint16)).save(folder / "sixteen.png")
    Image.fromarray(np.full((300, 1, 3), 9, np.uint8)).save(folder / "thin.png")
    names = ["cmyk.jpg", "gray.png", "sixteen.png", "thin.png"]
    return FileImages(names, [folder / name for name in names])


def test_unusual_images_become_squares(tmp_path: Path) -> None:
    file, unreadable = squares(odd(tmp_path / "odd"), SIDE)
    assert unreadable == {}
    found = np.frombuffer(file.read_bytes(), np.uint8).reshape(4, 3, SIDE, SIDE)
    assert np.abs(found[0].astype(int) - np.array([255, 0, 0])[:, None, None]).max() <= 3
    for row, value in [(1, 77), (2, 50), (3, 9)]:
        assert (found[row] == value).all()


def test_the_square_is_the_middle_scaled_by_the_shorter_side() -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    scaled = image.resize((150, 50), Image.Resampling.BICUBIC)
    assert central_square(image, 50).tobytes() == scaled.crop((50, 0, 100, 50)).tobytes()


def test_threads_make_the_same_squares_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = in_files(tmp_path, count=40)
    (tmp_path / "a" / "33.png").write_text("a text")
    monkeypatch.setattr(making, "CHUNK_IMAGES", 7)
    monkeypatch.setattr(decoding, "THREADS", 1)
    alone, unreadable = squares(images, SIDE)
    whole = alone.read_bytes()
    alone.unlink()
    monkeypatch.setattr(decoding, "THREADS", 5)
    with pytest.warns(UserWarning, match="rows cannot be read"):
        file, found = squares(images, SIDE)
    assert file.read_bytes() == whole
    assert found == unreadable == {33: "not an image that can be identified"}


class Buggy(FileImages):
    def read(self, row: int) -> Image.Image:
        raise IndexError("no such shape")


def test_a_fault_of_the_images_is_no_unreadable_image(tmp_path: Path) -> None:
    good = in_files(tmp_path)
    with pytest.raises(RunError, match=r"0\.png: reading it failed \(IndexError: no such shape\)"):
        squares(Buggy(["a/0.png"], [good.paths[0]]), SIDE)


def test_unreadable_images_are_left_out_with_one_warning(tmp_path: Path) -> None:
    images = in_files(tmp_path)
    (tmp_path / "a" / "1.png").write_text("a text")
    (tmp_path / "a" / "9.png").unlink()
    (tmp_path / "a" / "7.png").write_bytes((tmp_path / "a" / "7.png").read_bytes()[:200])
    data = problem(images)
    with pytest.warns(UserWarning) as told:
        found = prepared(data)
    [warning] = told
    text = str(warning.message)
    assert "3 of 12 images cannot be read" in text
    assert "1.png: not an image that can be identified" in text
    assert "1 of trainval, 1 of test_seen, 1 of test_unseen" in text
    assert found.train.tolist() == [0, 2, 4, 5, 6]
    assert found.test_seen.tolist() == [3]
    assert found.test_unseen.tolist() == [8, 10, 11]
    assert found.fingerprint == data.fingerprint
    assert found.pixels is not None
    assert not found.pixels.centres(np.array([1, 9])).any()
    assert found.features is not None
    assert found.features.shape == (12, 10, 12)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ([3, 7], "leaves nothing of test_seen"),
        ([4, 5, 6], r"leaves class 'two' none in trainval"),
        (range(12), "12 of 12 images cannot be read"),
    ],
)
def test_an_empty_class_or_part_is_one_line(tmp_path: Path, gone: list[int], message: str) -> None:
    images = in_files(tmp_path)
    for row in gone:
        (tmp_path / "a" / f"{row}.png").write_text("a text")
    with pytest.raises(DataError, match=message):
        prepared(problem(images))


def test_an_image_that_can_be_read_by_now_is_read(tmp_path: Path) -> None:
    images = in_files(tmp_path)
    path = tmp_path / "a" / "1.png"
    path.rename(tmp_path / "kept")
    assert list(squares(images, SIDE)[1]) == [1]
    (tmp_path / "kept").rename(path)
    file, unreadable = squares(again(images), SIDE)
    assert unreadable == {}
    assert file.read_bytes()[3 * SIDE**2 : 6 * SIDE**2] == array(path).tobytes()


def test_an_image_lost_in_between_is_an_error(tmp_path: Path) -> None:
    images = in_files(tmp_path)
    (tmp_path / "a" / "4.png").unlink()
    with pytest.raises(DataError, match=r"4\.png: it could be read before, and cannot now"):
        crop_features(images, load_backbone("corners"), 1, {}, CPU)


def test_nothing_is_warned_of_where_all_is_well(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = prepared(problem(in_files(tmp_path)), crops=1, backbone="pixels")
    assert data.features is not None
    assert data.features.shape == (12, 1, 768)
    assert data.features_name == "pixels"
    assert replace(data, pixels=data.pixels).train_view("inductive").x.shape == (6, 1, 768)


def test_reading_past_the_list_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"^missing$"):
        FileImages(["x.png"], [None]).read(0)
