"""Small models of open_clip with random weights, in files."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import tiny


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model: its configuration, its preprocessing and its weights."""
    return tiny.make(tmp_path_factory.mktemp("models") / "one")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Has open_clip know the model `tiny-one`, with pretrained weights that nobody can download."""
    tiny.register(folder.parent / "one" / "architecture")
    monkeypatch.setitem(
        tiny.PRETRAINED,
        "tiny-one",
        {
            "plain": tiny.tag(mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5)),
            "quick": tiny.tag(mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5), quick_gelu=True),
        },
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, nothing downloaded before, and nobody who waits for either."""

    def refuse(*arguments: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"it waits {seconds} s and tries again"))
