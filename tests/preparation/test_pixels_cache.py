"""The cache of squares and features of crops: used again, made again when damaged or outdated, safe from kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zlib
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from crops import CPU, SIDE, again, cache, in_files, prepared, problem
from pictures import Corners, write_folder
from PIL import Image

from zslbench import DataError
from zslbench.data import contents, made
from zslbench.data.imagefiles import FileImages
from zslbench.preparation import pixels as making
from zslbench.preparation.backbones import load_backbone
from zslbench.preparation.pixels import crop_features, squares

__all__ = ["cache"]


def test_what_is_made_once_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepared(problem(in_files(tmp_path)))
    assert isinstance(first.images, FileImages)

    def broken(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(FileImages, "read", broken)
    monkeypatch.setattr(Corners, "forward", broken)
    second = prepared(problem(again(first.images)))
    np.testing.assert_array_equal(np.asarray(first.features), np.asarray(second.features))


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


DAMAGE = {
    "inverted": lambda rows, state: rows.write_bytes(bytes(255 - value for value in rows.read_bytes())),
    "a bit": lambda rows, state: flip(rows, 8 * 20_000 + 3),
    "cut short": lambda rows, state: rows.write_bytes(rows.read_bytes()[:-1]),
    "longer": lambda rows, state: rows.write_bytes(rows.read_bytes() + b"more"),
    "no rows": lambda rows, state: rows.unlink(),
    "a folder": lambda rows, state: (rows.unlink(), rows.mkdir()),
    "rows swapped": lambda rows, state: rows.write_bytes(rows.read_bytes()[3072:] + rows.read_bytes()[:3072]),
    "no state": lambda rows, state: state.unlink(),
    "empty state": lambda rows, state: state.write_bytes(b""),
    "other state": lambda rows, state: state.write_text(json.dumps({"source": {}, "unreadable": {}})),
    "unreadable": lambda rows, state: state.write_text(state.read_text().replace("{}", '{"3": "x"}')),
    "a list": lambda rows, state: state.write_text("[1]"),
}  # fmt: skip
"""What may happen to a folder of the cache."""


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_squares_are_made_again_with_one_warning(tmp_path: Path, damage: str) -> None:
    images = in_files(tmp_path)
    file, _ = squares(images, SIDE)
    whole = file.read_bytes()
    DAMAGE[damage](file, file.with_name("state.json"))
    with pytest.warns(UserWarning, match=r"damaged \(.*\); it is made again") as told:
        file, unreadable = squares(images, SIDE)
    assert len(told) == 1
    assert (file.read_bytes(), unreadable) == (whole, {})


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_features_of_crops_are_computed_again(tmp_path: Path, cache: Path, damage: str) -> None:
    images = in_files(tmp_path, size=64)
    whole = np.array(crop_features(images, load_backbone("pixels"), 1, {}, CPU))
    [rows] = cache.glob("crops/*/rows")
    DAMAGE[damage](rows, rows.with_name("state.json"))
    with pytest.warns(UserWarning, match="it is made again"):
        found = crop_features(images, load_backbone("pixels"), 1, {}, CPU)
    np.testing.assert_array_equal(found, whole)


def test_no_single_bit_of_a_cache_changes_what_is_read(tmp_path: Path) -> None:
    """Each bit of the state of few images, one of them unreadable, and some of the bits of the rows."""
    images = in_files(tmp_path, count=3, size=4)
    (tmp_path / "a" / "1.png").write_text("a text")
    file, unreadable = squares(images, 4)
    state, whole = file.with_name("state.json"), file.read_bytes()
    bits = [(state, bit) for bit in range(8 * state.stat().st_size)] + [(file, bit) for bit in range(0, 1152, 7)]
    random = np.random.default_rng(0)
    for path, bit in [bits[i] for i in random.choice(len(bits), 200, replace=False)]:
        before = path.read_bytes()
        flip(path, bit)
        if path == state and _meaning(before) == _meaning(path.read_bytes()):  # a space became another, say
            assert squares(images, 4) == (file, unreadable)
            continue
        with pytest.warns(UserWarning, match="it is made again"):
            assert squares(images, 4) == (file, unreadable)
        assert file.read_bytes() == whole


def _meaning(state: bytes) -> object:
    try:
        return json.loads(state)
    except ValueError:
        return None


@pytest.mark.parametrize("part", [False, True], ids=["whole", "unfinished"])
def test_what_links_in_the_cache_lead_to_is_left_alone(tmp_path: Path, part: bool) -> None:
    images = in_files(tmp_path)
    file, _ = squares(images, SIDE)
    whole, folder, outside = file.read_bytes(), file.parent, tmp_path / "outside"
    folder.rename(outside)
    flip(outside / "rows", 0)
    before = (outside / "rows").read_bytes()
    (folder.with_suffix(".part") if part else folder).symlink_to(outside)
    with nullcontext() if part else pytest.warns(UserWarning, match="it is made again"):
        assert squares(images, SIDE)[0].read_bytes() == whole
    assert (outside / "rows").read_bytes() == before


def test_rows_are_not_written_through_a_link(tmp_path: Path, cache: Path) -> None:
    images = in_files(tmp_path)
    file, _ = squares(images, SIDE)
    file.parent.rename(folder := file.parent.with_suffix(".part"))
    (tmp_path / "mine").write_text("a text")
    (folder / "state.json").unlink()
    (folder / "rows").unlink()
    (folder / "rows").symlink_to(tmp_path / "mine")
    with pytest.raises(DataError, match="cannot be written"):
        squares(images, SIDE)
    assert (tmp_path / "mine").read_text() == "a text"


def test_squares_of_several_blocks_are_checked_to_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "BLOCK", 1000)
    monkeypatch.setattr(making, "CHUNK_IMAGES", 5)
    images = in_files(tmp_path)
    file, _ = squares(images, SIDE)
    whole = file.read_bytes()
    checksums = json.loads(file.with_name("state.json").read_text())["checksums"]
    assert checksums == [zlib.crc32(whole[at : at + 1000]) for at in range(0, len(whole), 1000)]
    flip(file, 8 * len(whole) - 1)
    with pytest.warns(UserWarning, match="1 of 37 blocks of rows do not fit"):
        squares(images, SIDE)
    assert file.read_bytes() == whole


def test_folders_of_the_cache_that_changed_places_are_not_mistaken(tmp_path: Path) -> None:
    first, second = in_files(tmp_path / "x"), in_files(tmp_path / "y", count=13)
    second = FileImages([f"b{i}" for i in range(12)], second.paths[1:])
    (one, _), (other, _) = squares(first, SIDE), squares(second, SIDE)
    whole = one.read_bytes()
    one.parent.rename(tmp_path / "aside")
    other.parent.rename(one.parent)
    with pytest.warns(UserWarning, match="it is of another source"):
        file, _ = squares(first, SIDE)
    assert file.read_bytes() == whole


def test_rows_are_read_once_in_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = in_files(tmp_path)
    squares(images, SIDE)
    monkeypatch.setattr(made.State, "count", lambda *_: pytest.fail("read again"))
    squares(images, SIDE)


def bitmaps(folder: Path) -> FileImages:
    """Noise in files of the same size."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(12):
        Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(folder / f"{i}.bmp")
    return FileImages([f"a/{i}.png" for i in range(12)], [folder / f"{i}.bmp" for i in range(12)])


