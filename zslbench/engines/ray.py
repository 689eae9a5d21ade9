"""Runs on a Ray cluster, whether or not its machines share the folders of store and data.

Where a machine does not see the store, data come once to it through Ray's object store, and records go back.
"""

from __future__ import annotations

import copy
import logging
import os
import secrets
import signal
import socket
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from zslbench import interruption
from zslbench.api.dataset import ZSLData
from zslbench.api.engine import Engine, Listener
from zslbench.api.params import Params, param
from zslbench.data.imagefiles import FileImages
from zslbench.engines.messages import Message, answer, answer_apart, failed, keep, spaced
from zslbench.engines.sending import Place, elsewhere, fulfil_at
from zslbench.engines.shares import Kind, Shares
from zslbench.errors import Hint, UsageError, one_line
from zslbench.runs.code import own_code
from zslbench.runs.entrant import Run
from zslbench.runs.execute import Setup
from zslbench.runs.memory import Sharers

REACHED = 10.0
"""Seconds in which the address of a cluster must answer."""
PROBED = 60.0
"""Seconds in which the nodes of a cluster must say what they have; those that do not are compared run by run."""
MOMENT = 0.3
"""Seconds between two looks at what goes on."""
TOLD = "^(A worker died or was killed|Raylet is terminated)"
"""What Ray need not tell, in a page each time, because a line about the lost run does."""


class RayOptions(Params):
    """What a run takes of a Ray cluster beside one CPU."""

    gpus_per_run: float = param(
        0, "share of a GPU that a run takes, where there are GPUs; 0 for what such runs were seen to need", ge=0, le=1
    )


class Ray(Engine):
    """Joins the cluster that `RAY_ADDRESS` names, or starts one here.

    At most `workers` runs at a time, and as many as its CPUs and GPUs have room for.
    """

    options: RayOptions = RayOptions()

    def __init__(self, workers: int = 0) -> None:
        super().__init__(workers)
        self._joined: Any = None
        self._measured: dict[Kind, float] = {}

    def execute(self, runs: Sequence[Run], setup: Setup, listener: Listener) -> None:
        """Executes the runs; one whose worker or node is lost is sent to another one."""
        setup = elsewhere(setup)
        try:
            with interruption.deferred():  # Ray makes other errors of what a handler of signals raises in it
                ray, shares = self._join(), Shares(self.options.gpus_per_run, self._measured)
                with seen_by_all_that_share(setup.store) as token:
                    apart = _check_nodes(ray, token)
                    fulfil_at(_Cluster(ray, setup, self.workers, shares, str(token), apart), runs, listener)
        except BaseException:
            self.close()
            raise

    def _join(self) -> Any:
        """Returns Ray, as part of a cluster; one that is started here serves until the engine is closed."""
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", TOLD)
        try:
            import ray
        except ImportError as error:
            raise UsageError("--engine ray: Ray is not installed; pip install 'zslbench[ray]'") from error
        interruption.take()  # importing Ray takes SIGTERM
        if not ray.is_initialized():
            address = os.environ.get("RAY_ADDRESS", "")
            _check_address(address)
            try:
                ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
            except (ConnectionError, RuntimeError) as error:  # of a cluster that has ended, for instance
                where = f"RAY_ADDRESS={address}: " if address else ""
                raise UsageError(f"--engine ray: {where}no cluster can be used ({one_line(error)})") from error
            except SystemExit:  # which Ray makes of SIGTERM meanwhile
                interruption.take()
                signal.raise_signal(signal.SIGTERM)
                raise
            interruption.take()
            self._joined = ray
        return ray

    def close(self) -> None:
        """Leaves the cluster, or ends the one that was started here."""
        if self._joined is not None:
            self._joined.shutdown()
            self._joined = None


@contextmanager
def seen_by_all_that_share(store: Path) -> Iterator[Path]:
    """Gives a new file of a store, by which a machine tells whether it shares the store's folder."""
    token = store / "claims" / f".shared-{secrets.token_hex(8)}"
    token.parent.mkdir(parents=True, exist_ok=True)
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)


