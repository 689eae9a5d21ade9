"""Commands run in the test's own process, with the backbone `corners` among those registered."""

from __future__ import annotations

import pytest
from outside import inside, store
from pictures import backbones

from zslbench.preparation import backbones as module

__all__ = ["inside", "store"]


@pytest.fixture
def corners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers the backbone `corners`."""
    filled = backbones()
    monkeypatch.setattr(module, "registry", lambda: filled)