@pytest.mark.parametrize("settled", [True, False], ids=["long ago", "just now"])
@pytest.mark.parametrize("stamps", ["kept", "new"])
def test_equally_large_files_that_change_places_are_other_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled: bool, stamps: str
) -> None:
    monkeypatch.setattr(contents, "RACY_NS", dict.fromkeys([True, False], 0 if settled else 10**12))
    images = bitmaps(tmp_path / "a")
    first, last = images.paths[0], images.paths[11]
    assert first is not None and last is not None
    assert first.stat().st_size == last.stat().st_size
    before = prepared(problem(images))
    times = [(path.stat().st_atime_ns, path.stat().st_mtime_ns) for path in (first, last)]
    time.sleep(0.02 if settled else 0)
    content, other = first.read_bytes(), last.read_bytes()
    first.write_bytes(other)
    last.write_bytes(content)
    if stamps == "kept":
        for path, stamp in zip((first, last), times, strict=True):
            os.utime(path, ns=stamp)
    after = prepared(problem(again(images)))
    assert after.fingerprint != before.fingerprint
    for was, now in [(0, 11), (11, 0), (5, 5)]:
        assert before.pixels is not None and after.pixels is not None
        assert torch.equal(before.pixels.read([was], [3]), after.pixels.read([now], [3]))
        assert before.features is not None and after.features is not None
        np.testing.assert_array_equal(before.features[was], after.features[now])


