"""Digests of many files: right whatever was remembered of them, and cheap where nothing changed."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import pytest

from zslbench.data import contents as module
from zslbench.data.contents import digests


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZSLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "RACY_NS", {True: 0, False: 0})
    return tmp_path / "cache"


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    for i in range(6):
        path = tmp_path / "files" / str(i % 2) / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"content %d" % i)
    time.sleep(0.02)
    return sorted((tmp_path / "files").rglob("*.png"))


def expected(paths: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def found(paths: list[Path]) -> list[str | None]:
    return [None if digest is None else digest.sha256 for digest in digests(paths)]


def hashed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    original = module.sha256
    monkeypatch.setattr(module, "sha256", lambda path: (read.append(path), original(path))[1])
    return read


def test_they_are_sha_256_of_each_file_and_one_index_holds_them(paths: list[Path], cache: Path) -> None:
    assert found(paths) == expected(paths)
    assert len(list(cache.rglob("*.json"))) == 1


def test_only_what_changed_is_hashed_again(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    digests(paths)
    paths[4].write_bytes(b"changed!!")
    new = paths[0].with_name("new.png")
    new.write_bytes(b"new")
    read = hashed(monkeypatch)
    assert found([*paths, new]) == expected([*paths, new])
    assert sorted(read) == sorted([paths[4], new])


def test_a_file_changed_just_before_it_was_hashed_is_hashed_again(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RACY_NS", {True: 10**12, False: 10**12})
    digests(paths)
    read = hashed(monkeypatch)
    digests(paths)
    assert sorted(read) == paths


def test_files_renamed_over_each_other_keep_their_digests(paths: list[Path]) -> None:
    digests(paths)
    aside = paths[0].with_name("aside")
    paths[0].rename(aside)
    paths[1].rename(paths[0])
    aside.rename(paths[1])
    assert found(paths) == expected(paths)


def test_no_byte_of_an_index_makes_a_wrong_digest(paths: list[Path], cache: Path) -> None:
    digests(paths)
    [index] = cache.rglob("*.json")
    whole = index.read_bytes()
    for at in range(0, len(whole), 7):
        index.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert found(paths) == expected(paths)
    for content in (b"", b"[]", b"{}", b'{"files": []}', json.dumps({"files": {str(paths[0]): [1]}}).encode()):
        index.write_bytes(content)
        assert found(paths) == expected(paths)


def test_what_is_no_file_has_no_digest_and_is_not_waited_for(paths: list[Path], tmp_path: Path) -> None:
    pipe, folder, link, loop = (tmp_path / f"{name}.png" for name in ("pipe", "folder", "link", "loop"))
    os.mkfifo(pipe)
    folder.mkdir()
    link.symlink_to("/dev/zero")
    loop.symlink_to(loop)
    assert digests([pipe, folder, link, loop, tmp_path / "absent", None]) == [None] * 6
    assert digests([]) == []


def test_without_a_cache_files_are_hashed_each_time(paths: list[Path], tmp_path: Path, cache: Path) -> None:
    cache.write_text("a file where the folder belongs")
    assert found(paths) == expected(paths)
    assert found(paths) == expected(paths)


def test_links_are_followed(paths: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "files" / "link.png"
    link.symlink_to(paths[0])
    assert found([link]) == expected([paths[0]])
    link.unlink()
    link.symlink_to(paths[1])
    assert found([link]) == expected([paths[1]])
