"""Feature scaling against scikit-learn, fitted on what it is given and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

from zslbench.api.cards import SCALES
from zslbench.data.scaling import Scaler

REFERENCES = {"l2": Normalizer(), "zscore": StandardScaler(), "minmax": MinMaxScaler()}


def features(rows: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 3.0, size=(rows, 6))


def scaled(kind: str, train: np.ndarray, x: np.ndarray) -> np.ndarray:
    scaler = Scaler.fit(kind, torch.from_numpy(train).float())
    return scaler(torch.from_numpy(x).float()).numpy()


@pytest.mark.parametrize("kind", REFERENCES)
def test_new_images_are_scaled_by_what_was_fitted_as_scikit_learn_does(kind: str) -> None:
    train, test = features(50, 0), features(20, 1)
    assert scaled(kind, train, test) == pytest.approx(REFERENCES[kind].fit(train).transform(test), rel=1e-4, abs=1e-5)


def test_none_changes_nothing() -> None:
    x = torch.from_numpy(features(5, 0)).float()
    assert torch.equal(Scaler.fit("none", x)(x), x)


@pytest.mark.parametrize("kind", ["zscore", "minmax"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4, -1 / 3])
def test_a_constant_dimension_is_shifted_but_not_divided(kind: str, value: float) -> None:
    train = features(20_000, 0)
    train[:, 2] = value
    test = features(3, 1)
    test[:, 2] = value + 1.0
    found = scaled(kind, train, test)
    assert found[:, 2] == pytest.approx([1.0] * 3, abs=1e-2)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", SCALES)
def test_an_image_of_zeros_stays_finite(kind: str) -> None:
    assert np.isfinite(scaled(kind, features(5, 0), np.zeros((1, 6)))).all()
