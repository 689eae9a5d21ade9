"""The embedder interface: what a method plugin implements. It never writes a training loop.

A method learns in one of three ways, the simplest first:

- `solve(view)`: a closed form;
- `loss(batch)`: plain gradient training of all parameters;
- `objectives()`, or `stages()` where training has phases: several players, as in adversarial training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from zslbench.api.cards import Input, Scale, SemanticsScale
from zslbench.api.images import Crops
from zslbench.api.params import Params, param
from zslbench.api.views import ClassSet, ProblemShape, TrainView
from zslbench.errors import NotApplicable

P = TypeVar("P", bound=Params)
Loss = Tensor | dict[str, Tensor]


class GradientParams(Params):
    """Hyper-parameters that the shared trainer understands; a method's own parameters extend them."""

    epochs: int = param(30, "epochs; the most there may be where patience stops earlier", ge=1)
    batch_size: int = param(128, "images in a batch", ge=1)
    optimizer: Literal["adam", "amsgrad", "adamw", "sgd"] = param("adam", "optimiser")
    lr: float = param(1e-3, "learning rate", search=(1e-5, 1e-1), log=True, gt=0)
    beta1: float = param(0.9, "first Adam coefficient, or momentum of sgd", ge=0, lt=1)
    beta2: float = param(0.999, "second Adam coefficient", ge=0, lt=1)
    weight_decay: float = param(0.0, "L2 penalty on weights, not on biases (decoupled for adamw)", ge=0)
    clip_norm: float = param(0.0, "largest gradient norm, 0 for no clipping", ge=0)
    clip_each: bool = param(False, "clip each variable by its own norm instead of all together")
    schedule: Literal["constant", "plateau", "cosine"] = param("constant", "learning rate over the epochs")
    plateau_patience: int = param(
        10, "epochs without a lower training loss that are borne before all rates fall to a tenth", ge=1
    )
    patience: int = param(
        0, "epochs without a better validation AUSUC before training stops; 0 trains all epochs", ge=0
    )


class ImageParams(GradientParams):
    """Hyper-parameters that the harness understands where the input is images."""

    image_size: int = param(224, "side of the crops, in pixels", ge=16, le=512)
    crops: Crops = param(10, "crops of each image: 1 the centre, 2 it and its mirror image, 5 or 10 the corners too")
    backbone: str = param("resnet101", "fixed network below E, of `list backbones`: torchvision:NAME, timm:NAME")


@dataclass(frozen=True)
class Part:
    """One process's part of a batch that several processes compute together."""

    size: int
    """Images in the whole batch."""
    first: int
    """Position of this part's first image in the whole batch."""
    weight: float
    """Weight of this part's losses, means over its images, in the losses of the whole batch."""
    generator: torch.Generator
    """In the same state in every process."""


@dataclass(frozen=True)
class Batch:
    """One training batch, on the device.

    Attributes:
        x: `(B, D)` float32.
        y: `(B,)` int64, positions in `classes`.
        classes: the classes that training may see.
        generator: the only source of random numbers for a loss, besides dropout layers and `rand`.
        pixels: the crops behind the features `x`, `(B, 3, H, W)` float32 in [0, 1], if the input is images.
        part: which part of a larger batch this is, if several processes train together.
    """

    x: Tensor
    y: Tensor
    classes: ClassSet
    generator: torch.Generator
    pixels: Tensor | None = None
    part: Part | None = None

    def rand(self, *sizes: int) -> Tensor:
        """Draws numbers from [0, 1) for each image, `(B, *sizes)`, whichever process computes the image."""
        generator, size, first = self.generator, len(self.y), 0
        if self.part is not None:
            generator, size, first = self.part.generator, self.part.size, self.part.first
        drawn = torch.rand(size, *sizes, generator=generator, device=self.y.device)
        return drawn[first : first + len(self.y)]

    @property
    def s(self) -> Tensor:
        """The class embedding of each image, `(B, A)`."""
        return self.classes.semantics[self.y]


@dataclass(frozen=True)
class Objective:
    """One player: it minimises its loss over its own parameters, for some steps in each turn.

    Attributes:
        name: shown in progress and in error messages.
        loss: a function of the batch, without `.item()` or branches on values; a dict of terms is summed.
        parameters: what its optimiser updates; no gradient reaches anything else.
        steps: updates in each turn, each on its own batch.
        lr: its learning rate, the method's `lr` if None.
        decay: whether the method's L2 penalty applies to its weights.
    """

    name: str
    loss: Callable[[Batch], Loss]
    parameters: Iterable[nn.Parameter]
    steps: int = 1
    lr: float | None = None
    decay: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", list(self.parameters))  # an iterator would be used up by one stage


@dataclass(frozen=True)
class Stage:
    """A phase of training. Its objectives take turns; an epoch has as many turns as the data has batches.

    It lasts for `epochs`. For the main stage, validation classes may choose another number.

    `plateau` names the loss, `OBJECTIVE` or `OBJECTIVE/TERM`, by which `schedule=plateau` lowers the learning rates of
    all players at once. Name a loss whose level means something, such as a classification or reconstruction error; the
    level of an adversarial loss does not. A stage of one objective follows the sum of its terms by default.

    A finishing stage completes a trained model, as the softmax of a generative method does. Finishing stages come last.
    The stage before them is the main one: the number of epochs, early stopping and scores after each epoch refer to
    it. The model is always finished before it is scored. Keep finishing stages short: a search on validation classes
    runs them after each epoch of the main stage.
    """

    name: str
    objectives: list[Objective]
    epochs: int
    plateau: str = ""
    finishing: bool = False


