"""Trains a method on a problem as the harness would, and keeps what is needed to compare two trainings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.views import ClassSet, TrainView
from zslbench.data.scaling import Scaler
from zslbench.params import Params
from zslbench.record import Progress
from zslbench.testing.subjects import MethodSubject
from zslbench.training.device import seeded
from zslbench.training.trainer import Fit, Fitted, fit

CPU = torch.device("cpu")
EPOCHS, BATCH = 3, 64
EPOCHS_TO_LEARN, BATCH_TO_LEARN = 30, 32
State = dict[str, Tensor]


@dataclass
class Model:
    """A trained method, what it was trained on, and how that went."""

    embedder: Embedder[Any]
    view: TrainView
    scale: Scaler
    fitted: Fitted

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns the scores of unscaled features `(B, D)`, `(B, C)`."""
        with torch.no_grad():
            return self.embedder.scores(self.scale(x), classes)

    def state(self) -> State:
        """Returns copies of parameters and persistent buffers."""
        return {name: value.detach().clone() for name, value in self.embedder.state_dict().items()}


def shortened(method: type[Embedder[Any]], epochs: int = EPOCHS, batch: int = BATCH) -> Params:
    """Returns a method's defaults, with no more than so many epochs in any stage, of batches no larger than this."""
    defaults = method.params_type()
    most = {name: epochs for name in method.params_type.model_fields if name.endswith("epochs")} | {"batch_size": batch}
    values = {
        name: min(value, most[name])
        for name, value in defaults.model_dump().items()
        if name in most and isinstance(value, int)
    }
    try:
        return method.params_type(**values)
    except ValidationError:  # the method's own rules want more
        return defaults


def train_view(subject: MethodSubject, data: ZSLData) -> tuple[TrainView, Scaler]:
    """Returns what the method may see, scaled as it wants, and the scaling."""
    view = data.train_view(subject.setting)
    scale = Scaler.fit(subject.method.scale, view.x)
    return view.with_features(scale(view.x), None if view.unlabelled is None else scale(view.unlabelled)), scale


def train(
    subject: MethodSubject,
    data: ZSLData,
    params: Params | None = None,
    *,
    seed: int = 0,
    device: torch.device = CPU,
    checkpoint: Path | None = None,
    on_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Model:
    """Builds and fits, with short training unless parameters are given; the seed is set before the model is built."""
    view, scale = train_view(subject, data)
    with seeded(seed, device):
        embedder = subject.method(params or shortened(subject.method))
        embedder.build(view.shape)
        embedder.to(device)
        how = Fit(device, on_epoch=on_epoch, checkpoint=checkpoint, checkpoint_seconds=0)
        fitted = fit(embedder, view, seed, how)
    return Model(embedder, view, scale, fitted)


def same(a: State, b: State) -> bool:
    """Whether two states agree bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-4) -> bool:
    """Whether two tensors agree but for rounding, measured by the largest value."""
    largest = float(b.abs().max()) if b.numel() else 0.0
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=tolerance, atol=tolerance * largest)
