"""Times the five figures of GZSL from a score matrix, and the bootstrap behind their intervals.

python benchmarks/evaluation.py [SCORES.npz --dataset cub]      # without a file: random scores of CUB's size
python benchmarks/evaluation.py --images 100000 --classes 21841  # ImageNet's size: a bilinear model scores part by part
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zslbench import ClassSet, Embedder, Params, ProblemShape, TestView
from zslbench.data.catalogue import find_dataset
from zslbench.data.folders import data_root
from zslbench.data.scorefile import read_scores
from zslbench.evaluation.evaluators import AUSUC, ConventionalZSL, GeneralizedZSL
from zslbench.evaluation.measuring import REPLICATES, Measurement
from zslbench.evaluation.ranking import TopK
from zslbench.evaluation.scorers import MatrixScorer, ModelScorer
from zslbench.runs.provenance import peak_memory

REPEATS = 7
FEATURES, ATTRIBUTES = 2048, 500


def random_problem(images: int = 4731, seen: int = 150, unseen: int = 50) -> tuple[np.ndarray, TestView]:
    random = np.random.default_rng(0)
    classes = seen + unseen
    y = np.sort(random.integers(classes, size=images))
    names = tuple(f"class {c}" for c in range(classes))
    class_set = ClassSet(torch.zeros(classes, 1), names, torch.arange(classes) < seen)
    return random.normal(size=(images, classes)).astype(np.float32), TestView(np.arange(images), y, class_set, None)


class Bilinear(Embedder[Params]):
    """x'W s with a random W; training it would not change how long it scores."""

    params_type = Params

    def build(self, shape: ProblemShape) -> None:
        """Creates W, `(D, A)`."""
        self.W = nn.Parameter(torch.randn(shape.features, shape.attributes))

    def embed(self, x: Tensor) -> Tensor:
        """Returns `(B, A)`."""
        return x @ self.W


def large(images: int, classes: int, device: str) -> None:
    """Times the built-in metrics and hit@k of a model on images of which one in 22 is of a seen class, as in ImageNet.

    Features are 4,096 random rows, repeated, so that what grows with the images is the evaluation alone.
    """
    random, seen = np.random.default_rng(0), max(1, classes // 22)
    y = np.sort(random.integers(classes, size=images))
    names = tuple(map(str, range(classes)))
    semantics = torch.nn.functional.normalize(torch.randn(classes, ATTRIBUTES), dim=1)
    class_set = ClassSet(semantics, names, torch.arange(classes) < seen)
    rows = random.standard_normal((4096, FEATURES), dtype=np.float32)
    model = Bilinear(Params())
    model.build(ProblemShape(FEATURES, ATTRIBUTES, classes))
    view = TestView(np.arange(images) % len(rows), y, class_set, rows)
    before = peak_memory(torch.device("cpu"))
    evaluators = {"zsl": ConventionalZSL, "gzsl": GeneralizedZSL, "ausuc": AUSUC, "top-k": TopK}
    start = time.perf_counter()
    found = Measurement(evaluators).measure(
        ModelScorer(model.to(device), view, lambda x: x, torch.device(device)), REPLICATES
    )
    seconds, peak = time.perf_counter() - start, peak_memory(torch.device("cpu"))
    print(
        f"{images} x {classes} on {device}: {len(found.metrics)} metrics with intervals in {seconds:.0f} s, "
        f"{before} MB before, {peak} MB at most; hit@1 {found.metrics['hit1_ut']:.6f}, by chance {1 / classes:.6f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path, nargs="?")
    parser.add_argument("--dataset", default="cub")
    parser.add_argument("--images", type=int, default=0, help="time a model on this many synthetic images instead")
    parser.add_argument("--classes", type=int, default=21841)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.images:
        large(options.images, options.classes, options.device)
        return
    if options.scores:
        data = find_dataset(options.dataset).load_labels(data_root())
        view = data.test_view()
        matrix = read_scores(options.scores).matrix_for(view, data.class_names)
    else:
        matrix, view = random_problem()
    evaluators = {"zsl": ConventionalZSL, "gzsl": GeneralizedZSL, "ausuc": AUSUC}
    for name, replicates in (("five figures", 0), (f"with intervals from {REPLICATES} replicates", REPLICATES)):
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            Measurement(evaluators).measure(MatrixScorer(matrix, view), replicates)
            seconds.append(time.perf_counter() - start)
        print(f"{matrix.shape[0]} x {matrix.shape[1]}, {name}: median {np.median(seconds):.3f} s of {REPEATS} runs")


if __name__ == "__main__":
    main()
