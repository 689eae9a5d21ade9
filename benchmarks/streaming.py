"""Trains on features larger than memory, in a process whose memory is limited, and says what it took.

python benchmarks/streaming.py                            # 1.28 million images x 2048, 10.5 GB on disk for the features
python benchmarks/streaming.py --images 100000 --compare  # on disk and in memory, and whether the results are the same

The features are synthetic: a random linear map of class embeddings, and noise; they are deleted in the end. Each method
has a process of its own, whose private memory RLIMIT_DATA limits: what it allocates and cannot be read again from a
file. The page cache is not limited: the kernel keeps as much of the files there as it has room for.

Output is a line of JSON for each method: seconds to check the data, to write the scaled features to disk, to train and
to score; the most private memory (RssAnon) and all resident memory with pages of files (VmHWM), in MB; metrics, and a
hash of the weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from zslbench import Embedder, ZSLData
from zslbench.discovery.plugins import registry
from zslbench.evaluation.measuring import evaluators, owner_of
from zslbench.runs.fit import train
from zslbench.runs.memory import Where, read_memory
from zslbench.runs.problem import Problem
from zslbench.runs.scaling import own_scaling
from zslbench.training.trainer import Fit

METHODS = ("eszsl", "devise", "ale", "spaen")
SEEN, UNSEEN, ATTRIBUTES, TESTED = 1000, 100, 300, 5_000
AT_ONCE = 2**14
"""Images that are made at a time."""


def generate(folder: Path, images: int, width: int) -> None:
    """Writes features of training images, then of test images of seen and of unseen classes, chunk by chunk."""
    random = np.random.default_rng(0)
    semantics = random.standard_normal((SEEN + UNSEEN, ATTRIBUTES), dtype=np.float32)
    semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
    centres = semantics @ random.standard_normal((ATTRIBUTES, width), dtype=np.float32)
    labels = np.concatenate(
        [
            random.permutation(np.arange(images) % SEEN),
            np.arange(TESTED) % SEEN,
            SEEN + np.arange(TESTED) % UNSEEN,
        ]
    )
    np.savez(folder / "labels.npz", labels=labels, semantics=semantics)
    file = np.lib.format.open_memmap(folder / "features.npy", "w+", np.float32, (len(labels), width))
    for start in range(0, len(labels), AT_ONCE):
        own = centres[labels[start : start + AT_ONCE]]
        file[start : start + AT_ONCE] = own + 12 * random.standard_normal(own.shape, dtype=np.float32)
    file.flush()


def loaded(folder: Path) -> ZSLData:
    """Opens the features, which stay on disk."""
    with np.load(folder / "labels.npz") as arrays:
        labels, semantics = arrays["labels"], arrays["semantics"]
    images = len(labels) - 2 * TESTED
    return ZSLData.from_arrays(
        np.load(folder / "features.npy", mmap_mode="r"),
        labels,
        semantics,
        train=np.arange(images),
        test_seen=np.arange(images, images + TESTED),
        test_unseen=np.arange(images + TESTED, len(labels)),
        name="synthetic",
        attributes=False,
    )


def status(name: str) -> float:
    """Returns a figure of this process that Linux gives in kB, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1000


class Peak(threading.Thread):
    """Looks at private memory twenty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0

    def run(self) -> None:
        """Looks until the process ends."""
        while True:
            self.most = max(self.most, status("RssAnon"))
            time.sleep(0.05)


def work(folder: Path, name: str, memory: int | None, limit: int) -> None:
    """Trains and scores one method, and prints what it took."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    peak = Peak()
    peak.start()
    where, seconds = Where.of("cpu", memory), {}

    def lap(what: str) -> None:
        seconds[what] = round(time.monotonic() - began - sum(seconds.values()), 1)

    began = time.monotonic()
    data = loaded(folder)
    lap("check")
    method = registry().resolve("method", name, Embedder)
    params = method.params_type()
    if "epochs" in type(params).model_fields:
        params = params.model_copy(update={"epochs": 1})
    problem = Problem.of(data, "inductive", own_scaling(method), None, where.memory)
    lap("scale")
    model = train(lambda: method(params), problem, 0, Fit(where.device))
    lap("train")
    measured = evaluators()[owner_of("ausuc")]().evaluate(model.scorer())
    lap("score")
    weights = hashlib.sha256()
    for key, tensor in sorted(model.embedder.state_dict().items()):
        weights.update(key.encode() + tensor.contiguous().numpy().tobytes())
    line = {
        "method": name,
        "images": len(data.train),
        "width": problem.train.x.shape[1],
        "features_gb": round(problem.train.x.numel() * 4 / 1e9, 2),
        "on_disk": problem.train.scratch is not None,
        "limit_gb": round(limit / 1e9, 1),
        "seconds": seconds,
        "private_mb": round(peak.most),
        "resident_mb": round(status("VmHWM")),
        "metrics": {key: value for key, value in measured.items() if isinstance(value, float)},
        "weights": weights.hexdigest()[:16],
    }
    print(json.dumps(line), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_280_000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--budget", help="what features may take, as --memory; half of RAM by default")
    parser.add_argument("--limit", default="6GB", help="private memory of the process of a method")
    parser.add_argument("--compare", action="store_true", help="train each method on disk, then in memory")
    parser.add_argument("--folder", type=Path, help="where features are made; the system's temporary folder by default")
    parser.add_argument("--work", nargs=2, metavar=("FOLDER", "METHOD"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    budget, limit = read_memory(options.budget, "--budget"), read_memory(options.limit, "--limit")
    assert limit is not None
    if options.work:
        work(Path(options.work[0]), options.work[1], budget, limit)
        return
    with TemporaryDirectory(dir=options.folder) as folder:
        began = time.monotonic()
        generate(Path(folder), options.images, options.width)
        print(json.dumps({"generated_seconds": round(time.monotonic() - began, 1), "threads": torch.get_num_threads()}))
        for method in options.methods.split(","):
            found = []
            for own in ["0", "1TB"] if options.compare else [options.budget]:
                order = [sys.executable, __file__, "--work", folder, method, "--limit", options.limit]
                order += ["--budget", own] if own else []
                done = subprocess.run(order, stdout=subprocess.PIPE, text=True, check=True)
                print(done.stdout, end="", flush=True)
                found.append(json.loads(done.stdout))
            if options.compare:
                same = all(found[0][key] == found[1][key] for key in ("metrics", "weights"))
                print(json.dumps({"method": method, "same_metrics_and_weights": same}), flush=True)


if __name__ == "__main__":
    main()
