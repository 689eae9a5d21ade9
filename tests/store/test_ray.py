"""Runs on real Ray clusters: nodes on this machine, of which one is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from elsewhere import DEVISE, check_odd_methods, metrics
from outside import CHEAP, Answer, command, start

import zslbench
from zslbench import interruption
from zslbench.records.store import Store

ray = pytest.importorskip("ray", reason="Ray is not installed; pip install 'zslbench[ray]'")
pytestmark = pytest.mark.slow
SLOW = ("compare", "devise:epochs=200", "-d", "digits", "--device", "cpu", "--uncalibrated")


FRUGAL = """
import time
from pathlib import Path
import ray, torch
import zslbench.runs.execute as execution
from torch import nn
from zslbench import Embedder, Params

execution.memory_used = lambda device: {"peak_memory_mb": 600.0, "device_memory_mb": 10000.0}

class FrugalParams(Params):
    pass

class Frugal(Embedder[FrugalParams]):
    "Takes a second."

    def build(self, shape):
        self.register_buffer("W", torch.zeros(shape.features, shape.attributes))

    def solve(self, view):
        gpu = ray.get_runtime_context().get_assigned_resources()["GPU"]
        with Path(__file__).with_name("assigned").open("a") as file:
            print(gpu, file=file)
        if GREEDY and gpu < 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        time.sleep(1)

    def embed(self, x):
        return x @ self.W
