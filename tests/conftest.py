"""What every test may use: a cache and a store of its own, the real data where it is present, small synthetic data."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from synthetic import make_xlsa17 as write_xlsa17

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background starts its commands without

BESIDE = Path(__file__).parents[2] / "shared" / "data" / "xlsa17"


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests away from the user's cache; the real features are cached once for all tests of a session."""
    monkeypatch.setenv("ZSLBENCH_CACHE", str(shared_cache))


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests away from the runs in the current folder; a test that sets `ZSLBENCH_STORE` overrides it."""
    monkeypatch.setenv("ZSLBENCH_STORE", str(tmp_path / "zslbench-runs"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; tests of it are skipped where it is absent."""
    root = Path(os.environ.get("ZSLBENCH_DATA") or BESIDE)
    if not (root / "SUN" / "att_splits.mat").is_file():
        pytest.skip(f"no real data: set ZSLBENCH_DATA to a folder in the xlsa17 layout, or put it at {BESIDE}")
    return root


@pytest.fixture
def make_xlsa17(tmp_path: Path) -> Callable[..., Path]:
    """Writes a synthetic data set below `tmp_path` and returns its folder; see `synthetic.make_xlsa17`."""
    return partial(write_xlsa17, tmp_path)
