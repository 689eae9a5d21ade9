"""Decoding of image files, whatever is in them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zslbench.api.images import UnreadableImage
from zslbench.data.decoding import load_image


def sixteen_bit_png(path: Path, pixels: np.ndarray, colour_type: int) -> Path:
    """Writes a PNG of 16 bits a channel as its specification describes, without Pillow."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def colours(path: Path) -> list[tuple[int, ...]]:
    image = load_image(path)
    assert image.mode == "RGB"
    return [tuple(pixel) for pixel in np.asarray(image).reshape(-1, 3).tolist()]


def test_grayscale_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 128, 255]], np.uint8)).save(tmp_path / "x.png")
    assert colours(tmp_path / "x.png") == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]


def test_sixteen_bits_are_scaled_to_eight_not_cut(tmp_path: Path) -> None:
    gray = sixteen_bit_png(tmp_path / "g.png", np.array([[0, 257 * 100, 65535]]), colour_type=0)
    assert colours(gray) == [(0, 0, 0), (100, 100, 100), (255, 255, 255)]
    colour = sixteen_bit_png(tmp_path / "c.png", np.array([[[0, 257 * 100, 65535]]]), colour_type=2)
    assert colours(colour) == [(0, 100, 255)]


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "x.jpg", quality=100)  # no cyan: pure red
    assert np.abs(np.array(colours(tmp_path / "x.jpg")) - [255, 0, 0]).max() <= 3


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putdata([0, 1])
    image.save(tmp_path / "palette.png", transparency=0)
    assert colours(tmp_path / "palette.png") == [(255, 255, 255), (200, 0, 0)]
    Image.new("LA", (1, 1), (0, 51)).save(tmp_path / "la.png")  # a fifth black on white
    assert colours(tmp_path / "la.png") == [(204, 204, 204)]


def test_an_image_is_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by 90 degrees
    pixels = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    assert load_image(tmp_path / "x.png").size == (1, 2)
    assert colours(tmp_path / "x.png") == [(255, 0, 0), (0, 0, 255)]


def test_an_image_one_pixel_wide_keeps_its_middle(tmp_path: Path) -> None:
    column = np.arange(256, dtype=np.uint8).repeat(4)[:, None]
    Image.fromarray(column).save(tmp_path / "x.png")
    image = load_image(tmp_path / "x.png")
    assert image.size == (1, 16)
    assert np.asarray(image)[:, 0, 0].tolist() == column[504:520, 0].tolist()


def damaged(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.jpg"
    if kind == "text":
        path.write_text("no image at all")
    elif kind == "empty":
        path.touch()
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind == "program":  # an EPS would be given to an interpreter
        path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    elif kind == "float":
        Image.fromarray(np.ones((2, 2), np.float32)).save(path, format="TIFF")
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("text", "can be identified"),
        ("empty", "can be identified"),
        ("truncated", "truncated"),
        ("program", "can be identified"),
        ("float", "range is unknown"),
        ("absent", "No such file"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, kind: str, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        load_image(damaged(tmp_path, kind))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_image(tmp_path: Path) -> None:
    Image.new("RGB", (3, 2), "white").save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")
    assert load_image(tmp_path / "x.jpg").size == (3, 2)


def test_a_box_counts_columns_and_rows_from_one_and_includes_the_last(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "x.png", (3, 5, 10, 6))), noise[4:6, 2:10])
    whole = load_image(tmp_path / "x.png", (0, 0, 31, 25))  # boxes of VOC reach over the edge by a pixel now and then
    np.testing.assert_array_equal(np.asarray(whole), noise)


def test_an_empty_box_says_why(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "x.png")
    with pytest.raises(UnreadableImage, match=r"its box \(40, 1, 50, 9\) holds none of its 30 x 20 pixels"):
        load_image(tmp_path / "x.png", (40, 1, 50, 9))
