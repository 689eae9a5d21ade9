"""Commands with a store and a data root of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from outside import Inside


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store that commands use where they name none; their data root is empty."""
    folder = tmp_path / "store"
    monkeypatch.setenv("ZSLBENCH_STORE", str(folder))
    monkeypatch.setenv("ZSLBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return folder


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    return Inside(monkeypatch, capsys)
