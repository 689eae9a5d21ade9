"""Decoding of image files, whatever is in them."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from zslbench.api.images import UnreadableImage
from zslbench.data import decoding
from zslbench.data.decoding import load_image, undecodable
from zslbench.data.imagefiles import FileImages


def sixteen_bit_png(path: Path, pixels: np.ndarray, colour_type: int) -> Path:
    """Writes a PNG of 16 bits a channel."""
    height, width = pixels.shape[:2]
    return png(path, (width, height, 16, colour_type), (row.astype(">u2").tobytes() for row in pixels))


def png(path: Path, head: tuple[int, int, int, int], rows: Iterable[bytes], *chunks: tuple[bytes, bytes]) -> Path:
    """Writes a PNG as its specification describes, without Pillow: width, height, bits, colour type, then its rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    packer = zlib.compressobj(1)
    packed = b"".join([packer.compress(b"\0" + row) for row in rows]) + packer.flush()
    content = [(b"IHDR", struct.pack(">IIBBBBB", *head, 0, 0, 0)), *chunks, (b"IDAT", packed), (b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in content))
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


@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "loop"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.png"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    with pytest.raises(
        UnreadableImage, match="levels of symbolic links" if kind == "loop" else "no file, but a folder"
    ):
        load_image(path)


def test_a_truncated_file_is_no_image_whatever_another_library_allows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UnreadableImage, match="truncated"):
        load_image(damaged(tmp_path, "truncated"))


def test_of_several_frames_it_is_the_first(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    for name in ("x.gif", "x.png", "x.tiff", "x.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert set(colours(tmp_path / name)) == {(255, 0, 0)}


def too_large(folder: Path, kind: str) -> Path:
    """Writes a file of at most 40 kB that declares gigabytes."""
    path = folder / "x"
    if kind == "png":
        return png(path, (13_300, 13_300, 16, 0), [bytes(99)])
    if kind == "bomb":
        return png(path, (2**30, 2**30, 8, 2), [bytes(99)])
    if kind == "tile":
        tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 60_000, 323: 60_000, 324: 200, 325: 99}
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(300))
    elif kind == "text":
        path = png(path, (1, 1, 8, 0), [b"\0"], (b"zTXt", b"x\0\0" + zlib.compress(bytes(2**25))))
    else:
        Image.new("L", (8, 8)).save(path, format="GIF" if kind == "gif" else "JPEG")
        content = bytearray(path.read_bytes())
        at = 6 if kind == "gif" else content.index(b"\xff\xc0") + 5  # where the size stands
        content[at : at + 4] = b"\xff\xff\xff\xff"
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("png", r"its 13300 x 13300 pixels take 1.8 GB to decode, and more than 1.1 GB are not given to an image"),
        ("bomb", "decompression bomb"),
        ("tile", "take 50.4 GB to decode"),
        ("text", "too large"),
        ("gif", "decompression bomb"),
        ("jpeg", "decompression bomb"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_declares_too_much_is_unreadable_and_says_why(tmp_path: Path, kind: str, reason: str) -> None:
    with pytest.raises(UnreadableImage, match=reason):
        load_image(too_large(tmp_path, kind))


def test_a_jpeg_that_is_too_large_is_decoded_at_a_smaller_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 64 x 48 blocks of 8 x 8 pixels, each of one colour, whose means any scale keeps."""
    random = np.random.default_rng(0)
    small = np.kron(random.integers(40, 215, (6, 8, 1)), np.ones((8, 8, 3))).astype(np.uint8)
    Image.fromarray(np.kron(small, np.ones((8, 8, 1), np.uint8))).save(tmp_path / "x.jpg", quality=95)
    assert load_image(tmp_path / "x.jpg").size == (512, 384)
    for memory, scale in [(2_000_000, 1), (1_900_000, 2), (490_000, 4), (122_000, 8)]:
        monkeypatch.setattr(decoding, "MEMORY", memory)
        found = load_image(tmp_path / "x.jpg")
        assert found.size == (512 // scale, 384 // scale)
        expected = np.kron(small, np.ones((8 // scale, 8 // scale, 1)))
        assert np.abs(np.asarray(found, dtype=float) - expected).max() <= 4
    monkeypatch.setattr(decoding, "MEMORY", 30_000)
    with pytest.raises(UnreadableImage, match="make it smaller"):
        load_image(tmp_path / "x.jpg")
    monkeypatch.setattr(decoding, "MEMORY", 1_900_000)
    with pytest.raises(UnreadableImage, match="make it smaller"):
        load_image(tmp_path / "x.jpg", (1, 1, 9, 9))  # a box counts pixels of the whole


def test_threads_wait_where_their_images_would_not_fit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "MEMORY", 2_500)  # two images of 10 x 10 pixels
    monkeypatch.setattr(decoding, "THREADS", 8)
    at_once, most, lock = 0, 0, threading.Lock()
    images = FileImages([str(i) for i in range(24)], [tmp_path / f"{i}.png" for i in range(24)])
    for path in images.paths:
        assert path is not None
        Image.new("RGB", (10, 10)).save(path)

    def use(image: Image.Image) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.005)
        with lock:
            at_once -= 1

    with decoding.walk(images, range(24), use) as made:
        assert list(made) == [None] * 24
    assert most == 2
    assert undecodable(images, range(24), lambda *_: None) == {}


MEASURED = """
import sys
from pathlib import Path
from PIL import Image
Image.MAX_IMAGE_PIXELS = None
from zslbench.data import decoding
from zslbench.data.imagefiles import FileImages

def peak():
    return 1024 * int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])