class Embedder(nn.Module, Generic[P]):
    """Visual-to-semantic model: what a method trains. Subclass as `class Mine(Embedder[MyParams])`.

    Class attributes:
        version: raise it when the method's meaning changes, so that stored runs are not mistaken for new ones.
        scale: how visual features are scaled by default.
        scales: values of `scale` that tuning may choose, its default among them; empty to leave it alone.
        semantics_scale: how class embeddings are scaled by default.
        semantics_scales: values of `semantics_scale` that tuning may choose, likewise.
        input: what it receives; with `images`, its parameters extend `ImageParams`, and batches have `pixels`.
        parts: names of its networks that a user may give a file of weights for; the backbone always is one.
        deterministic: whether no seed changes the result, so that one run stands for all seeds. It is not inherited:
            a subclass may draw random numbers where its base does not, so it declares this itself.

    Attributes:
        weights: files of weights by part, given by the user; set before `build`.
        pretrained: whether parts without such a file start from pretrained weights, if these exist.
    """

    version: ClassVar[int] = 1
    scale: ClassVar[Scale] = "none"
    scales: ClassVar[tuple[Scale, ...]] = ()
    semantics_scale: ClassVar[SemanticsScale] = "none"
    semantics_scales: ClassVar[tuple[SemanticsScale, ...]] = ()
    input: ClassVar[Input] = "features"
    parts: ClassVar[tuple[str, ...]] = ()
    deterministic: ClassVar[bool] = False
    params_type: ClassVar[type[Params]] = Params

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.deterministic = bool(cls.__dict__.get("deterministic", False))
        for base in cls.__dict__.get("__orig_bases__", ()):  # its own: inherited ones have had their say
            for argument in get_args(base):
                if isinstance(argument, type) and issubclass(argument, Params):
                    cls.params_type = argument

    def __init__(self, params: P) -> None:
        super().__init__()
        self.params = params
        self.weights: Mapping[str, Path] = {}
        self.pretrained = True

    def build(self, shape: ProblemShape) -> None:
        """Creates parameters and buffers for a problem of this shape; called once, with the run's seed set."""

    def embed(self, x: Tensor) -> Tensor:
        """Maps features `(B, D)` into the space of class embeddings `(B, A)`."""
        raise NotImplementedError(f"{type(self).__name__} defines neither embed() nor scores()")

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns the compatibility of each image with each class, `(B, C)`.

        By default `s . E(x)`, Eq. (1) of Chen et al., CVPR 2018. A class's score must not depend on the order of the
        classes. Raises `NotApplicable` if the method cannot choose among such classes.
        """
        return self.embed(x) @ classes.semantics.T

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        """Returns images made from embeddings of images, `(B, 3, H, W)` in [0, 1].

        Args:
            x: features of the images' centre crops, `(B, D)`.
            pixels: the crops, `(B, 3, H, W)` in [0, 1]; only their embedding may be used.

        Raises:
            NotApplicable: the method makes no images.
        """
        raise NotApplicable("it makes no images")

    def loss(self, batch: Batch) -> Loss:
        """Returns the loss of a batch, for plain gradient training; a dict of terms is summed."""
        raise NotImplementedError(f"{type(self).__name__} defines none of solve(), loss(), objectives(), stages()")

    def objectives(self) -> list[Objective]:
        """Returns the players of training; by default one, `loss` over all parameters."""
        return [Objective("loss", self.loss, self.parameters())]

    def stages(self) -> list[Stage]:
        """Returns the phases of training; by default one of `params.epochs` epochs, and none for a closed form."""
        solves = _defines(self, "solve") or _defines(self, "factorize")
        if solves and not _defines(self, "loss") and not _defines(self, "objectives"):
            return []
        if not isinstance(self.params, GradientParams):
            reason = f"{type(self).__name__} defines no solve(), so it trains by gradients"
            raise TypeError(f"{reason}, and its parameters must extend GradientParams")
        return [Stage("train", self.objectives(), self.params.epochs)]

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        """Called after each epoch of a stage, counted from 1, for changes between epochs such as pruning.

        Change only parameters or persistent buffers, and keep their shapes, so that checkpoints hold the changes.
        """

    def finish(self, view: TrainView) -> None:
        """Called after training and before any scores in between, for what needs a trained model, such as a gate.

        It may be called more than once, and must use no randomness. A kept model is used without training images, so
        store results in buffers, of any shape. `register_buffer(name, None, persistent=False)` in `build` leaves them
        out of checkpoints.
        """

    def solve(self, view: TrainView) -> None:
        """Computes parameters in closed form; called before the stages, if there are any."""
        if _defines(self, "factorize"):
            self.assemble(self.factorize(view))

    def factorize(self, view: TrainView) -> Any:
        """Returns the part of a closed form that no hyper-parameter changes, such as eigendecompositions.

        If a method splits `solve` into `factorize` and `assemble`, tuning over a whole grid costs little more than one
        fit.
        """
        raise NotImplementedError

    def assemble(self, factors: Any) -> None:
        """Computes parameters from what `factorize` returned."""
        raise NotImplementedError


def _defines(embedder: Embedder[Any], method: str) -> bool:
    return getattr(type(embedder), method) is not getattr(Embedder, method)
