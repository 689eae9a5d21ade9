"""Searches whose trials are trained as one: they choose as others do, and go on as others do."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from outside import Answer, command, start

from zslbench.records.store import Store

TUNE = ("-d", "digits", "--device", "cpu", "--trials", "5", "--folds", "2", "--search", "epochs=2:4", "--json")
BRANCH = """
import torch
from torch import nn
from zslbench import Embedder, GradientParams, param

class BranchParams(GradientParams):
    epochs: int = param(2, "epochs", search=(1, 4), ge=1)

class Branch(Embedder[BranchParams]):
    "A loss that asks a tensor."

    def build(self, shape):
        self.W = nn.Linear(shape.features, shape.attributes)

    def embed(self, x):
        return self.W(x)

    def loss(self, batch):
        error = (self.W(batch.x) - batch.s).square().mean()
        return error if error > 0.001 else 2 * error
"""


def searched(answer: Answer) -> dict[str, Any]:
    assert answer.status == 0, answer.err
    [search] = json.loads(answer.out)
    return search


def trials(search: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(trial["state"], trial["params"].get("lr"), *trial["values"]) for trial in search["trials"]]


def stacks(folder: Path) -> dict[str, int]:
    """How many fits each stored run was trained with."""
    return {record.id: record.provenance.get("stacked", 1) for record in Store(folder, create=False).records()}


def close(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two searches came to the same, but for rounding that training amplifies."""
    pairs = list(zip(trials(a), trials(b), strict=True))
    alike = all(x[:2] == y[:2] and len(x) == len(y) for x, y in pairs)
    return alike and all(p == pytest.approx(q, abs=0.02) for x, y in pairs for p, q in zip(x[2:], y[2:], strict=True))


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A search of DeViSE, and the folder of its store."""
    folder = tmp_path_factory.mktemp("stacked")
    return searched(command("tune", "devise", *TUNE, "--store", folder)), folder


def test_a_stacked_search_comes_to_what_one_fit_at_a_time_comes_to(stacked: Any, tmp_path: Path) -> None:
    search, folder = stacked
    alone = searched(command("tune", "devise", *TUNE, "--stack", "1", "--store", tmp_path))
    assert close(alone, search)
    assert set(stacks(tmp_path).values()) == {1}
    assert max(stacks(folder).values()) == 4


def test_the_number_of_processes_and_of_fits_in_one_does_not_decide(stacked: Any, tmp_path: Path) -> None:
    jobs = searched(command("tune", "devise", *TUNE, "--jobs", "2", "--store", tmp_path))
    assert close(jobs, stacked[0])
    assert set(stacks(tmp_path).values()) == {1}  # two for each process are too few to be trained as one


def test_runs_that_go_into_tables_are_alone_unless_asked(tmp_path: Path) -> None:
    run = ("run", "devise", "-p", "epochs=2", "-d", "digits", "--device", "cpu", "--seeds", "4", "--json")
    metrics = []
    for name, options in (("alone", ()), ("asked", ("--stack", "4"))):
        answer = command(*run, "--store", tmp_path / name, *options)
        metrics.append([one["metrics"]["ausuc"] for one in json.loads(answer.out)["runs"]])
    assert set(stacks(tmp_path / "alone").values()) == {1}
    assert set(stacks(tmp_path / "asked").values()) == {4}
    assert metrics[0] == pytest.approx(metrics[1], abs=0.01)
    again = command(*run, "--store", tmp_path / "again")
    assert [one["metrics"]["ausuc"] for one in json.loads(again.out)["runs"]] == metrics[0]


def test_a_method_that_cannot_be_stacked_is_tuned_all_the_same_and_says_why(tmp_path: Path) -> None:
    file = tmp_path / "branch.py"
    file.write_text(BRANCH)
    search = searched(command("tune", file, *TUNE, "--store", tmp_path / "store"))
    assert [trial["state"] for trial in search["trials"]].count("failed") == 0
    assert set(stacks(tmp_path / "store").values()) == {1}
    text = " ".join(command("describe", file).out.split())
    assert "training one fit at a time" in text and "data-dependent control flow" in text
    assert "one fit at a time" not in command("describe", "devise").out


@pytest.mark.parametrize("given", ["0", "many"])
def test_a_wrong_number_of_fits_is_one_line(given: str) -> None:
    assert command("run", "devise", "--stack", given).error() == (
        f"--stack {given}: give a whole number from 1, or auto"
    )


@pytest.mark.slow
def test_a_stacked_search_that_was_stopped_goes_on(tmp_path: Path) -> None:
    tune = ("tune", "latem", *TUNE, "--search", "epochs=2:12", "--store")
    whole = searched(command(*tune, tmp_path / "whole"))
    for number in (signal.SIGTERM, signal.SIGKILL):
        process = start(*tune, tmp_path / "stopped")
        known, end = files(tmp_path / "stopped"), time.monotonic() + 60
        while files(tmp_path / "stopped") == known and process.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode != 0
    before = set(stacks(tmp_path / "stopped"))
    resumed = searched(command(*tune, tmp_path / "stopped"))
    assert close(whole, resumed)
    assert before <= set(stacks(tmp_path / "stopped"))


def files(folder: Path) -> int:
    return len(list(folder.rglob("*.json"))) + len(list(folder.rglob("*.safetensors")))
