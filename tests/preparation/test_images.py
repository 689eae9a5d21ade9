"""Images on disk: decoding, listing by class, and matching of names."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from pictures import write_folder
from PIL import Image

from zslbench.api.images import UnreadableImage
from zslbench.data.decoding import load_image
from zslbench.data.imagefiles import match_images
from zslbench.errors import DataError, UsageError
from zslbench.preparation.images import ImageFolder


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


def test_a_folder_lists_classes_and_images_in_order(tmp_path: Path) -> None:
    write_folder(tmp_path, {"b": 2, "a": 2})
    (tmp_path / "a" / "more").mkdir()
    Image.new("L", (1, 1)).save(tmp_path / "a" / "more" / "5.PNG")
    for stray in ("a/notes.txt", "a/.hidden.png", "top.png"):
        (tmp_path / stray).write_text("")
    (tmp_path / ".cache").mkdir()
    found = ImageFolder.read(tmp_path)
    assert found.class_names == ("a", "b")
    assert found.names == ("a/0.png", "a/1.png", "a/more/5.PNG", "b/0.png", "b/1.png")
    assert found.labels.tolist() == [0, 0, 0, 1, 1]


def test_a_folder_without_classes_is_one_line(tmp_path: Path) -> None:
    Image.new("L", (1, 1)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match="no images; each class is a sub-folder"):
        ImageFolder.read(tmp_path)
    with pytest.raises(UsageError, match=r"--images .*nowhere: there is no such folder"):
        ImageFolder.read(tmp_path / "nowhere")


def test_two_folders_of_one_name_are_one_line(tmp_path: Path) -> None:
    write_folder(tmp_path, {"cat": 2, "cat ": 2, "dog": 2})
    with pytest.raises(DataError, match="two classes are called 'cat'"):
        ImageFolder.read(tmp_path)


@pytest.mark.parametrize("count", [0, 1])
def test_a_class_with_fewer_than_two_images_is_one_line(tmp_path: Path, count: int) -> None:
    write_folder(tmp_path, {"cat": count, "dog": 2})
    with pytest.raises(DataError, match=f"class 'cat' has {count} images; each class needs two"):
        ImageFolder.read(tmp_path)


def test_names_match_the_longest_end_of_a_path(tmp_path: Path) -> None:
    write_folder(tmp_path, {"CUB/images/001.a": 2, "CUB/images/002.b": 2, "other": 1})
    names = ["/BS/xian//images/002.b/0.png", "/BS/xian/images/001.a/1.png", "other/0.png"]
    assert [path.relative_to(tmp_path).as_posix() for path in match_images(names, tmp_path)] == [
        "CUB/images/002.b/0.png",
        "CUB/images/001.a/1.png",
        "other/0.png",
    ]


def test_a_name_of_its_own_folder_wins_over_a_deeper_copy(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "copy/a": 1})
    assert match_images(["a/0.png"], tmp_path) == [tmp_path / "a" / "0.png"]


def test_two_files_that_fit_equally_well_are_both_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1, "b": 1})
    with pytest.raises(DataError, match=r"a/0\.png and .*b/0\.png both fit the image /disk/0\.png"):
        match_images(["/disk/0.png"], tmp_path)


def test_missing_images_are_counted_and_the_first_named(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 1})
    names = ["a/0.png", *(f"a/{i}.jpg" for i in range(5))]
    with pytest.raises(DataError, match=r"5 of 6 images are missing, for instance a/0\.jpg, a/1\.jpg, a/2\.jpg$"):
        match_images(names, tmp_path)


@pytest.mark.parametrize("name", ["CUB", "AWA2", "SUN", "FLO"])
def test_the_releases_names_match_folders_as_their_authors_publish_them(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    """Empty files stand for images: matching looks at names alone."""
    cells = scipy.io.loadmat(real_data / name / "labels.mat", variable_names=["image_files"])["image_files"]
    names = [str(cell[0][0]) for cell in cells[::97]]
    kept = [Path(*Path(file).parts[-3:]) for file in names]
    for path in kept:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert match_images(names, tmp_path) == [tmp_path / path for path in kept]
