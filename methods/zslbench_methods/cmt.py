"""CMT and CMT* (Socher et al., NIPS 2013): a small network into the space of class embeddings, and a novelty gate."""

from __future__ import annotations

from dataclasses import fields
from typing import ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from zslbench import Batch, ClassSet, Embedder, GradientParams, NotApplicable, ProblemShape, TrainView, param
from zslbench_methods.novelty import ClassGaussians, LocalOutliers


class CMTParams(GradientParams):
    """Size of the network and how it is trained."""

    epochs: int = param(15, "epochs", search=(2, 20), ge=1)
    batch_size: int = param(64, "images in a batch", ge=1)
    lr: float = param(1e-3, "learning rate", search=(1e-4, 1e-2), log=True, gt=0)
    weight_decay: float = param(1e-4, "L2 penalty (decoupled for adamw)", search=(1e-6, 1e-3), log=True, ge=0)
    hidden: int = param(256, "hidden units", search=[64, 128, 256, 512], ge=1)


class CMTStarParams(CMTParams):
    """Those of CMT, and of the gate.

    `rejected` is not searched unless asked for (`--search rejected=0.01:0.9:log --metric h`): the gate's threshold is
    what calibrated stacking moves, so by AUSUC every value is as good.
    """

    gate: Literal["gaussian", "loop"] = param("gaussian", "a Gaussian for each seen class, or LoOP")
    rejected: float = param(
        0.2, "share of training images that the gate would call novel; AUSUC does not depend on it", gt=0, lt=1
    )


P = TypeVar("P", bound=CMTParams)
GATES: dict[str, type[ClassGaussians] | type[LocalOutliers]] = {"gaussian": ClassGaussians, "loop": LocalOutliers}


class CMT(Embedder[P]):
    """Minimises the sum over images of |s_y - W1 tanh(W2 x)|^2, Eq. (1); the nearest class embedding wins."""

    scale: ClassVar = "l2"
    params_type: ClassVar = CMTParams

    def build(self, shape: ProblemShape) -> None:
        """Creates the two layers."""
        hidden = self.params.hidden
        self.network = nn.Sequential(
            nn.Linear(shape.features, hidden, bias=False), nn.Tanh(), nn.Linear(hidden, shape.attributes, bias=False)
        )

    def embed(self, x: Tensor) -> Tensor:
        """Maps `(B, D)` to `(B, A)`."""
        embedding: Tensor = self.network(x)
        return embedding

    def distances(self, mapped: Tensor, classes: ClassSet) -> Tensor:
        """Returns the squared distance of each mapped image to each class embedding, `(B, C)`."""
        return torch.cdist(mapped, classes.semantics).square()

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns negative squared distances."""
        return -self.distances(self.embed(x), classes)

    def loss(self, batch: Batch) -> Tensor:
        """Returns the mean over the batch."""
        return (batch.s - self.embed(batch.x)).square().sum(dim=1).mean()


class CMTStar(CMT[CMTStarParams]):
    """CMT with a gate: images that are novel, n(x) > tau, go to the nearest unseen class, others to the nearest seen.

    n(x) compares the mapped image with the mapped training images (Section 5; see `novelty`), and tau is its quantile
    over them that rejects the share `rejected`. As scores: within each side by distance, the best class of each side at
    0, and seen classes raised by tau - n(x), so that calibrated stacking moves the gate's threshold. Seen classes are
    told apart by distance too, where the paper trains a softmax classifier.
    """

    tau: Tensor

    def build(self, shape: ProblemShape) -> None:
        """Creates the network, and room for what the gate is fitted to."""
        super().build(shape)
        for name in ("tau", *self._of_gate):
            self.register_buffer(name, None, persistent=False)

    def finish(self, view: TrainView) -> None:
        """Fits the gate to the mapped training images."""
        mapped = torch.cat([self.embed(x) for x, _ in view.parts()])
        fitted: ClassGaussians | LocalOutliers
        if self.params.gate == "gaussian":
            fitted, novelty = ClassGaussians.fit(mapped, view.y, view.semantics)
        else:
            fitted, novelty = LocalOutliers.fit(mapped)
        for name, field in self._of_gate.items():
            setattr(self, name, getattr(fitted, field))
        self.tau = torch.quantile(novelty, 1 - self.params.rejected)

    @property
    def gate(self) -> ClassGaussians | LocalOutliers:
        """The fitted gate."""
        return GATES[self.params.gate](**{field: getattr(self, name) for name, field in self._of_gate.items()})

    @property
    def _of_gate(self) -> dict[str, str]:
        """The buffer of each of the gate's attributes."""
        return {f"gate_{field.name}": field.name for field in fields(GATES[self.params.gate])}

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns the distance beyond the best of the own side, negative, plus tau - n(x) for seen classes.

        Raises:
            NotApplicable: there is no seen class, so that nothing is to be gated.
        """
        if not bool(classes.seen.any()):
            raise NotApplicable("CMT* first decides between seen and unseen classes, so it has no U->U of its own")
        mapped = self.embed(x)
        distances = self.distances(mapped, classes)
        scores = torch.zeros_like(distances)
        for side in (classes.seen, ~classes.seen):
            own = distances.masked_fill(~side, torch.inf)
            scores = torch.where(side, own.amin(dim=1, keepdim=True) - own, scores)
        return scores + classes.seen * (self.tau - self.gate(mapped))[:, None]
