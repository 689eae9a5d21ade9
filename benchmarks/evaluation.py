"""Times the five figures of GZSL from a score matrix, and the bootstrap behind their intervals.

python benchmarks/evaluation.py [SCORES.npz --dataset cub]      # without a file: random scores of CUB's size
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from zslbench import ClassSet, TestView
from zslbench.data.catalogue import find_dataset
from zslbench.data.folders import data_root
from zslbench.data.scorefile import read_scores
from zslbench.evaluation.evaluators import AUSUC, ConventionalZSL, GeneralizedZSL
from zslbench.evaluation.measuring import REPLICATES, Measurement
from zslbench.evaluation.scorers import MatrixScorer

REPEATS = 7


def random_problem(images: int = 4731, seen: int = 150, unseen: int = 50) -> tuple[np.ndarray, TestView]:
    random = np.random.default_rng(0)
    classes = seen + unseen
    y = np.sort(random.integers(classes, size=images))
    names = tuple(f"class {c}" for c in range(classes))
    class_set = ClassSet(torch.zeros(classes, 1), names, torch.arange(classes) < seen)
    return random.normal(size=(images, classes)).astype(np.float32), TestView(np.arange(images), y, class_set, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", type=Path, nargs="?")
    parser.add_argument("--dataset", default="cub")
    options = parser.parse_args()
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
