"""Methods that each break one promise, and the check that must catch them."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ConfigDict
from testing.sound import Linear, LinearParams, Painter, Ridge
from torch import Tensor, nn

from zslbench import Batch, ClassSet, MethodCard, Preset, ProblemShape, TrainView, Variant, ZSLData, param
from zslbench.testing.subjects import MethodSubject

CARD = MethodCard(title="Sample", paper="nobody: Nothing. 2026")
Sample = Callable[[], MethodSubject]
SAMPLES: list[tuple[str, Sample]] = []
DEFAULT = {"lr": LinearParams().lr}


def subject(method: Any, card: MethodCard = CARD) -> MethodSubject:
    return MethodSubject(method.__name__, card, given=method)


def breaks(check: str, **card: Any) -> Callable[[Any], Any]:
    """Adds a class to the samples."""

    def add(method: Any) -> Any:
        SAMPLES.append((check, lambda: subject(method, replace(CARD, **card))))
        return method

    return add


SAMPLES += [
    ("importable", lambda: MethodSubject("Instance", CARD, given=Linear(LinearParams()))),
    ("citation", lambda: subject(Linear, replace(CARD, paper=""))),
    ("presets", lambda: subject(Linear, replace(CARD, presets={"p": Preset("nobody", {"no_such": 1})}))),
    ("presets", lambda: subject(Linear, replace(CARD, presets={"p": Preset("", {"lr": 0.1})}))),
    ("variants", lambda: subject(Linear, replace(CARD, ablations={"a": Variant("A", {"no_such": 1}, "Why?")}))),
    ("variants", lambda: subject(Linear, replace(CARD, controls={"c": Variant("C", {"epochs": 0}, "Why?")}))),
    ("variants", lambda: subject(Linear, replace(CARD, controls={"c": Variant("C", DEFAULT, "Why?")}))),
    ("presets_learn", lambda: subject(Linear, replace(CARD, presets={"p": Preset("nobody", {"lr": 1e-12})}))),
    ("presets_learn", lambda: subject(Linear, replace(CARD, presets={"p": Preset("nobody", {"lr": 1e30})}))),
]


@breaks("presets_learn", presets={"p": Preset("nobody", {"lr": 0.001})})
class Ruined(Linear):
    """It starts from a solution in closed form, and its training with the preset turns that into a worse one."""

    def solve(self, view: TrainView) -> None:
        x = torch.cat([view.x, torch.ones(len(view.x), 1)], dim=1).double()
        solved = torch.linalg.lstsq(x, view.semantics[view.y].double()).solution.float() / 2
        self.map.weight.data, self.map.bias.data = solved[:-1].T.contiguous(), solved[-1]

    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) if self.params.lr != 0.001 else self.map(batch.x)[:, :3].square().sum(dim=1).mean()


@breaks("declarations")
class StrangeScale(Linear):
    scale: ClassVar = "standard"


@breaks("declarations")
class StrangeScales(Linear):
    scales: ClassVar = ("zscore", "standard")


@breaks("declarations")
class ScaleLeftOut(Linear):
    """Tuning would never try what it does by default."""

    scales: ClassVar = ("none", "l2")


class ScaleParams(LinearParams):
    scale: float = param(1.0, "nobody could tell it from --scale", gt=0)


@breaks("declarations")
class CalledScale(Linear):
    params_type: ClassVar = ScaleParams


@breaks("declarations")
class VersionZero(Linear):
    version = 0


@breaks("declarations")
class Undeclared(Painter):
    """Its card says features."""


@breaks("declarations", input="images")
class Unprepared(Linear):
    """Its parameters know nothing of images."""

    input: ClassVar = "images"


class UndescribedParams(LinearParams):
    extra: int = 3


@breaks("parameters")
class Undescribed(Linear):
    params_type = UndescribedParams


class LooseParams(LinearParams):
    model_config = ConfigDict(frozen=False)


@breaks("parameters_are_frozen")
class Loose(Linear):
    params_type = LooseParams


class InvalidEndParams(LinearParams):
    margin: float = param(0.5, "margin", search=(0.0, 1.0), gt=0)


@breaks("search_space")
class InvalidEnd(Linear):
    params_type = InvalidEndParams


class BackwardsParams(LinearParams):
    margin: float = param(0.5, "margin", search=(1.0, 0.0))


@breaks("search_space")
class BackwardsSpace(Linear):
    params_type = BackwardsParams


class FromZeroParams(LinearParams):
    margin: float = param(0.5, "margin", search=(0.0, 1.0), log=True)


@breaks("search_space")
class FromZero(Linear):
    params_type = FromZeroParams


class OutsideParams(LinearParams):
    margin: float = param(5.0, "margin", search=(0.0, 1.0))


@breaks("defaults_are_searched")
class Outside(Linear):
    params_type = OutsideParams


@breaks("trains")
class NoNumber(Linear):
    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) * math.nan


@breaks("scores")
class Transposed(Linear):
    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        return super().scores(x, classes).T


@breaks("scores")
class Ranks(Linear):
    """Whole numbers instead of scores."""

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        return super().scores(x, classes).argsort(dim=1).argsort(dim=1)


@breaks("scoring_changes_nothing")
class Counts(Linear):
    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.register_buffer("scored", torch.zeros(()))

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        self.scored += len(x)
        return super().scores(x, classes)


@breaks("class_order")
class PrefersLater(Linear):
    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        return super().scores(x, classes) + 0.002 * torch.arange(len(classes))


@breaks("chunking")
class Centred(Linear):
    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        scores = super().scores(x, classes)
        return scores - scores.mean(dim=0)


@breaks("other_sizes")
class FixedSizes(Linear):
    def build(self, shape: ProblemShape) -> None:
        self.map = nn.Linear(24, 12)


@breaks("devices_agree")
class StaysAtHome(Linear):
    """Its factor stays on the CPU, being no buffer."""

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.factor = torch.ones(shape.attributes)

    def embed(self, x: Tensor) -> Tensor:
        return self.map(x) * self.factor


@breaks("beats_chance")
class UpsideDown(Linear):
    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        return -super().scores(x, classes)


@breaks("signed_embeddings")
class Roots(Linear):
    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        return self.embed(x) @ classes.semantics.sqrt().T


@breaks("reconstructs", input="images")
class Unclamped(Painter):
    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        return super().reconstruct(x, pixels) * 255


@breaks("reconstructs", input="images")
class Unformed(Painter):
    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        return super().reconstruct(x, pixels).flatten(1)


@breaks("reconstructs", input="images")
class Exposed(Painter):
    """How bright an image becomes depends on all of them."""

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        made = super().reconstruct(x, pixels)
        return (made - made.mean() + 0.5).clamp(0, 1)


@breaks("reconstructs", input="images")
class PaintsOver(Painter):
    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        return pixels.copy_(super().reconstruct(x, pixels))


@breaks("reconstruction_improves", input="images")
class Negative(Painter):
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return super().loss(replace(batch, pixels=1 - batch.pixels))


@breaks("loss_falls")
class Climbs(Linear):
    """Its gradient is right, its value is not."""

    def loss(self, batch: Batch) -> Tensor:
        loss = super().loss(batch)
        return loss - 2 * loss.detach()


@breaks("losses_are_pure")
class OwnNoise(Linear):
    def loss(self, batch: Batch) -> Tensor:
        return super().loss(replace(batch, x=batch.x + 0.01 * torch.randn(batch.x.shape)))


@breaks("losses_are_pure")
class Reshapes(Linear):
    def loss(self, batch: Batch) -> Tensor:
        batch.x.mul_(0.999)
        return super().loss(batch)


@breaks("losses_are_pure", input="images")
class Bleaches(Painter):
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        batch.pixels.mul_(0.999)
        return super().loss(batch)


@breaks("same_seed_same_scores")
class Numbered(Linear):
    """Each model of a process starts elsewhere."""

    number: ClassVar = itertools.count(1)

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.map.weight.data *= 1 + 1 / next(self.number)


@breaks("another_seed_draws_others")
class SeedsItself(Linear):
    """It starts from the same weights whatever the seed; only the order of the batches is another."""

    def build(self, shape: ProblemShape) -> None:
        torch.manual_seed(0)
        super().build(shape)


@breaks("another_seed_draws_others")
class SeedsItsProjection(Ridge):
    """A closed form with a random part, from a state that is put back."""

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.register_buffer("signs", torch.randn(shape.features).sign())

    def embed(self, x: Tensor) -> Tensor:
        return (x * self.signs) @ (self.W * self.signs[:, None])


@breaks("another_seed_draws_others")
class SeedsItsLoss(Linear):
    """Its noise is a function of the batch, so the loss is pure, but no seed moves it."""

    def loss(self, batch: Batch) -> Tensor:
        batch.generator.manual_seed(0)
        noise = torch.randn(batch.x.shape, generator=batch.generator)
        return super().loss(replace(batch, x=batch.x + 0.01 * noise))


@breaks("another_seed_draws_others")
class SeedsItsStage(Linear):
    """Built from its seed, it draws otherwise once training has begun."""

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        generator = torch.Generator().manual_seed(epoch)
        self.map.weight.data += 0.001 * torch.randn(self.map.weight.shape, generator=generator)


@breaks("another_seed_draws_others")
class SeedsItsArray(Linear):
    """A generator of NumPy of its own leaves the global state alone."""

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        noise = np.random.default_rng(0).normal(size=self.map.weight.shape)
        self.map.weight.data += 0.01 * torch.from_numpy(noise).float()


@breaks("another_seed_draws_others")
class SeedsItsState(Linear):
    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        noise = np.random.RandomState(7).normal(size=self.map.weight.shape)
        self.map.weight.data += 0.01 * torch.from_numpy(noise).float()


@breaks("another_seed_draws_others")
class Deaf(Linear):
    """It starts from nothing and learns from no batch: trained, but without chance."""

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        self.map.weight.data.zero_()
        self.map.bias.data.zero_()

    def solve(self, view: TrainView) -> None:
        self.view = view

    def loss(self, batch: Batch) -> Tensor:
        s = self.view.semantics[self.view.y]
        return (s - self.map(self.view.x)).square().sum(dim=1).mean()


@breaks("deterministic")
class Tosses(Ridge):
    """A closed form behind a random projection, which decides nothing but the last bits."""

    deterministic = True

    def build(self, shape: ProblemShape) -> None:
        super().build(shape)
        q, _ = torch.linalg.qr(torch.randn(shape.features, shape.features))
        self.register_buffer("turn", q)

    def embed(self, x: Tensor) -> Tensor:
        return x @ self.turn @ (self.turn.T @ self.W)


@breaks("deterministic")
class SaysSo(Linear):
    """Trained by gradients on batches in random order."""

    deterministic = True


@breaks("global_state_untouched")
class SeedsNumPy(Linear):
    def build(self, shape: ProblemShape) -> None:
        np.random.seed(0)
        super().build(shape)


@breaks("view_untouched")
class Erases(Linear):
    def finish(self, view: TrainView) -> None:
        view.y.zero_()


@breaks("view_untouched", input="images")
class TurnsAround(Painter):
    def finish(self, view: TrainView) -> None:
        view.pixels.rows[:] = view.pixels.rows[::-1].copy()


def stolen() -> ZSLData | None:
    """Finds the data set in the frames of whoever called, as a method that cheats could."""
    frame = sys._getframe()
    while frame is not None:
        for value in frame.f_locals.values():
            if isinstance(value, ZSLData):
                return value
        frame = frame.f_back
    return None


@breaks("test_images_have_no_influence")
class StealsImages(Linear):
    def solve(self, view: TrainView) -> None:
        if data := stolen():
            self.map.bias.data += float(data.features[data.test_unseen].mean()) * 1e-6


@breaks("test_images_have_no_influence", input="images")
class StealsPixels(Painter):
    """The file that it is handed holds all images."""

    def solve(self, view: TrainView) -> None:
        neighbours = replace(view.pixels, rows=view.pixels.rows + 1)
        self.map.bias.data += float(neighbours.centres(np.arange(len(neighbours))).float().mean()) * 1e-6


@breaks("unseen_embeddings_have_no_influence")
class StealsEmbeddings(Linear):
    def solve(self, view: TrainView) -> None:
        if data := stolen():
            self.map.bias.data += torch.from_numpy(data.semantics[data.split.unseen].mean(axis=0)) * 1e-3


@breaks("unseen_embeddings_have_no_influence")
class RemembersEmbeddings(Linear):
    """The stolen embeddings are kept out of the weights."""

    spoils: Any = 1.0

    def solve(self, view: TrainView) -> None:
        if data := stolen():
            self.spoils = 1 + float(data.semantics[data.split.unseen].mean())

    def embed(self, x: Tensor) -> Tensor:
        return self.map(x) * (self.spoils if not self.training else 1.0)

    def finish(self, view: TrainView) -> None:
        self.solve(view)


@breaks("finish_repeats")
class DrawsAtTheEnd(Linear):
    def finish(self, view: TrainView) -> None:
        torch.randperm(len(view.x))


@breaks("finish_repeats")
class GrowsAtTheEnd(Linear):
    def finish(self, view: TrainView) -> None:
        self.map.weight.data *= 1.01


@breaks("watching_changes_nothing")
class Unbiased(Linear):
    """What it does at the end, it does once too often: training goes on from there."""

    def finish(self, view: TrainView) -> None:
        self.map.bias.data.zero_()


@breaks("state_keeps_its_shape")
class AddsBuffers(Linear):
    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        self.register_buffer(f"norm{epoch}", self.map.weight.detach().norm())


@breaks("state_round_trip")
class ForgetsItsScale(Linear):
    factor = 1.0

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        self.factor = float(self.map.weight.norm())

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        return self.factor * super().scores(x, classes)


@breaks("kept_model")
class GateBesideItsBuffers(Linear):
    """What it needs to score is found by finish(), from training images that a kept model does not have."""

    def finish(self, view: TrainView) -> None:
        self.middle = self.map(view.x).mean(dim=0)

    def embed(self, x: Tensor) -> Tensor:
        return self.map(x) - 0.1 * self.middle


@breaks("state_round_trip", input="images")
class ForgetsItsPalette(Painter):
    light = 1.0

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        self.light = 1 - 1e-3 * epoch

    def reconstruct(self, x: Tensor, pixels: Tensor) -> Tensor:
        return self.light * super().reconstruct(x, pixels)


@breaks("resume")
class ForgetsItsEpoch(Linear):
    factor = 1.0

    def epoch_ended(self, view: TrainView, epoch: int) -> None:
        self.factor = 0.9**epoch

    def loss(self, batch: Batch) -> Tensor:
        return self.factor * super().loss(batch)


@breaks("factors_are_free_of_parameters")
class TunedFactors(Ridge):
    def factorize(self, view: TrainView) -> tuple[Tensor, ...]:
        e, u, middle = super().factorize(view)
        return e, u, middle * self.params.lam


@breaks("factors_are_free_of_parameters")
class SpoilsFactors(Ridge):
    def assemble(self, factors: tuple[Tensor, ...]) -> None:
        factors[0].add_(self.params.lam)
        self.W.copy_(factors[1] @ (factors[2] / factors[0][:, None]))


@breaks("assembled_equals_solved")
class SolvesOtherwise(Ridge):
    def solve(self, view: TrainView) -> None:
        super().solve(view)
        self.W.mul_(2)
