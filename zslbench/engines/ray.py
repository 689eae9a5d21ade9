"""Runs on a Ray cluster; store and data must be on a file system that all its machines share."""

from __future__ import annotations

import logging
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from zslbench import interruption
from zslbench.api.engine import Engine, Listener
from zslbench.api.params import Params, param
from zslbench.engines.messages import Message, answer, spaced
from zslbench.engines.sending import Place, fulfil_at
from zslbench.errors import UsageError, one_line
from zslbench.runs.code import own_code
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup

PATIENCE = 8.0
"""Seconds that interrupted runs have to write their checkpoints."""
REACHED = 10.0
"""Seconds in which the address of a cluster must answer."""
PROBED = 60.0
"""Seconds in which the nodes of a cluster must say what they have; those that do not are compared run by run."""
MOMENT = 0.3
"""Seconds between two looks at what goes on."""


class RayOptions(Params):
    """What a run takes of a Ray cluster beside one CPU."""

    gpus_per_run: float = param(1, "share of a GPU that a run takes, where there are GPUs", gt=0, le=1)


class Ray(Engine):
    """Joins the cluster that `RAY_ADDRESS` names, or starts one here.

    At most `workers` runs at a time; without a number, as many as its CPUs and GPUs have room for.
    """

    options: RayOptions = RayOptions()

    def __init__(self, workers: int = 0) -> None:
        super().__init__(workers)

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs; one whose worker or node is lost is sent to another one."""
        try:
            import ray
        except ImportError as error:
            raise UsageError("--engine ray: Ray is not installed; pip install 'zslbench[ray]'") from error
        device = setup.device.partition(":")[0]  # a worker sees one GPU, whatever its number here
        setup = setup.model_copy(update={"store": setup.store.absolute(), "device": device})
        interruption.take()  # importing Ray takes SIGTERM
        started_here = not ray.is_initialized()
        if started_here:
            _check_address(os.environ.get("RAY_ADDRESS", ""))
            ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
            interruption.take()
        try:
            _check_nodes(ray)
            fulfil_at(_Cluster(ray, setup, self.workers, self.options.gpus_per_run), runs, listener)
        finally:
            if started_here:
                ray.shutdown()


def room_in(resources: Mapping[str, float], gpus: float) -> int:
    """Returns for how many runs at a time a cluster has room, each of which takes one CPU and so many GPUs."""
    return int(min(resources.get("CPU", 1), resources.get("GPU", 0) / gpus if gpus else math.inf))


class _Cluster(Place):
    """A Ray cluster. Each job is one run, and a small actor beside the driver keeps what workers tell."""

    def __init__(self, ray: Any, setup: Setup, workers: int, gpus: float) -> None:
        self.ray, self.setup, self.workers = ray, setup, workers
        self.gpus = gpus if setup.device != "cpu" and ray.cluster_resources().get("GPU") else 0.0
        here = _on(ray, ray.get_runtime_context().get_node_id(), soft=True)
        self.mailbox = ray.remote(_Mailbox).options(max_restarts=-1, **here).remote()
        self.ids: dict[Any, str] = {}
        self.answers: list[tuple[Any, Message]] = []

    @property
    def room(self) -> int:
        return self.workers or room_in(self.ray.cluster_resources(), self.gpus)  # nodes come and go

    def send(self, jobs: Sequence[Sequence[Run]]) -> list[Any]:
        remote = self.ray.remote(_fulfil).options(num_cpus=1, num_gpus=self.gpus, max_retries=0)
        runs = [run for [run] in jobs]
        sent = [remote.remote(run.sent(), run.id, self.setup.model_dump_json(), self.mailbox) for run in runs]
        self.ids |= {reference: run.id for reference, run in zip(sent, runs, strict=True)}
        return sent

    def ended(self, jobs: Sequence[Any]) -> Mapping[Any, str]:
        ray = self.ray
        ray.wait(list(jobs), timeout=MOMENT)
        done, _ = ray.wait(list(jobs), num_returns=len(jobs), timeout=0)
        ended: dict[Any, str] = {}
        for reference in done:
            ended[reference] = ""
            try:
                self.answers.append((reference, ray.get(reference)))
            except ray.exceptions.RayTaskError as error:  # of our own code there, or on the way
                text = one_line(error.cause)
                failed = {"event": "failed", "text": text, "unwritten": False, "traceback": str(error)}
                self.answers.append((reference, failed))
            except ray.exceptions.RayError as error:
                ended[reference] = str(error).strip().splitlines()[0]
        return ended

    def messages(self, jobs: Sequence[Any]) -> Iterator[tuple[Any, str, Message]]:
        references = {self.ids[reference]: reference for reference in jobs}
        with suppress(self.ray.exceptions.RayError):  # the actor is started again
            for id, message in self.ray.get(self.mailbox.take.remote()):
                if id in references:
                    yield references[id], id, message
        answers, self.answers = self.answers, []
        for reference, message in answers:
            yield reference, self.ids[reference], message

    def cancel(self, jobs: Sequence[Any]) -> None:
        for reference in jobs:  # raises KeyboardInterrupt there, where training writes its checkpoint
            self.ray.cancel(reference)
        self.ray.wait(list(jobs), num_returns=len(jobs), timeout=PATIENCE)


class _Mailbox:
    """Keeps messages until they are taken."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Message]] = []

    def put(self, run: str, message: Message) -> None:
        self.kept.append((run, message))

    def take(self) -> list[tuple[str, Message]]:
        kept, self.kept = self.kept, []
        return kept


def _check_address(address: str) -> None:
    """Raises a UsageError where nothing answers at the address of a cluster; Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].partition("/")[0].rpartition(":")
    if not colon or not port.isdigit():  # `auto`, `local`, or none
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACHED).close()
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"RAY_ADDRESS={address}: nothing answers there ({error}); start the cluster, or unset it to start one here"
        ) from None


def _on(ray: Any, node: str, *, soft: bool) -> dict[str, Any]:
    """Returns the options that have something small execute on a node; if `soft`, on another one where that is gone."""
    affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node_id=node, soft=soft)
    return {"num_cpus": 0, "scheduling_strategy": affinity}


def _check_nodes(ray: Any) -> None:
    """Raises a UsageError where a node has another zslbench, or none; of methods, each run compares the code."""

    def look() -> str:  # sent as it is, since the node may have no such module
        try:
            from zslbench.runs.code import own_code

            return own_code()
        except ImportError:
            pass
        try:
            import zslbench

            return str(zslbench.__version__)
        except ImportError:
            return "not installed"

    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
    asked = {ray.remote(look).options(max_retries=0, **_on(ray, id, soft=False)).remote(): id for id in nodes}
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=PROBED) if asked else ([], [])
    for reference in ready:
        node = nodes[asked[reference]]
        with suppress(ray.exceptions.RayError):  # it was lost meanwhile
            if (there := ray.get(reference)) != own_code():
                raise UsageError(
                    f"--engine ray: zslbench is {there} on node {node['NodeManagerHostname']} ({node['NodeID'][:8]}), "
                    f"{own_code()} here; install the same on every machine"
                )


def _fulfil(run: str, id: str, setup: str, mailbox: Any) -> Message:
    """Executes a run in a worker; returns the last message, and leaves the others in the mailbox."""
    import ray

    def send(message: Message) -> None:
        put = mailbox.put.remote(id, message)
        if message["event"] == "started":  # it names the worker, should that be lost
            with suppress(ray.exceptions.RayError):
                ray.get(put)

    return answer(run, Setup.model_validate_json(setup), spaced(send, MOMENT))