"""
"""A method that tells how much of a GPU it was given, and of how little it took."""


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


def test_the_run_of_a_node_that_is_killed_goes_on_on_another(store: Path) -> None:
    with cluster({"num_cpus": 0}, {"num_cpus": 1}) as made:
        process = start(*SLOW, "--seeds", 1, "--engine", "ray", "--json", environment={"RAY_ADDRESS": made.address})
        told(process, "[1/1] devise")
        made.remove_node(made.list_all_nodes()[1], allow_graceful=False)
        made.add_node(num_cpus=1)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert [record.id for record in Store(store, create=False).records()] == [
        run["id"] for run in json.loads(out)["runs"]
    ]
    assert "its worker was lost on" in err and "it is sent again, time 1 of at most 2" in err
    assert "Raylet is terminated" not in err, "Ray tells the same in a page"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interruption_has_runs_write_their_checkpoints_and_leaves_no_process(store: Path, name: str) -> None:
    words = ("run", "devise:epochs=5000", "-d", "digits", "--device", "cpu", "--uncalibrated", "--json")
    process = start(*words, "--engine", "ray", session=True)
    told(process, "train epoch")
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (interruption.STATUS[getattr(signal, name)], "")
    assert err.splitlines()[-1] == f"zslbench: {interruption.MESSAGE}" and "Traceback" not in err
    assert list((store / "partial").glob("*/final.safetensors"))
    until(lambda: not in_session(process.pid))


def test_a_node_with_another_version_is_one_line_that_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # workers look for modules in the driver's folder, too
    (tmp_path / "other" / "zslbench").mkdir(parents=True)
    (tmp_path / "other" / "zslbench" / "__init__.py").write_text('__version__ = "0.0.1"\n')
    with cluster({"num_cpus": 1}, {"num_cpus": 1, "env_vars": {"PYTHONPATH": str(tmp_path / "other")}}) as made:
        answer = command("run", "eszsl", *CHEAP, "--engine", "ray", environment={"RAY_ADDRESS": made.address})
    assert answer.status == 2
    [line] = [line for line in answer.err.splitlines() if "install the same" in line]
    assert "zslbench is 0.0.1 on node" in line and f"{zslbench.__version__} (source " in line


def test_runs_share_a_gpu_where_they_take_a_part_of_it(store: Path) -> None:
    engine = ("--engine", "ray:gpus_per_run=0.5")
    with cluster({"num_cpus": 8, "num_gpus": 1}) as made:  # a GPU that only Ray believes in
        answer = command(
            *("run", "devise:epochs=100", "-d", "digits", "--seeds", 4, *engine),
            environment={"RAY_ADDRESS": made.address},
        )
    assert answer.status == 0, answer.err
    assert most_at_a_time(spans_of(Store(store))) == 2


@pytest.mark.parametrize("greedy", [False, True])
def test_runs_share_a_gpu_by_the_memory_that_the_first_one_took(store: Path, tmp_path: Path, greedy: bool) -> None:
    """Ray believes in a GPU, and the method tells how much memory it took of it; a greedy one needs all of it."""
    file = tmp_path / "frugal.py"
    file.write_text(FRUGAL.replace("GREEDY", str(greedy)))
    with cluster({"num_cpus": 4, "num_gpus": 1}) as made:
        answer = command(
            *("run", file, "-d", "digits", "--seeds", 4, "--engine", "ray", "--uncalibrated"),
            environment={"RAY_ADDRESS": made.address},
        )
    assert answer.status == 0, answer.err
    assert len(list(Store(store, create=False).records())) == 4
    shares = (tmp_path / "assigned").read_text().split()
    assert shares[0] == "1.0" and shares.count("0.15") == 3
    again = answer.err.count("no memory was left on the GPU of which it had 15%; it is sent again, time 1 of at most 2")
    assert (len(shares), again) == ((7, 3) if greedy else (4, 0))
    assert shares.count("1.0") == (4 if greedy else 1)
    assert (most_at_a_time(spans_of(Store(store))) == 1) == greedy


def test_a_node_without_the_folders_gets_the_data_and_sends_records_decisions_and_models(
    tmp_path: Path, make_xlsa17: Callable[..., Path]
) -> None:
    folder = make_xlsa17()
    store, wanted = tmp_path / "store", ("compare", "devise:epochs=2", "eszsl", "--seeds", 1, "--device", "cpu")
    options = ("--dataset", folder, "--json")
    with cluster({"num_cpus": 0}) as made, hidden_node(made.address, tmp_path):
        answer = command(
            *wanted, *options, "--engine", "ray", "--store", store, environment={"RAY_ADDRESS": made.address}
        )
    assert answer.status == 0, answer.err
    assert "data are sent there, and records come back" in answer.err
    inline = command(*wanted, *options, "--store", tmp_path / "inline")
    assert metrics(answer) == metrics(inline)
    kept = Store(store)
    for record in kept.records():
        assert kept.arrays(record).keys() == Store(tmp_path / "inline").arrays(record).keys()
        assert kept.model(record)
    assert command("runs", "verify", "--store", store).status == 0


@contextmanager
def hidden_node(address: str, folder: Path) -> Iterator[None]:
    """A node that sees nothing of a folder: it has a view of the file system of its own."""
    script = f"mount -t tmpfs none '{folder}' && exec ray start --address={address} --num-cpus=1 --block"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no view of the file system of its own can be made here; that takes root")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    node = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script],
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: nodes(address) == 2)
        yield
    finally:
        os.killpg(node.pid, signal.SIGTERM)
        node.wait(timeout=30)


def nodes(address: str) -> int:
    """Returns how many nodes of a cluster are alive; asked elsewhere, since this process must not join it."""
    script = f"import ray; ray.init('{address}', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return int(done.stdout.split()[-1]) if done.stdout.split() else 0


def told(process: subprocess.Popen[str], text: str) -> None:
    """Waits until a command tells something."""
    assert process.stderr is not None
    assert any(text in line for line in iter(process.stderr.readline, ""))


def in_session(session: int) -> list[str]:
    """Returns the processes of a session."""
    found = subprocess.run(["ps", "-o", "args=", "--sid", str(session)], capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if "<defunct>" not in line]


def spans_of(store: Store) -> list[tuple[str, str]]:
    """Returns when each run of a store began and ended."""
    return [(record.provenance["started"], record.provenance["finished"]) for record in store.records()]


def most_at_a_time(spans: list[tuple[str, str]]) -> int:
    return max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)


def until(happened: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)