class _Cluster(Place):
    """A Ray cluster. Each job is one run, and a small actor beside the driver keeps what workers tell.

    `token` is a file that tells whether a machine shares the store; `apart` says that one does not, which needs data.
    """

    def __init__(self, ray: Any, setup: Setup, workers: int, shares: Shares, token: str, apart: bool) -> None:
        self.ray, self.setup, self.workers, self.token, self.apart = ray, setup, workers, token, apart
        self.shares = shares if setup.device != "cpu" and ray.cluster_resources().get("GPU") else None
        here = _on(ray, ray.get_runtime_context().get_node_id(), soft=True)
        self.mailbox = ray.remote(_Mailbox).options(max_restarts=-1, **here).remote()
        self.sent: dict[Any, tuple[Run, float]] = {}
        self.answers: list[tuple[Any, Message]] = []
        self.data: dict[int, tuple[ZSLData, Any]] = {}

    def room(self, waiting: Sequence[Run], jobs: Sequence[Any]) -> int:
        resources = self.ray.cluster_resources()  # nodes come and go
        at_most = max(0, (self.workers or int(resources.get("CPU", 1))) - len(jobs))
        if self.shares is None:
            return at_most
        free = resources.get("GPU", 0) - sum(self.sent[reference][1] for reference in jobs)
        return self.shares.room(waiting[:at_most], free)

    def send(self, jobs: Sequence[Sequence[Run]]) -> list[Any]:
        return [self._send(run) for [run] in jobs]

    def _send(self, run: Run) -> Any:
        share = self.shares.of(run) if self.shares else 0.0
        setup = self.setup.model_copy(update={"sharers": Sharers(device=round(1 / share) if share else 1)})
        remote = self.ray.remote(_fulfil).options(num_cpus=1, num_gpus=share, max_retries=0)
        shared = self.token, self._data(run)
        reference = remote.remote(run.sent(), run.id, setup.model_dump_json(), self.mailbox, shared)
        self.sent[reference] = run, share
        return reference

    def _data(self, run: Run) -> list[Any]:
        """Returns a reference to the data of a run, which each node fetches once, if there are any that need it."""
        data = run.entrant.data
        if not self.apart or isinstance(data.images, FileImages):
            return []
        if id(data) not in self.data:
            plain = copy.copy(data)  # as a memory map it would be the name of a file
            object.__setattr__(plain, "features", None if data.features is None else np.asarray(data.features))
            self.data[id(data)] = data, self.ray.put(plain)
        return [self.data[id(data)][1]]

    def ended(self, jobs: Sequence[Any]) -> Mapping[Any, str]:
        ray = self.ray
        ray.wait(list(jobs), timeout=MOMENT)
        done, _ = ray.wait(list(jobs), num_returns=len(jobs), timeout=0)
        ended: dict[Any, str] = {}
        for reference in done:
            ended[reference] = ""
            try:
                self.answers.append((reference, ray.get(reference)))
                ended[reference] = self._note_memory(reference)
            except ray.exceptions.RayTaskError as error:  # of our own code there, or on the way
                self.answers.append((reference, failed(error.cause)))
            except ray.exceptions.RayError as error:
                ended[reference] = str(error).strip().splitlines()[0]
        return ended

    def _note_memory(self, reference: Any) -> str:
        """Learns how much of a GPU a run took; returns why it must be repeated, where it had too little of one."""
        (run, share), message = self.sent[reference], self.answers[-1][1]
        if self.shares and message["event"] == "finished" and message["record"]:
            self.shares.learn(run, message["record"]["provenance"])
        if self.shares and message.get("short_of_memory") and self.shares.take_whole(run, share):
            self.answers.pop()
            return f"no memory was left on the GPU of which it had {share:.0%}"
        return ""

    def messages(self, jobs: Sequence[Any]) -> Iterator[tuple[Any, str, Message]]:
        references = {self.sent[reference][0].id: reference for reference in jobs}
        with suppress(self.ray.exceptions.RayError):  # the actor is started again
            for id, message in self.ray.get(self.mailbox.take.remote()):
                if id in references:
                    yield references[id], id, message
        answers, self.answers = self.answers, []
        for reference, message in answers:
            id = self.sent[reference][0].id
            yield reference, id, keep(message, self.setup.opened) if "files" in message else message

    def cancel(self, jobs: Sequence[Any]) -> None:
        for reference in jobs:  # raises KeyboardInterrupt there, where training writes its checkpoint
            self.ray.cancel(reference)
        self.ray.wait(list(jobs), num_returns=len(jobs), timeout=interruption.PATIENCE)


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


def _check_nodes(ray: Any, token: Path) -> bool:
    """Returns whether there is a node that does not share the folder of the store, of which a hint tells.

    Of methods, each run compares the code.

    Raises:
        UsageError: a node has another zslbench, or none.
    """

    def look(token: str) -> tuple[str, bool]:  # sent as it is, since the node may have no such module
        from pathlib import Path

        try:
            from zslbench.runs.code import own_code

            return own_code(), Path(token).exists()
        except ImportError:
            pass
        try:
            import zslbench

            return str(zslbench.__version__), False
        except ImportError:
            return "not installed", False

    nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")}
    probe = ray.remote(look)
    asked = {probe.options(max_retries=0, **_on(ray, id, soft=False)).remote(str(token)): id for id in nodes}
    ready, _ = ray.wait(list(asked), num_returns=len(asked), timeout=PROBED) if asked else ([], [])
    apart: list[str] = []
    for reference in ready:
        node = nodes[asked[reference]]
        name = f"{node['NodeManagerHostname']} ({node['NodeID'][:8]})"
        with suppress(ray.exceptions.RayError):  # it was lost meanwhile
            code, shares = ray.get(reference)
            if code != own_code():
                raise UsageError(
                    f"--engine ray: zslbench is {code} on node {name}, {own_code()} here; install the same on every "
                    "machine"
                )
            apart += [] if shares else [name]
    if apart:
        which = f"the folder of the store is not shared by {', '.join(apart)}"
        warnings.warn(f"--engine ray: {which}; data are sent there, and records come back", Hint, stacklevel=2)
    return bool(apart)


def _fulfil(run: str, id: str, settings: str, mailbox: Any, shared: tuple[str, list[Any]]) -> Message:
    """Executes a run in a worker; returns the last message, and leaves the others in the mailbox."""
    import ray

    def send(message: Message) -> None:
        put = mailbox.put.remote(id, message)
        if message["event"] == "started":  # it names the worker, should that be lost
            with suppress(ray.exceptions.RayError):
                ray.get(put)

    setup, (token, data) = Setup.model_validate_json(settings), shared
    if Path(token).exists():
        return answer(run, setup, spaced(send, MOMENT))
    own = Path(tempfile.gettempdir()) / f"zslbench{Path(token).name}" / id
    setup = setup.model_copy(update={"store": own})
    return answer_apart(run, setup, spaced(send, MOMENT), ray.get(data[0]) if data else None)
