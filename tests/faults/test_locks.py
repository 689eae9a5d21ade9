"""Locks: where a file system has none, files stand for them, and it is said once."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import warnings
from pathlib import Path
from typing import NoReturn

import pytest

from zslbench.files import Locked, locked
from zslbench.records.store import Busy, Store


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"), pytest.raises(Locked), locked(tmp_path / "lock", wait=False):
        pass
    with locked(tmp_path / "lock", wait=False):
        pass


@pytest.mark.parametrize("reason", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_without_locks_files_stand_for_them(reason: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: object) -> NoReturn:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fcntl, "flock", flock)
    store = Store(tmp_path)
    said = "its file system has no locks .*, so files stand for them"
    with pytest.warns(UserWarning, match=said), store.claim("a", wait=False):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it was said
        with store.claim("a", wait=True):
            holder = (tmp_path / "claims" / "a.lock.held").read_text()
            assert str(os.getpid()) in holder and socket.gethostname() in holder
            with pytest.raises(Busy), store.claim("a", wait=False):
                pass
        with store.claim("a", wait=False):
            pass
    assert not list((tmp_path / "claims").iterdir())
