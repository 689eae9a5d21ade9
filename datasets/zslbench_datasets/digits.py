"""`digits`: scikit-learn's handwritten digits, described by the segments that a seven-segment display lights."""

from __future__ import annotations

from importlib.metadata import distribution
from pathlib import Path

import numpy as np

from zslbench import DataError, Dataset, ZSLData
from zslbench_datasets.cards import DIGITS

SEGMENTS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")
"""Lit segments of the digits 0 to 9; a is the top bar, then clockwise b to f, g is the middle bar."""
UNSEEN = (2, 4, 5)


class Digits(Dataset):
    """1,797 real images of 8 x 8 pixels; seen are 0 1 3 6 7 8 9, unseen 2 4 5. It needs no files."""

    card = DIGITS

    def load(self, root: Path, features: str | None = None, splits: str = "att_splits") -> ZSLData:
        """Makes the data set; every fifth image of a seen class is in test_seen.

        Raises:
            DataError: other features or another split are asked for.
        """
        if problem := self.missing(root, features, splits):
            raise DataError(problem)
        table = np.loadtxt(_file(), delimiter=",")
        labels = table[:, -1].astype(np.int64)
        rank = np.zeros(len(labels), dtype=np.int64)  # of an image among those of its class
        for digit in range(10):
            rank[labels == digit] = np.arange((labels == digit).sum())
        unseen = np.isin(labels, UNSEEN)
        lit = np.array([[segment in digit for segment in "abcdefg"] for digit in SEGMENTS])
        return ZSLData(
            name=self.card.title,
            features_name=self.card.default_features,
            features=(table[:, :-1] / 16).astype(np.float32),
            labels=labels,
            semantics=(lit / np.sqrt(lit.sum(axis=1, keepdims=True))).astype(np.float32),
            attribute_names=tuple("abcdefg"),
            class_names=tuple(str(digit) for digit in range(10)),
            train=np.flatnonzero(~unseen & (rank % 5 != 4)),
            test_seen=np.flatnonzero(~unseen & (rank % 5 == 4)),
            test_unseen=np.flatnonzero(unseen),
            pretraining="none",
        )


def _file() -> str:
    """Returns the table of `sklearn.datasets.load_digits`: 64 pixels and the digit. Its import alone takes a second."""
    return str(distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz"))


digits = Digits()
