"""`blobs`: twelve Gaussian blobs in 16 dimensions; 8 classes are seen, 4 unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zslbench import DataError, Dataset, ZSLData
from zslbench_example import BLOBS

SEEN, UNSEEN, IMAGES, ATTRIBUTES, FEATURES = 8, 4, 30, 6, 16


class Blobs(Dataset):
    """Features are a random linear map of the class embedding, plus noise; made from a fixed seed."""

    card = BLOBS

    def load(self, root: Path, features: str | None = None, splits: str = "att_splits") -> ZSLData:
        """Makes the data set; every fifth image of a seen class is in test_seen.

        Raises:
            DataError: other features or another split are asked for.
        """
        if problem := self.missing(root, features, splits):
            raise DataError(problem)
        random = np.random.default_rng(0)
        classes = SEEN + UNSEEN
        semantics = random.random((classes, ATTRIBUTES))
        semantics /= np.linalg.norm(semantics, axis=1, keepdims=True)
        labels = np.repeat(np.arange(classes), IMAGES)
        centres = semantics @ random.normal(size=(ATTRIBUTES, FEATURES))
        x = centres[labels] + 0.3 * random.normal(size=(len(labels), FEATURES))
        unseen, fifth = labels >= SEEN, np.arange(len(labels)) % 5 == 4
        return ZSLData(
            name=self.card.title,
            features_name=self.card.default_features,
            features=x.astype(np.float32),
            labels=labels,
            semantics=semantics.astype(np.float32),
            class_names=tuple(f"blob {c + 1}" for c in range(classes)),
            train=np.flatnonzero(~unseen & ~fifth),
            test_seen=np.flatnonzero(~unseen & fifth),
            test_unseen=np.flatnonzero(unseen),
            pretraining="none",
        )


blobs = Blobs()
