"""Files that are visible only once they are whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zslbench.errors import DataError
from zslbench.files import whole


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
