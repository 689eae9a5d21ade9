"""The evaluator `reconstruction`, against errors computed image by image, and scores over crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from toy import CPU, toy_data
from toy_images import toy_image_data

from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.params import Params
from zslbench.errors import NotApplicable
from zslbench.evaluation.measuring import remarks
from zslbench.evaluation.reconstruction import SHOWN_SEEN, SHOWN_UNSEEN, Reconstruction, ssim
from zslbench.evaluation.scorers import ModelScorer, StoredScorer


class Darker(Embedder[Params]):
    """Halves the light, more so for images whose features are large."""

    def embed(self, x: Tensor) -> Tensor:
        return x[:, :5].square()

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        return pixels * (0.5 + 0.1 * torch.tanh(x[:, 0]))[:, None, None, None]


def scorer_of(data: ZSLData, method: type[Embedder] = Darker) -> ModelScorer:
    return ModelScorer(method(Params()), data.test_view(), lambda x: x, CPU)


def naive_ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Wang et al. (2004) window by window, with weighted moments about the weighted mean."""
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    found = []
    for x, y in zip(a, b, strict=True):
        for top in range(x.shape[0] - 10):
            for left in range(x.shape[1] - 10):
                u, v = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
                mu, mv = (weights * u).sum(), (weights * v).sum()
                su, sv = (weights * (u - mu) ** 2).sum(), (weights * (v - mv) ** 2).sum()
                both = (weights * (u - mu) * (v - mv)).sum()
                light = (2 * mu * mv + 1e-4) / (mu**2 + mv**2 + 1e-4)
                found.append(light * (2 * both + 9e-4) / (su + sv + 9e-4))
    return float(np.mean(found))


