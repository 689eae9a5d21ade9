"""What generative methods have in common: a softmax on real seen and synthetic unseen features."""

from __future__ import annotations

from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from zslbench import Batch, ClassSet, Embedder, GradientParams, Objective, ProblemShape, Stage, TrainView, param
from zslbench_generative.networks import Standard


class GenerativeParams(GradientParams):
    """What networks are given, and how the softmax is trained."""

    standardise: bool = param(
        True, "centre features and class embeddings and give them unit mean variance, where the papers leave both alone"
    )
    batch_size: int = param(64, "images in a batch", ge=1)
    synthetic: float = param(
        20.0,
        "synthetic features of an unseen class for each real one of a mean seen class",
        search=(2.0, 100.0),
        log=True,
        gt=0,
    )
    softmax_epochs: int = param(2, "epochs of the softmax, in passes over the training images", ge=1)
    softmax_lr: float = param(1e-3, "learning rate of the softmax", gt=0)
    softmax_decay: float = param(0.0, "weight of the softmax's L2 penalty", search=[0.0, 0.001, 0.01], ge=0)


P = TypeVar("P", bound=GenerativeParams)


class Generative(Embedder[P]):
    """Trains a softmax over all classes once the generator is trained; subclasses say how features are synthesised.

    The papers synthesise a fixed set, so many features a class, and train on it together with the real features. Here
    each batch of real features is joined by as many new synthetic ones, of unseen classes drawn alike, and their loss
    is weighed by the share that they would have in the papers' set: an infinite set in the same proportion.
    """

    scale: ClassVar = "l2"
    softmax: nn.Linear

    def build(self, shape: ProblemShape) -> None:
        """Creates what standardises features and class embeddings, and notes the class of each row of the softmax."""
        self.rows = {name: row for row, name in enumerate(shape.names)}
        self.visual, self.semantic = Standard(shape.features), Standard(shape.attributes)

    def solve(self, view: TrainView) -> None:
        """Learns means and variances from training images and seen classes, if it is to standardise them."""
        if self.params.standardise:
            self.visual.fit(view.x)
            self.semantic.fit(view.semantics[view.classes.seen])

    def inputs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns what networks are given of each image: features `(B, D)`, class embedding `(B, A)`."""
        return self.visual(batch.x), self.semantic(batch.s)

    def synthesize(self, semantics: Tensor, generator: torch.Generator) -> Tensor:
        """Draws an input of the softmax for each row of class embeddings `(M, A)`, `(M, R)`."""
        raise NotImplementedError

    def represent(self, x: Tensor) -> Tensor:
        """Returns the input of the softmax for real features `(B, D)`, `(B, R)`; by default the features."""
        return x

    def training_inputs(self, batch: Batch) -> Tensor:
        """Returns the input of the softmax for a batch it is trained on, `(B, R)`; by default as in testing."""
        return self.represent(self.visual(batch.x))

    def balance(self, batch: Batch) -> Tensor:
        """Returns the weight of each real image, `(B,)`, with mean 1 over the training images; by default alike."""
        return torch.ones_like(batch.x[:, 0])

    def finishing(self) -> Stage:
        """Returns the stage that trains the softmax, and nothing else."""
        p = self.params
        objective = Objective("softmax", self.softmax_loss, self.softmax.parameters(), lr=p.softmax_lr)
        return Stage("softmax", [objective], p.softmax_epochs, finishing=True)

    def softmax_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the cross-entropies of real and synthetic inputs, whose weights are 1 together, and the L2 penalty.

        Synthetic features are easily told from real ones; the penalty keeps a longer training from ending in that.
        """
        classes = batch.classes
        unseen = (~classes.seen).float()
        with torch.no_grad():
            y = torch.multinomial(unseen, len(batch.x), replacement=True, generator=batch.generator)
            synthetic = self.synthesize(self.semantic(classes.semantics[y]), batch.generator)
            real, weight = self.training_inputs(batch), self.balance(batch)
        ratio = self.params.synthetic * unseen.sum() / classes.seen.sum()
        terms = {
            "real": (weight * cross_entropy(self.softmax(real), batch.y, reduction="none")).mean() / (1 + ratio),
            "synthetic": cross_entropy(self.softmax(synthetic), y) * ratio / (1 + ratio),
        }
        if self.params.softmax_decay > 0:
            terms["decay"] = self.params.softmax_decay / 2 * self.softmax.weight.square().sum()
        return terms

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns logits, which order classes as the softmax over just these classes does, `(B, C)`."""
        logits: Tensor = self.softmax(self.represent(self.visual(x)))
        return logits[:, [self.rows[name] for name in classes.names]]
