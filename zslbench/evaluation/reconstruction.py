"""The evaluator `reconstruction`: how much of an image its embedding keeps, measured on the reconstruction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zslbench.api.evaluator import Metric, Scorer
from zslbench.evaluation.evaluators import WeightedEvaluator

PIXELS_AT_ONCE = 2**22
"""Numbers in the images that are held in memory at a time."""
SHOWN_UNSEEN, SHOWN_SEEN = 32, 16
"""Images of each kind that are stored beside the record, as many of each class as of any other."""
CONSTANT = 1e-3
"""Reconstructions that vary less than this share of the variance of the images are one image."""
WINDOW, DEVIATION = 11, 1.5
STABILISERS = 0.01**2, 0.03**2
"""Those of Wang et al. for values in [0, 1]."""

Array = NDArray[np.float64]


class Reconstruction(WeightedEvaluator):
    """Pixel MSE in [0, 1] RGB, and 1 - SSIM, of centre crops of test images against what the method makes of them.

    The structural similarity needs no pretrained network, so that it means the same everywhere (Wang et al.: Image
    quality assessment: from error visibility to structural similarity. TIP 2004). Both are means over images.

    The variance of images is the error of their mean image, which is the best that one image can do for all.
    """

    metrics: ClassVar = (
        Metric("mse_unseen", "MSE unseen", percent=False, higher_is_better=False),
        Metric("mse_seen", "MSE seen", percent=False, higher_is_better=False, shown=False),
        Metric("perceptual_unseen", "1-SSIM unseen", percent=False, higher_is_better=False),
        Metric("perceptual_seen", "1-SSIM seen", percent=False, higher_is_better=False, shown=False),
        Metric("mse_mean_image", "MSE mean image", percent=False, higher_is_better=False, shown=False),
        Metric("variance_made", "variance of reconstructions", percent=False, shown=False),
    )
    needs_images: ClassVar = True

    def __init__(self) -> None:
        self._errors: dict[str, Array] = {}
        self._kept: dict[str, NDArray[np.uint8]] = {}
        self._variances = np.empty(0)

    def evaluate(self, scorer: Scorer) -> Mapping[str, float]:
        """Returns the metrics; every test image is reconstructed once."""
        shown = set(shown_rows(scorer).tolist())
        errors: dict[str, list[Tensor]] = {"mse": [], "perceptual": []}
        kept: dict[str, list[Tensor]] = {"originals": [], "made": []}
        variances = _Variance(), _Variance()
        size = scorer.reconstruct(slice(0, 1))[0].numel()
        step = max(1, PIXELS_AT_ONCE // size)
        for start in range(0, len(scorer.view), step):
            rows = slice(start, min(start + step, len(scorer.view)))
            original, made = scorer.reconstruct(rows)
            errors["mse"].append((made - original).square().mean(dim=(1, 2, 3)).cpu())
            errors["perceptual"].append(1 - ssim(made, original).cpu())
            own = [row - start for row in range(rows.start, rows.stop) if row in shown]
            unseen = torch.from_numpy(~scorer.view.seen[rows]).to(original.device)
            for name, images, variance in zip(kept, (original, made), variances, strict=True):
                variance.add(images[unseen])
                kept[name].append((images[own].clamp(0, 1) * 255).round().to(torch.uint8).cpu())
        self._errors = {name: torch.cat(values).double().numpy() for name, values in errors.items()}
        self._kept = {name: torch.cat(images).numpy() for name, images in kept.items()}
        self._variances = np.array([variance.value for variance in variances])
        return self._metrics(scorer)

    def _metrics(self, scorer: Scorer) -> Mapping[str, float]:
        return {**super().evaluate(scorer), **dict(zip(OF_UNSEEN, self._variances.tolist(), strict=False))}

    def remarks(self, metrics: Mapping[str, float]) -> Sequence[str]:
        """Returns a remark where reconstructions of unseen classes are one image for all, or no better than that."""
        if not set(OF_UNSEEN) <= set(metrics):
            return ()
        images, made = (metrics[name] for name in OF_UNSEEN)
        if made < CONSTANT * images:
            return ("its reconstructions of unseen classes are the same for all images; nothing was learned from them",)
        if metrics["mse_unseen"] >= images:
            return (
                "its reconstructions of unseen classes are no closer to the images than the mean of these images is",
            )
        return ()

    def resample(self, scorer: Scorer, weights: Array) -> Mapping[str, Array]:
        """Returns the metrics for each row of weights, of the images that `evaluate` made."""
        own = {f"{kind}_{side}": (self._errors[kind], mask) for kind, side, mask in _means(scorer)}
        return {n: weights[:, mask] @ e[mask] / weights[:, mask].sum(axis=1) for n, (e, mask) in own.items()}

    def recomputed(
        self, scorer: Scorer, metrics: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, float]:
        """Returns the means of the stored errors, and the stored variances, which older runs do not have."""
        self._errors = {kind: arrays[kind].astype(np.float64) for kind in ("mse", "perceptual")}
        self._variances = arrays.get("variances", self._variances)
        return self._metrics(scorer)

    def influence(
        self, scorer: Scorer, metrics: Mapping[str, float], arrays: Mapping[str, NDArray[Any]]
    ) -> Mapping[str, Array]:
        """Returns each image's share of the mean errors."""
        return {f"{kind}_{side}": np.where(mask, arrays[kind], 0.0) / mask.sum() for kind, side, mask in _means(scorer)}

    def arrays(self, scorer: Scorer) -> Mapping[str, NDArray[Any]]:
        """Returns each test image's errors, and some images with what was made of them.

        `mse`, `perceptual`: `(N,)` float32. `rows`: row in the data set of each shown image, `(n,)`; `unseen`: whether
        its class is unseen; `originals`, `made`: `(n, 3, H, W)` uint8. `variances`: `(2,)` float64.
        """
        shown = shown_rows(scorer)
        errors = {name: values.astype(np.float32) for name, values in self._errors.items()}
        of_shown = {"rows": scorer.view.images[shown], "unseen": ~scorer.view.seen[shown]}
        return {**errors, **self._kept, **of_shown, "variances": self._variances}