decoding.MEMORY, decoding.THREADS = 2 * 10**8, 4
paths = sorted(Path(sys.argv[1]).iterdir())
before = peak()
print(decoding.undecodable(FileImages([path.name for path in paths], paths), range(len(paths)), lambda *_: None))
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("kind", ["png16", "progressive", "transparent"])
def test_four_threads_take_no_more_memory_than_is_given(tmp_path: Path, kind: str) -> None:
    """Six images of 9 million pixels, each of which would take 36 MB at least at four bytes a pixel."""
    image, path = Image.new("RGB", (3000, 3000), "teal"), tmp_path / "x"
    if kind == "png16":
        sixteen_bit_png(path, np.full((3000, 3000), 777), colour_type=0)
    elif kind == "transparent":
        image.convert("RGBA").save(path, "PNG", compress_level=1)
    else:
        image.save(path, "JPEG", progressive=True, subsampling=0)
    for i in range(5):
        (tmp_path / f"x{i}").hardlink_to(path)
    ran = subprocess.run([sys.executable, "-c", MEASURED, str(tmp_path)], capture_output=True, text=True, check=True)
    unreadable, taken = ran.stdout.splitlines()
    assert unreadable == "{}"
    assert int(taken) < 1.8 * 2 * 10**8  # what is free again stays with the C library for a while


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jpg", b"", "(it is empty)"),
        (
            "a.jpg",
            b"\x00\x00\x00\x18ftypheic",
            "(it is HEIC or the like, whatever its name says; convert it to JPEG or PNG)",
        ),
        ("a.jpg", b"\n<!DOCTYPE html><html>", "(it is a web page)"),
        ("a.png", b"%PDF-1.7", "(it is a PDF)"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1", "(it is a pointer of Git LFS, to be fetched"),
        ("a.CR2", b"unknown", "(.cr2 files are not read; convert it to JPEG or PNG)"),
        ("a.jpg", b"unknown", "not an image that can be identified"),
    ],
)
def test_what_is_no_image_is_named_so_far_as_its_first_bytes_tell(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImage) as error:
        load_image(tmp_path / name)
    assert str(error.value).startswith("not an image that can be identified")
    assert said in str(error.value)
