"""Files that are visible only once they are whole."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import zslbench.files as files_module
from zslbench.errors import DataError
from zslbench.files import NODE, whole, write_whole


def test_two_processes_that_write_the_same_file_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, other = tmp_path / "file", os.getpid() + 1
    with whole(path) as mine:
        mine.write_text("mine")
        with monkeypatch.context() as patch:
            patch.setattr(os, "getpid", lambda: other)
            with whole(path) as theirs:
                theirs.write_text("theirs")
        assert path.read_text() == "theirs"
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_what_was_there_stays_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), whole(path) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(DataError, match=r"file/below: cannot be written"), whole(path / "below"):
        pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("4096 requested and 512 written"),  # NumPy's
        OSError('IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'),  # safetensors'
    ],
    ids=["space", "quota", "numpy", "safetensors"],
)
def test_a_full_disk_is_one_line_that_names_the_file_and_the_folder_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    path = tmp_path / "folder" / "file"
    write_whole(path, "before")

    def full(part: Path, content: bytes) -> None:
        with part.open("wb") as file:
            file.write(content[:2])
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(DataError) as told:
            write_whole(path, "after")
    reason = error.strerror or "No space left on device"
    advice = f"free space on the disk of {path.parent} and issue the command again"
    assert str(told.value) == f"{path}: cannot be written ({reason}); {advice}"
    assert [p.name for p in path.parent.iterdir()] == ["file"] and path.read_text() == "before"
    write_whole(path, "after")
    assert path.read_text() == "after"


def test_what_a_killed_process_had_begun_is_removed_by_the_next_that_writes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file-1.json"
    code = (
        "import os, sys; from pathlib import Path; from zslbench.files import whole\n"
        "with whole(Path(sys.argv[1])) as part: part.write_text('half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -9
    [left] = tmp_path.glob(".*.part")
    alive = tmp_path / f".{path.name}.{NODE}-{os.getppid()}.part"
    elsewhere, old = tmp_path / f".{path.name}.node7-12.part", tmp_path / f".{path.name}.node8-12.part"
    other = tmp_path / f".another.{NODE}-{left.name.split('-')[-1]}"
    for part in (alive, elsewhere, old, other):
        part.touch()
    os.utime(old, (time.time() - 2 * files_module.ABANDONED,) * 2)
    write_whole(path, "whole")
    assert set(tmp_path.iterdir()) == {path, alive, elsewhere, other}


def test_a_folder_where_a_file_belongs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be written \(Is a directory\); a folder has the name of the file"):
        write_whole(tmp_path, "text")
    assert list(tmp_path.iterdir()) == [] and not list(tmp_path.parent.glob(".*.part"))
