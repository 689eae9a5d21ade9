"""Faults are met from outside: a store and a data root for each test, and forks of a process without threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from outside import store as store


@pytest.fixture(scope="session")
def forks() -> Iterator[None]:
    """Mutations and crashes are forked from a process of their own."""
    from faults.zygote import Zygote

    with Zygote():
        yield
