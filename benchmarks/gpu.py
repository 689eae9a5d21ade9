"""What a GPU is for, in one prepared run: needs no network, takes at most the minutes given, prints JSON.

python benchmarks/gpu.py [--minutes 10] [--parts agreement stacking table network processes] [--data-root FOLDER]
python benchmarks/gpu.py --toy          # every part at toy size, on a CPU too

- agreement: AUSUC of every method on the CPU, on the device in float32 and in bf16, on digits.
- stacking: seconds a fit, alone and with 8 to 512 as one, on digits and on 2048-d synthetic features of SUN's size.
- table: seconds of a tuned table of all methods on the synthetic features, and on awa1@bow512 where it is.
- network: the paper's network on images: steps a second and memory, by batch and precision, and compiled by torch.
- processes: one process under torchrun, which is NCCL on a GPU, against none.

A part that fails says so in its place, and one for which no time is left is skipped and named.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zslbench import Bench, DataError, Event, ZSLData
from zslbench.runs.fit import fit_new
from zslbench.runs.problem import Problem
from zslbench.runs.resolve import method_class
from zslbench.runs.scaling import own_scaling
from zslbench.training.device import choose_device, seeded
from zslbench.training.lockstep import in_lockstep
from zslbench.training.trainer import Fit

SUN = {"seen": 645, "unseen": 72, "images": 20, "features": 2048, "attributes": 102}
SMALL = {"seen": 20, "unseen": 5, "images": 10, "features": 32, "attributes": 12}
Part = Callable[[Bench, bool], Any]


def synthetic(seen: int, unseen: int, images: int, features: int, attributes: int) -> ZSLData:
    """Returns features that are a noisy linear map of class embeddings; a fifth of the seen images is for testing."""
    random, classes = np.random.default_rng(0), seen + unseen
    semantics = random.random((classes, attributes)).astype(np.float32)
    labels = np.repeat(np.arange(classes), images)
    looks = random.standard_normal((attributes, features)).astype(np.float32)
    x = semantics[labels] @ looks + random.standard_normal((len(labels), features)).astype(np.float32)
    held_out = (np.arange(len(labels)) % 5 == 0) & (labels < seen)
    parts = {
        "train": np.flatnonzero(~held_out & (labels < seen)),
        "test_seen": np.flatnonzero(held_out),
        "test_unseen": np.flatnonzero(labels >= seen),
    }
    names = tuple(f"class {c}" for c in range(classes))
    return ZSLData(
        name="synthetic",
        features_name=f"{features}-d",
        features=x,
        labels=labels,
        semantics=semantics / np.linalg.norm(semantics, axis=1, keepdims=True),
        class_names=names,
        attributes=True,
        **parts,
    )


def agreement(bench: Bench, toy: bool) -> Any:
    """Returns AUSUC by method: on the CPU, and on the device in both precisions."""
    methods = ["eszsl", "devise"] if toy else bench.methods()
    options: dict[str, Any] = {"dataset": "digits", "seeds": 1, "calibrated": False}
    found: dict[str, dict[str, float]] = {}
    with Bench(store=bench.store.root / "cpu", device="cpu", on_event=None) as cpu:
        for name, where, precision in (("cpu", cpu, "32"), ("32", bench, "32"), ("bf16", bench, "bf16")):
            for result in where.compare(methods, precision=precision, existing="rerun", **options):
                found.setdefault(result.method, {})[name] = round(100 * result.metrics["ausuc"], 2)
    return found


def stacking(bench: Bench, toy: bool) -> Any:
    """Returns seconds a fit of one epoch, by method, data and number of fits that train as one."""
    device, rows = choose_device(bench.device), []
    for data in (bench.load("digits"), synthetic(**(SMALL if toy else SUN))):
        for name in ["devise"] if toy else ["devise", "ale", "spaen"]:
            method = method_class(name)
            problem = Problem.of(data, "inductive", own_scaling(method), ())
            for members in (1, 4) if toy else (1, 8, 32, 128, 512):
                works = list(_fits(method, problem, device, members))
                _timed(works, device, members)  # a first time for what is tried and imported once
                seconds = _timed(works, device, members) / members
                rows.append({"method": name, "data": data.name, "members": members, "seconds": round(seconds, 5)})
    return rows


def _fits(method: Any, problem: Problem, device: torch.device, count: int) -> Iterator[Callable[[], Any]]:
    for which in range(count):
        params = method.params_type(epochs=1, lr=method.params_type().lr * (1 + which / 1000))
        yield partial(fit_new, partial(method, params), problem.view(device), which, Fit(device))


def _timed(works: list[Callable[[], Any]], device: torch.device, most: int) -> float:
    start = time.perf_counter()
    with seeded(0, device):
        found = in_lockstep(works, device, most)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    for one in found:
        if isinstance(one, Exception):
            raise one
    return time.perf_counter() - start


def table(bench: Bench, toy: bool) -> Any:
    """Returns seconds and AUSUC of tuned rows of all methods."""
    data: list[Any] = [synthetic(**(SMALL if toy else SUN))]
    if not toy:
        try:
            data.append(bench.load("awa1", features="bow512"))
        except DataError as error:
            print(f"awa1@bow512 is left out: {error}", file=sys.stderr)
    found = {}
    for one in data:
        start = time.perf_counter()
        methods = ["sae", "devise"] if toy else bench.methods()
        results = bench.compare(methods, dataset=one, seeds=1, tuned=True, trials=4, folds=1)
        ausuc = {result.method: round(100 * result.metrics["ausuc"], 2) for result in results}
        errors = {name: str(error) for name, error in results.errors.items()}
        found[one.name] = {"seconds": round(time.perf_counter() - start, 1), "ausuc": ausuc, "errors": errors}
    return found


def network(bench: Bench, toy: bool) -> Any:
    """Returns steps a second and peak memory of SP-AEN on images, by batch and precision."""
    size: dict[str, Any] = {"image_size": 224}
    if toy:
        size = {"image_size": 32, "width": 0.05, "hidden": 16, "encoder": "conv", "phi": "none", "backbone": "pixels"}
    plain: Any = method_class("spaen-image")

    class Compiled(plain):
        def build(self, shape: Any) -> None:
            super().build(shape)
            for part in (self.E, self.F, self.G):  # not D: torch compiles no gradient of a gradient
                part.compile()

    rows, batches, precisions = [], (32,) if toy else (32, 64, 128), ("bf16",) if toy else ("32", "bf16")
    for batch, precision, method in product(batches, precisions, (plain, Compiled)):
        ends: list[float] = []  # of each epoch
        settings: dict[str, Any] = {"store": bench.store.root, "device": bench.device, "on_event": partial(_note, ends)}
        options = {"dataset": "shapes", "epochs": 2, "batch_size": batch, "crops": 1, "pretrained": False, **size}
        with Bench(**settings) as own:
            results = own.run(method, precision=precision, calibrated=False, existing="rerun", **options)
        steps = -(-len(bench.load("shapes").train) // batch)
        speed, memory = steps / (ends[-1] - ends[-2]), results[0].record.provenance.get("peak_memory_mb")
        row = {"batch": batch, "precision": precision, "compiled": method is Compiled}
        rows.append({**row, "steps a second": round(speed, 2), "MB": memory})
    return rows


def _note(ends: list[float], event: Event) -> None:
    if event.progress is not None:
        ends.append(event.progress.seconds)


def processes(bench: Bench, toy: bool) -> Any:
    """Returns whether one process under torchrun gives the numbers of none."""
    found = []
    for launcher in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]):
        store = bench.store.root / f"launched-{len(found)}"
        command = [
            sys.executable,
            *launcher,
            "-m",
            "zslbench",
            "run",
            "devise",
            "-d",
            "digits",
            "--device",
            bench.device,
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [*command, "--store", str(store), "--json"], capture_output=True, text=True, env=environment, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        found.append(json.loads(done.stdout)["runs"][0]["metrics"]["ausuc"])
    return {"alone": found[0], "under torchrun": found[1], "equal": found[0] == found[1]}


PARTS: dict[str, Part] = {
    "agreement": agreement,
    "stacking": stacking,
    "network": network,
    "processes": processes,
    "table": table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--toy", action="store_true")
    given = parser.parse_args()
    ends = time.monotonic() + 60 * given.minutes
    device = choose_device(given.device)
    named = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    figures: dict[str, Any] = {"device": named, "torch": torch.__version__}
    with tempfile.TemporaryDirectory() as folder:
        settings: dict[str, Any] = {"data_root": given.data_root, "device": device.type, "on_event": None}
        for name in given.parts:
            if time.monotonic() > ends:
                figures[name] = "skipped: no time was left"
                continue
            start = time.monotonic()
            with Bench(store=Path(folder) / name, **settings) as bench:
                try:
                    figures[name] = PARTS[name](bench, given.toy)
                except Exception as error:  # the other parts are worth their minutes all the same
                    figures[name] = f"failed: {type(error).__name__}: {error}"
            figures[f"{name}, seconds"] = round(time.monotonic() - start, 1)
            print(json.dumps({name: figures[name]}), file=sys.stderr, flush=True)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
