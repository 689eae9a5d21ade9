"""Made-up scores of digits, and the files that they are written to."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray
from outside import Answer

SEEN, UNSEEN = [0, 1, 3, 6, 7, 8, 9], [2, 4, 5]


def metrics_of(answer: Answer) -> dict[str, float]:
    assert answer.status == 0, answer.err
    [record] = json.loads(answer.out)["runs"]
    return dict(record["metrics"])


class Scores:
    """Made-up scores of every test image of digits, for digits 0 to 9, and what they come to."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        labels = load_digits().target
        rank = np.array([int((labels[:i] == label).sum()) for i, label in enumerate(labels)])
        is_unseen = np.isin(labels, UNSEEN)
        rows = np.flatnonzero(is_unseen | (rank % 5 == 4))
        random = np.random.default_rng(0)
        self.images: NDArray[np.int64] = random.permutation(rows) + 1
        self.labels = labels[self.images - 1]
        self.scores = random.normal(size=(len(rows), 10))
        self.scores[np.arange(len(rows)), self.labels] += 1.0

    def expected(self) -> dict[str, float]:
        choice = self.scores.argmax(axis=1)
        among_unseen = np.array(UNSEEN)[self.scores[:, UNSEEN].argmax(axis=1)]
        ut = float(np.mean([(choice[self.labels == c] == c).mean() for c in UNSEEN]))
        st = float(np.mean([(choice[self.labels == c] == c).mean() for c in SEEN]))
        uu = float(np.mean([(among_unseen[self.labels == c] == c).mean() for c in UNSEEN]))
        return {"acc_uu": uu, "acc_ut": ut, "acc_st": st, "h": 2 * ut * st / (ut + st)}


@pytest.fixture(scope="module")
def made() -> Scores:
    return Scores()


def write_npz(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    np.savez(folder / "mine.npz", scores=scores, images=images)
    return [folder / "mine.npz"]


def write_npy(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    np.save(folder / "mine.npy", scores)
    np.savetxt(folder / "images.txt", images, fmt="%d")
    return [folder / "mine.npy", "--images", folder / "images.txt"]


def write_npy_twice(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    np.save(folder / "mine.npy", scores)
    np.save(folder / "images.npy", images)
    return [folder / "mine.npy", "--images", folder / "images.npy"]


def write_csv(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    """Columns in reverse order: the header decides."""
    with (folder / "mine.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(str(digit) for digit in range(9, -1, -1))])
        writer.writerows([int(image), *row[::-1].tolist()] for image, row in zip(images, scores, strict=True))
    return [folder / "mine.csv"]


def write_safetensors(folder: Path, scores: NDArray[Any], images: NDArray[Any]) -> list[Path | str]:
    arrays = {"scores": np.ascontiguousarray(scores), "images": np.ascontiguousarray(images)}
    safetensors.numpy.save_file(arrays, folder / "mine.safetensors")
    return [folder / "mine.safetensors"]


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path