def test_structural_similarity_is_that_of_its_paper() -> None:
    random = np.random.default_rng(0)
    a = random.random((2, 3, 16, 14))
    b = np.clip(a + random.normal(scale=0.2, size=a.shape), 0, 1)
    found = ssim(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
    np.testing.assert_allclose(found, [naive_ssim(*pair) for pair in zip(a, b, strict=True)], atol=1e-4)
    assert torch.allclose(ssim(torch.tensor(a).float(), torch.tensor(a).float()), torch.ones(2))


def test_errors_are_means_over_unseen_and_over_seen_test_images(tmp_path: Path) -> None:
    data = toy_image_data(tmp_path)
    assert data.pixels is not None and data.features is not None
    metrics = Reconstruction().evaluate(scorer_of(data))
    for side, rows in (("unseen", data.test_unseen), ("seen", data.test_seen)):
        mse, perceptual = [], []
        for row in rows:
            image = data.pixels.read([row], [0])[0].double().numpy() / 255
            made = image * (0.5 + 0.1 * np.tanh(data.features[row, 0, 0]))
            mse.append(((made - image) ** 2).mean())
            perceptual.append(1 - naive_ssim(made, image))
        assert metrics[f"mse_{side}"] == pytest.approx(np.mean(mse), rel=1e-4)
        assert metrics[f"perceptual_{side}"] == pytest.approx(np.mean(perceptual), rel=1e-3)


def test_intervals_weigh_the_errors_of_each_image(tmp_path: Path) -> None:
    scorer = scorer_of(toy_image_data(tmp_path))
    evaluator = Reconstruction()
    evaluator.evaluate(scorer)
    errors = evaluator.arrays(scorer)["mse"]
    weights = np.zeros((1, len(scorer.view)))
    chosen = [int(np.flatnonzero(scorer.view.seen)[3]), int(np.flatnonzero(~scorer.view.seen)[2])]
    weights[0, chosen] = 2
    found = evaluator.resample(scorer, weights)
    assert found["mse_seen"][0] == pytest.approx(errors[chosen[0]])
    assert found["mse_unseen"][0] == pytest.approx(errors[chosen[1]])


def test_an_image_has_a_share_of_the_mean_errors_of_its_side(tmp_path: Path) -> None:
    live, evaluator = scorer_of(toy_image_data(tmp_path)), Reconstruction()
    metrics, seen = evaluator.evaluate(live), live.view.seen
    stored = StoredScorer(live.view, live.generalized)
    found = Reconstruction().influence(stored, metrics, evaluator.arrays(live))
    means = {name: value for name, value in metrics.items() if name.endswith("seen")}
    assert {name: shares.sum() for name, shares in found.items()} == pytest.approx(means, rel=1e-5)
    errors = evaluator.arrays(live)["mse"]
    assert found["mse_unseen"].tolist() == [0 if s else e / (~seen).sum() for e, s in zip(errors, seen, strict=True)]
    assert not found["perceptual_seen"][~seen].any()


def test_what_is_shown_is_spread_evenly_over_classes_and_matches_the_images(tmp_path: Path) -> None:
    data = toy_image_data(tmp_path, images=40)
    assert data.pixels is not None
    scorer, evaluator = scorer_of(data), Reconstruction()
    evaluator.evaluate(scorer)
    arrays = evaluator.arrays(scorer)
    assert arrays["unseen"].sum() == SHOWN_UNSEEN and (~arrays["unseen"]).sum() == SHOWN_SEEN
    assert set(arrays["rows"][arrays["unseen"]]) <= set(data.test_unseen)
    counts = np.unique(data.labels[arrays["rows"][arrays["unseen"]]], return_counts=True)[1]
    assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(arrays["originals"], data.pixels.centres(arrays["rows"]))
    factor = 0.5 + 0.1 * np.tanh(data.features[arrays["rows"], 0, 0])[:, None, None, None]
    np.testing.assert_allclose(arrays["made"], arrays["originals"] * factor, atol=0.51)


def test_a_model_that_makes_no_images_and_scores_of_features_are_not_measured(tmp_path: Path) -> None:
    class Blind(Embedder[Params]):
        def embed(self, x: Tensor) -> Tensor:
            return x[:, :5]

    with pytest.raises(NotApplicable, match="makes no images"):
        Reconstruction().evaluate(scorer_of(toy_image_data(tmp_path), Blind))
    with pytest.raises(NotApplicable, match="features, not images"):
        Reconstruction().evaluate(scorer_of(toy_data()))


def test_an_image_is_scored_by_the_mean_over_its_crops(tmp_path: Path) -> None:
    data = toy_image_data(tmp_path, crops=5)
    assert data.features is not None
    view = data.test_view()
    found = scorer_of(data).scores(slice(3, 9), np.arange(len(view.classes)))
    crops = data.features[view.images[3:9]][..., :5].astype(np.float64) ** 2
    expected = (crops @ view.classes.semantics.double().numpy().T).mean(axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


class Close(Darker):
    """Loses a tenth of the light."""

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        return 0.9 * pixels


class OneImage(Darker):
    """Makes the same image of every one."""

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        return torch.full_like(pixels, 0.4)


class Unlike(Darker):
    """Makes of each image what is as far from the mean on the other side."""

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        return 1 - pixels


def test_variances_are_those_of_unseen_images_and_of_what_is_made(tmp_path: Path) -> None:
    data = toy_image_data(tmp_path)
    assert data.pixels is not None and data.features is not None
    metrics = Reconstruction().evaluate(scorer_of(data))
    images = data.pixels.centres(data.test_unseen).double().numpy() / 255
    made = images * (0.5 + 0.1 * np.tanh(data.features[data.test_unseen, 0, 0]))[:, None, None, None]
    assert metrics["mse_mean_image"] == pytest.approx(((images - images.mean(axis=0)) ** 2).mean(), rel=1e-6)
    assert metrics["variance_made"] == pytest.approx(made.var(axis=0).mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("method", "expected"), [(Close, ""), (OneImage, "the same for all images"), (Unlike, "no closer to the images")]
)
def test_a_run_whose_reconstructions_tell_nothing_is_remarked_on(
    tmp_path: Path, method: type[Embedder], expected: str
) -> None:
    metrics = Reconstruction().evaluate(scorer_of(toy_image_data(tmp_path), method))
    said = remarks(metrics)
    assert [name for name, _ in said] == ["reconstruction"] * bool(expected)
    assert expected in " ".join(text for _, text in said)
    older = {name: value for name, value in metrics.items() if name not in ("mse_mean_image", "variance_made")}
    assert not remarks(older)


def test_metrics_follow_from_what_is_stored_with_variances_or_without(tmp_path: Path) -> None:
    live, evaluator = scorer_of(toy_image_data(tmp_path)), Reconstruction()
    metrics = dict(evaluator.evaluate(live))
    stored, arrays = StoredScorer(live.view, live.generalized), dict(evaluator.arrays(live))
    assert Reconstruction().recomputed(stored, metrics, arrays) == pytest.approx(metrics, rel=1e-5)
    del arrays["variances"], metrics["mse_mean_image"], metrics["variance_made"]
    assert Reconstruction().recomputed(stored, metrics, arrays) == pytest.approx(metrics, rel=1e-5)