OF_UNSEEN = "mse_mean_image", "variance_made"
"""The metrics that are variances, of images of unseen classes and of what is made of them."""


class _Variance:
    """The mean over pixels of their variance over images, which are added in parts."""

    def __init__(self) -> None:
        self.count, self.square = 0, 0.0
        self.sum: Tensor | float = 0.0

    def add(self, images: Tensor) -> None:
        """Takes some images into account, `(n, 3, H, W)`."""
        images = images.cpu().double() - 0.5  # which keeps more digits of a small variance
        self.count += len(images)
        self.sum = self.sum + images.sum(dim=0)
        self.square += float(images.square().mean(dim=(1, 2, 3)).sum())

    @property
    def value(self) -> float:
        """The variance; 0 where it is too small to be told from rounding."""
        assert isinstance(self.sum, Tensor)
        return max(0.0, self.square / self.count - float((self.sum / self.count).square().mean()))


def _means(scorer: Scorer) -> list[tuple[str, str, NDArray[np.bool_]]]:
    """Returns for each metric the error of which it is the mean, the side, and the images on it, `(N,)`."""
    sides = {"unseen": ~scorer.view.seen, "seen": scorer.view.seen}
    return [(kind, side, mask) for kind in ("mse", "perceptual") for side, mask in sides.items()]


def shown_rows(scorer: Scorer) -> NDArray[np.int64]:
    """Returns which test images are stored, ascending: the first of each class, then the second, and so on."""
    chosen = []
    for mask, count in ((~scorer.view.seen, SHOWN_UNSEEN), (scorer.view.seen, SHOWN_SEEN)):
        rows = np.flatnonzero(mask)
        place = np.zeros(len(rows), dtype=np.int64)  # of an image among those of its class
        for c in np.unique(scorer.view.y[rows]):
            own = scorer.view.y[rows] == c
            place[own] = np.arange(own.sum())
        chosen.append(rows[np.lexsort((rows, place))[:count]])
    return np.sort(np.concatenate(chosen))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Returns the structural similarity of pairs of images with values in [0, 1], `(n, 3, H, W)` each; `(n,)`."""
    offsets = torch.arange(WINDOW, device=a.device) - WINDOW // 2
    line = torch.exp(-offsets.square() / (2 * DEVIATION**2))
    line = line / line.sum()
    kernel = (line[:, None] * line)[None, None].expand(3, 1, WINDOW, WINDOW)
    blur = partial(nn.functional.conv2d, weight=kernel, groups=3)
    mean_a, mean_b = blur(a), blur(b)
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = STABILISERS
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))
    return similarity.mean(dim=(1, 2, 3))
