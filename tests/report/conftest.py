"""Rows of a table of the field, from a few runs on digits that are made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from planned import plan

from zslbench.api.engine import Listener
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.runs.execute import Setup, fulfil
from zslbench.runs.request import Request
from zslbench.runs.row import Row

METHODS = ["eszsl", "sae", "devise:epochs=1"]
SEEDS = (0, 1)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def _made(store: Store) -> list[Row]:
    rows = plan(METHODS, ["digits"], Request(root=Path(), seeds=SEEDS))
    setup = Setup(store=store.root, device="cpu")
    for row in rows:  # closed forms too, as older stores have them
        assert row.entrant is not None
        row.runs = [row.entrant.run(seed) for seed in SEEDS]
        found = [fulfil(run, setup, Listener(), wait=True) for run in row.runs]
        row.records = [record for record in found if record is not None]
    return rows


@pytest.fixture
def rows(_made: list[Row]) -> list[Row]:
    """ESZSL, SAE and DeViSE after one epoch, of two seeds each; a test may change them."""
    return [replace(row, runs=list(row.runs), records=list(row.records)) for row in _made]


@pytest.fixture
def edited() -> Callable[..., Row]:
    """Returns a row with all its records changed: `metrics` drops those named, other values replace."""

    def edit(row: Row, without: tuple[str, ...] = (), **values: Any) -> Row:
        def one(record: RunRecord) -> RunRecord:
            metrics = {name: value for name, value in record.metrics.items() if name not in without}
            return record.model_copy(update={"metrics": metrics, **values})

        return replace(row, records=[one(record) for record in row.records])

    return edit
