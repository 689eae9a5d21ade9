"""The problem that methods are checked on: small, separable through its class embeddings, the same each time."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from zslbench.api.dataset import ZSLData
from zslbench.cards import Setting

Array = NDArray[np.float64]

SEEN, UNSEEN, IMAGES = 30, 10, 10
ATTRIBUTES, FEATURES = 12, 24
APART = 4
"""In how many attributes any two classes differ, at least."""


@cache
def separable(
    *,
    seen: int = SEEN,
    unseen: int = UNSEEN,
    attributes: int = ATTRIBUTES,
    features: int = FEATURES,
    apart: int = APART,
    signed: bool = False,
) -> ZSLData:
    """Makes a problem that whoever has learnt what the attributes look like can solve.

    Each class has half of the attributes strongly and the others weakly; features are a non-negative linear map of the
    class embedding plus little noise, not below 0, as those of a network behind its last rectifier. `signed` turns the
    class embeddings in their space, which keeps all distances between them: as vectors of words, they are no strengths.
    """
    random = np.random.default_rng(0)
    classes = seen + unseen
    strength = 0.1 + 0.8 * _codes(classes, attributes, apart, random) + random.uniform(-0.1, 0.1, (classes, attributes))
    semantics = strength / np.linalg.norm(strength, axis=1, keepdims=True)
    looks = random.exponential(size=(attributes, features)) * (random.random((attributes, features)) < 0.4)
    labels = np.repeat(np.arange(classes), IMAGES)
    x = semantics[labels] @ looks + 0.05 * random.normal(size=(len(labels), features))
    if signed:
        semantics = semantics @ np.linalg.qr(random.normal(size=(attributes, attributes)))[0]
    is_unseen, fifth = labels >= seen, np.arange(len(labels)) % 5 == 4
    return ZSLData(
        name="separable",
        features_name="vectors",
        features=x.clip(min=0).astype(np.float32),
        labels=labels,
        semantics=semantics.astype(np.float32),
        class_names=tuple(f"class {c + 1}" for c in range(classes)),
        train=np.flatnonzero(~is_unseen & ~fifth),
        test_seen=np.flatnonzero(~is_unseen & fifth),
        test_unseen=np.flatnonzero(is_unseen),
        attributes=not signed,
    )


def _codes(count: int, length: int, apart: int, random: np.random.Generator) -> Array:
    """Draws rows of as many ones as zeros, any two of which differ in some places."""
    codes: list[Array] = []
    while len(codes) < count:
        code = random.permutation(np.arange(length) % 2).astype(np.float64)
        if all((code != other).sum() >= apart for other in codes):
            codes.append(code)
    return np.stack(codes)


def with_canaries(data: ZSLData, setting: Setting, seed: int) -> ZSLData:
    """Replaces all test images that a method of this setting may not see, and shuffles the labels of test images."""
    assert data.features is not None
    random = np.random.default_rng(seed)
    features, labels = data.features.copy(), data.labels.copy()
    hidden = data.test_seen if setting == "transductive" else np.concatenate([data.test_seen, data.test_unseen])
    features[hidden] = 1000 * random.random((len(hidden), features.shape[1]))
    for part in (data.test_seen, data.test_unseen):
        labels[part] = random.permutation(labels[part])
    return replace(data, features=features, labels=labels)


def with_other_unseen(data: ZSLData, seed: int) -> ZSLData:
    """Replaces the class embeddings of unseen classes, by others of length 1."""
    semantics = data.semantics.copy()
    other = np.random.default_rng(seed).random((len(data.split.unseen), semantics.shape[1]))
    semantics[data.split.unseen] = other / np.linalg.norm(other, axis=1, keepdims=True)
    return replace(data, semantics=semantics)
