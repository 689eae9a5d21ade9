"""Runs on real Ray clusters: two nodes on this machine, of which one is killed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from elsewhere import DEVISE, check_odd_methods
from outside import CHEAP, Answer, command, start

from zslbench.records.store import Store

ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'zslbench[ray]'")
pytestmark = pytest.mark.slow
SLOW = ("compare", "devise:epochs=400", "-d", "digits", "--device", "cpu", "--uncalibrated")


@contextmanager
def cluster(*nodes: dict[str, Any]) -> Iterator[Any]:
    """A cluster of several nodes on this machine, which commands find by RAY_ADDRESS."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"include_dashboard": False, **nodes[0]})
    try:
        for node in nodes[1:]:
            made.add_node(**node)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def test_ray_gives_the_numbers_of_inline_and_a_run_that_kills_its_workers_is_one_line(
    odd: Path, reference: Answer
) -> None:
    answer = command(*DEVISE, "doomed", "noisy", *CHEAP, "--engine", "ray", "--jobs", "2", "--json", path=odd)
    check_odd_methods(answer, reference, "its worker was lost 3 times")
    assert answer.err.count("it is sent again") == 2


def test_the_runs_of_a_node_that_is_killed_go_on_on_another(store: Path) -> None:
    with cluster({"num_cpus": 1}, {"num_cpus": 1}) as made:
        process = start(*SLOW, "--seeds", 3, "--engine", "ray", environment={"RAY_ADDRESS": made.address})
        until(lambda: len(list((store / "claims").glob("*.lock"))) == 2)  # a run on each node
        made.remove_node(made.list_all_nodes()[1], allow_graceful=False)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert len(list(Store(store, create=False).records())) == 3
    assert "its worker was lost on" in err and "it is sent again, time 1 of at most 2" in err


def until(happened: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)
