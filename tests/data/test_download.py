"""Downloads from a local server: progress, resuming, damage, an unreachable source."""

from __future__ import annotations

import hashlib
import http.server
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from zslbench.data import download
from zslbench.data.download import get
from zslbench.errors import DataError


class Server(http.server.ThreadingHTTPServer):
    """Serves one archive; `break_after` bytes of a response it drops the connection, `breaks` times."""

    content = b""
    status = 200
    ranges = True
    break_after = 0
    breaks = 0
    length: str | None = None
    """What it says of its length in place of the truth; empty for nothing at all."""
    range_start: int | None = None
    """Where it says that a part begins, in place of nothing."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.paths: list[str] = []

    @property
    def site(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        server.paths.append(self.path)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        body = server.content[start:]
        if start >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if server.length != "":
            self.send_header("Content-Length", server.length or str(len(body)))
        if server.range_start is not None and start:
            self.send_header("Content-Range", f"bytes {server.range_start}-{len(server.content)}/*")
        self.end_headers()
        if server.breaks:
            server.breaks -= 1
            body = body[: server.break_after]
        with suppress(ConnectionError):  # whoever asked had enough
            self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    path = tmp_path / "made.zip"
    noise = np.random.default_rng(0).bytes(400_000)  # incompressible, so that damage hits data
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for folder in ("SUN", "CUB"):
            file.writestr(f"xlsa17/data/{folder}/res101.mat", noise + folder.encode())
            file.writestr(f"xlsa17/data/{folder}/att_splits.mat", b"splits of " + folder.encode())
        file.writestr("xlsa17/README.txt", "read me")
    content = path.read_bytes()
    path.unlink()
    return content


@pytest.fixture
def server(archive, tmp_path, monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        running.content = archive
        monkeypatch.setattr(download, "SITE", running.site)
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def names_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_only_what_was_asked_for_is_unpacked(server, archive, tmp_path):
    seen: list[tuple[int, int]] = []
    added = get("SUN", tmp_path / "data", lambda done, total: seen.append((done, total)))
    assert {path.name for path in added} == {"att_splits.mat", "res101.mat"}
    assert names_below(tmp_path / "data") == {"SUN/att_splits.mat", "SUN/res101.mat"}
    assert (tmp_path / "data/SUN/att_splits.mat").read_bytes() == b"splits of SUN"
    assert seen[-1] == (len(archive), len(archive))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    recorded = (tmp_path / "cache/downloads/xlsa17.zip.sha256").read_text().split()[0]
    assert recorded == hashlib.sha256(archive).hexdigest()


def test_the_archive_is_fetched_once_for_several_data_sets(server, tmp_path):
    get("SUN", tmp_path / "data")
    get("CUB", tmp_path / "data")
    assert len(server.asked) == 1
    assert names_below(tmp_path / "data") == {f"{f}/{n}" for f in ("SUN", "CUB") for n in download.ARCHIVE_FILES}


def test_flowers_come_from_an_archive_of_their_own(server, tmp_path):
    """Xian et al. released them with Feature Generating Networks (CVPR 2018), in `cvpr18xian/data/FLO`."""
    get("SUN", tmp_path / "data")
    other = tmp_path / "flowers.zip"
    with zipfile.ZipFile(other, "w") as file:
        for name in ("res101.mat", "att_splits.mat"):
            file.writestr(f"cvpr18xian/data/FLO/{name}", f"{name} of flowers")
            file.writestr(f"cvpr18xian/data/CUB/{name}", "birds with other embeddings, which nobody asks for")
    server.content = other.read_bytes()
    other.unlink()
    added = get("FLO", tmp_path / "data")
    assert server.paths == ["/xlsa17.zip", "/cvpr18xian.zip"]
    assert {path.name for path in added} == {"att_splits.mat", "res101.mat"}
    assert (tmp_path / "data/FLO/res101.mat").read_text() == "res101.mat of flowers"
    assert {"downloads/xlsa17.zip", "downloads/cvpr18xian.zip"} <= names_below(tmp_path / "cache")
    get("CUB", tmp_path / "data")
    assert len(server.paths) == 2
    assert (tmp_path / "data/CUB/att_splits.mat").read_bytes() == b"splits of CUB"


def test_an_archive_without_what_is_wanted_of_it_is_named(server, tmp_path):
    with pytest.raises(DataError, match=r"cvpr18xian\.zip sent is no whole archive \(none of its files is there, "):
        get("FLO", tmp_path / "data")
    assert names_below(tmp_path / "cache") <= {"downloads/cvpr18xian.lock"}


def test_files_that_are_there_are_left_alone(server, tmp_path):
    mine = tmp_path / "data/SUN/att_splits.mat"
    mine.parent.mkdir(parents=True)
    mine.write_text("my own split")
    assert [path.name for path in get("SUN", tmp_path / "data")] == ["res101.mat"]
    assert mine.read_text() == "my own split"
    assert get("SUN", tmp_path / "data") == []


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server, tmp_path):
    server.break_after, server.breaks = 100_000, 3
    get("SUN", tmp_path / "data")
    assert server.asked == [None, "bytes=100000-", "bytes=200000-", "bytes=300000-"]
    assert (tmp_path / "data/SUN/res101.mat").read_bytes().endswith(b"SUN")


def test_an_interrupted_download_is_resumed_by_the_next_command(server, archive, tmp_path):
    server.break_after, server.breaks = 0, 100
    part = tmp_path / "cache/downloads/xlsa17.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(archive[:50_000])
    with pytest.raises(DataError, match="run the command again to go on"):
        get("SUN", tmp_path / "data")
    assert part.stat().st_size == 50_000
    server.breaks = 0
    server.asked.clear()
    get("SUN", tmp_path / "data")
    assert server.asked == ["bytes=50000-"]
    assert not part.exists()


def test_a_server_without_ranges_sends_it_all_again(server, archive, tmp_path):
    server.ranges, server.break_after, server.breaks = False, 100_000, 1
    get("SUN", tmp_path / "data")
    assert (tmp_path / "cache/downloads/xlsa17.zip").read_bytes() == archive


def test_a_part_that_is_already_whole_is_used(server, archive, tmp_path):
    part = tmp_path / "cache/downloads/xlsa17.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(archive)
    get("SUN", tmp_path / "data")
    assert names_below(tmp_path / "data") == {"SUN/att_splits.mat", "SUN/res101.mat"}


def test_a_part_longer_than_the_archive_is_dropped(server, archive, tmp_path):
    part = tmp_path / "cache/downloads/xlsa17.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(archive) + 7))
    get("SUN", tmp_path / "data")
    assert (tmp_path / "cache/downloads/xlsa17.zip").read_bytes() == archive


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:200_000] + bytes([content[200_000] ^ 0xFF]) + content[200_001:],
        lambda content: content[:-100],
        lambda content: b"<html>moved</html>",
        lambda content: b"PK\x05\x06" + bytes(18),
    ],
    ids=["flipped", "cut", "html", "empty zip"],
)
def test_a_damaged_archive_is_deleted_and_nothing_unpacked(server, tmp_path, spoil):
    server.content = spoil(server.content)
    with pytest.raises(DataError, match=r"is no whole archive .* run the command again"):
        get("SUN", tmp_path / "data")
    assert names_below(tmp_path / "cache") <= {"downloads/xlsa17.lock"}
    assert not (tmp_path / "data").exists()


def test_an_archive_put_there_by_hand_is_used_and_named_if_damaged(server, archive, tmp_path):
    by_hand = tmp_path / "cache/downloads/xlsa17.zip"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(archive[:200_000] + b"?" * 1000 + archive[201_000:])
    with pytest.raises(DataError, match=r"downloads/xlsa17\.zip: cannot be read as a whole zip .* delete it"):
        get("SUN", tmp_path / "data")
    assert "SUN/res101.mat" not in names_below(tmp_path / "data")
    assert not list(tmp_path.rglob("*.mat.part"))
    by_hand.write_bytes(archive)
    get("SUN", tmp_path / "data")
    assert server.asked == []


@pytest.mark.parametrize("status", [404, 503])
def test_an_unreachable_source_says_which_file_is_expected_where(server, tmp_path, status):
    server.status = status
    with pytest.raises(DataError, match=f"HTTP status {status}") as caught:
        get("SUN", tmp_path / "data")
    assert str(tmp_path / "cache/downloads/xlsa17.zip") in str(caught.value)
    assert f"att_splits.mat and res101.mat into {tmp_path / 'data' / 'SUN'}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_server_at_all_is_one_line(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "SITE", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"cannot be fetched .*refused"):
        get("SUN", tmp_path / "data")


def test_a_data_set_that_the_archive_lacks_is_refused_before_any_transfer(server, tmp_path):
    with pytest.raises(DataError, match=r"the GBU archives have no folder PETS.*put att_splits\.mat"):
        get("PETS", tmp_path / "data")
    with pytest.raises(DataError, match="holds no xlsa17/data/APY"):
        get("APY", tmp_path / "data")
    assert len(server.asked) == 1


def test_a_folder_that_cannot_be_written_is_one_line(server, tmp_path):
    (tmp_path / "data").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        get("SUN", tmp_path / "data")


@pytest.mark.parametrize("length", ["abc", "-5", "", "9" * 30])
def test_a_length_that_is_none_is_no_matter_if_the_archive_is_whole(server, archive, tmp_path, length):
    server.length = length
    get("SUN", tmp_path / "data")
    assert (tmp_path / "cache/downloads/xlsa17.zip").read_bytes() == archive


@pytest.mark.parametrize("length", ["3000000000", ""], ids=["declared", "without end"])
def test_a_download_that_is_larger_than_the_archive_can_be_is_stopped(server, tmp_path, monkeypatch, length):
    server.length = length
    if not length:
        small = tuple(replace(archive, most=300_000) for archive in download.ARCHIVES)
        monkeypatch.setattr(download, "ARCHIVES", small)
    with pytest.raises(DataError, match=r"sends more than .* GB, and the archive has less"):
        get("SUN", tmp_path / "data")
    assert names_below(tmp_path / "cache") <= {"downloads/xlsa17.lock"}
    assert len(server.asked) == 1


def test_a_disk_without_room_is_said_before_it_is_full(server, archive, tmp_path, monkeypatch):
    usage = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=len(archive) - 1))
    with pytest.raises(DataError, match=r"downloads: 1 MB are needed and 1 MB are free; make room"):
        get("SUN", tmp_path / "data")
    assert names_below(tmp_path / "cache") <= {"downloads/xlsa17.lock"}
    monkeypatch.setattr(
        download.shutil,
        "disk_usage",
        lambda path: usage._replace(free=9 if "data" in str(path) or path == tmp_path else usage.free),
    )
    with pytest.raises(DataError, match=r"SUN: 0 MB are needed"):
        get("SUN", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_part_from_elsewhere_is_not_joined_to_what_is_there(server, archive, tmp_path):
    part = tmp_path / "cache/downloads/xlsa17.zip.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(archive[:50_000])
    server.range_start = 0  # whatever is asked for
    get("SUN", tmp_path / "data")
    assert (tmp_path / "cache/downloads/xlsa17.zip").read_bytes() == archive
    assert server.asked == ["bytes=50000-", None]


def linked(file: zipfile.ZipFile, name: str) -> None:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    file.writestr(info, "/etc/passwd")


def declared(content: bytes, size: int) -> bytes:
    """Returns an archive whose directory says that its first member is so large."""
    at = content.index(b"PK\x01\x02")
    return content[: at + 24] + size.to_bytes(4, "little") + content[at + 28 :]


def flagged(content: bytes, flag: int) -> bytes:
    at = content.index(b"PK\x01\x02")
    content = content[: at + 8] + bytes([content[at + 8] | flag]) + content[at + 9 :]
    return content[:6] + bytes([content[6] | flag]) + content[7:]


def made(tmp_path: Path, write: Callable[[zipfile.ZipFile, str], None]) -> bytes:
    path = tmp_path / "another.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        write(file, "xlsa17/data/SUN/res101.mat")
        file.writestr("xlsa17/data/SUN/att_splits.mat", b"splits of SUN")
    return path.read_bytes()


def plain(file: zipfile.ZipFile, name: str) -> None:
    file.writestr(name, np.random.default_rng(0).bytes(5000))


def packed(method: int) -> Callable[[zipfile.ZipFile, str], None]:
    return lambda file, name: file.writestr(name, bytes(5000), method)


STRANGE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "no zip": (lambda at: b"<html>moved</html>", "cannot be read"),
    "nothing": (lambda at: b"", "cannot be read"),
    "cut": (lambda at: made(at, plain)[:-40], "cannot be read"),
    "LZMA": (lambda at: made(at, packed(zipfile.ZIP_LZMA)), "is compressed by lzma"),
    "bzip2": (lambda at: made(at, packed(zipfile.ZIP_BZIP2)), "is compressed by bzip2"),
    "encrypted": (lambda at: flagged(made(at, plain), 1), "res101.mat is encrypted"),
    "a link": (lambda at: made(at, linked), "res101.mat is no ordinary file"),
    "a bomb": (lambda at: declared(made(at, plain), 1_900_000_000), "res101.mat declares 1,900 MB of content"),
    "too large": (lambda at: declared(made(at, plain), 4_000_000_000), "res101.mat declares 4.0 GB"),
    "a size that is none": (lambda at: declared(made(at, plain), 5001), "cannot be read"),
}


@pytest.mark.parametrize("by_hand", [True, False], ids=["put there", "downloaded"])
@pytest.mark.parametrize("case", STRANGE)
def test_whatever_else_lies_in_the_archives_place_is_one_line_and_nothing_is_unpacked(server, tmp_path, case, by_hand):
    content, reason = STRANGE[case]
    server.content = content(tmp_path)
    place = tmp_path / "cache/downloads/xlsa17.zip"
    if by_hand:
        place.parent.mkdir(parents=True)
        place.write_bytes(server.content)
    with pytest.raises(DataError, match=r"xlsa17\.zip") as caught:
        get("SUN", tmp_path / "data")
    message = str(caught.value)
    assert (reason in message or not server.content) and len(message.splitlines()) == 1
    assert place.exists() == by_hand
    assert not place.with_suffix(".zip.part").exists()
    assert not [name for name in names_below(tmp_path / "data") if "res101" in name]


def test_where_an_archive_would_have_its_files_written_is_of_no_interest(server, tmp_path):
    path = tmp_path / "another.zip"
    with zipfile.ZipFile(path, "w") as file, warnings.catch_warnings():
        for name in ("../../escaped.mat", "/absolute.mat", "xlsa17/data/SUN/../../../../escaped.mat"):
            file.writestr(name, b"no")
        file.writestr("__MACOSX/xlsa17/data/SUN/._res101.mat", b"no")
        plain(file, "xlsa17/data/SUN/res101.mat")
        file.writestr("xlsa17/data/SUN/att_splits.mat", b"splits of SUN")
    server.content = path.read_bytes()
    get("SUN", tmp_path / "data")
    assert names_below(tmp_path) == {
        "another.zip", "data/SUN/res101.mat", "data/SUN/att_splits.mat", "cache/downloads/xlsa17.zip",
        "cache/downloads/xlsa17.zip.sha256", "cache/downloads/xlsa17.lock",
    }  # fmt: skip