def test_an_image_that_changes_after_the_data_set_was_read_is_an_error(tmp_path: Path, cache: Path) -> None:
    images = bitmaps(tmp_path / "a")
    data = problem(images)
    assert data.fingerprint
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "a" / "7.bmp")
    with pytest.raises(DataError, match=r"7\.bmp: it changed since the data set was read; issue the command again"):
        prepared(data)
    assert not list(cache.glob("squares/*.part"))
    os.utime(tmp_path / "a" / "3.bmp")  # of the same content: nothing has changed
    prepared(problem(again(images)))


def test_squares_cut_short_under_way_are_one_line(tmp_path: Path) -> None:
    pixels = prepared(problem(in_files(tmp_path))).pixels
    assert pixels is not None
    os.truncate(pixels.file, 100)
    with pytest.raises(DataError, match="it was cut short since it was read"):
        pixels.centres(np.array([5]))
    pixels.file.unlink()
    with pytest.raises(DataError, match="there is no such file"):
        pixels.centres(np.array([5]))


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written .*; set ZSLBENCH_CACHE"):
        squares(in_files(tmp_path / "images"), SIDE)


SLOW = """
import sys, time
from pathlib import Path
from zslbench.data.imagefiles import FileImages, images_below
from zslbench.preparation import pixels as making

class Slow(FileImages):
    def read(self, row):
        time.sleep(0.01)
        return super().read(row)

if __name__ == "__main__":
    making.CHUNK_IMAGES = 5

    paths = images_below(Path(sys.argv[1]))
    names = [path.name for path in paths]
    file, _ = making.squares(Slow(names, paths), 32)
    print(file)
"""


@pytest.fixture
def many(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "many", {"a": 100}, SIDE)


def making_process(tmp_path: Path, folder: Path, cache: Path) -> subprocess.Popen[str]:
    script = tmp_path / "make.py"
    script.write_text(SLOW)
    environment = {**os.environ, "ZSLBENCH_CACHE": str(cache)}
    command = [sys.executable, str(script), str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_killed_and_started_again_it_gives_the_same_bytes(tmp_path: Path, many: Path) -> None:
    process = making_process(tmp_path, many, tmp_path / "killed")
    done, until = 0, time.monotonic() + 60
    while done < 30 and time.monotonic() < until:
        time.sleep(0.002)
        for state in (tmp_path / "killed").glob("squares/*.part/state.json"):
            done = json.loads(state.read_text())["done"]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 30 <= done < 100
    assert not list((tmp_path / "killed").glob("squares/*/rows.part"))

    again = making_process(tmp_path, many, tmp_path / "killed").communicate(timeout=60)[0].strip()
    whole = making_process(tmp_path, many, tmp_path / "whole").communicate(timeout=60)[0].strip()
    assert Path(again).read_bytes() == Path(whole).read_bytes()
    assert len(Path(whole).read_bytes()) == 100 * 3 * SIDE**2


def test_two_processes_at_once_make_them_once(tmp_path: Path, many: Path) -> None:
    both = [making_process(tmp_path, many, tmp_path / "both") for _ in range(2)]
    found = {process.communicate(timeout=60)[0] for process in both}
    [path] = found
    assert Path(path.strip()).stat().st_size == 100 * 3 * SIDE**2
    assert not list((tmp_path / "both").glob("squares/*.part"))


DRAWN = """
import resource
from PIL import Image
from zslbench.preparation import pixels as making

class Drawn:
    fingerprint = "drawn"
    def __len__(self):
        return 200
    def read(self, row):
        return Image.new("RGB", (200, 300), (row, 0, 0))

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
file, _ = making.squares(Drawn(), 600)
print(file.stat().st_size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in other units elsewhere")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path) -> None:
    """216 MB of squares."""
    ran = subprocess.run([sys.executable, "-c", DRAWN], capture_output=True, text=True, check=True)
    size, kilobytes = map(int, ran.stdout.split())
    assert size == 200 * 3 * 600**2
    assert kilobytes < 60_000
