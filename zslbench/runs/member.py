"""Members: registered methods that another method trains as parts of itself, such as the experts below a gate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from zslbench.api.cards import SCALINGS, MethodCard, Scaling, Setting
from zslbench.api.embedder import Embedder
from zslbench.api.params import Params, read_pairs
from zslbench.api.views import ClassSet, ProblemShape, TrainView
from zslbench.data.scaling import Scaler, SemanticsScaler
from zslbench.discovery.plugins import registry
from zslbench.discovery.registry import Entry
from zslbench.discovery.single_file import SUFFIX, method_name
from zslbench.errors import PluginError, RunError, UsageError
from zslbench.runs.code import code_of
from zslbench.runs.fit import fit_new
from zslbench.runs.problem import scaled
from zslbench.runs.scaling import misdeclared, own_scaling
from zslbench.training.trainer import fit_within

STRENGTH: tuple[Setting, ...] = get_args(Setting)
"""Settings, from the one that uses least."""


@dataclass(frozen=True)
class Named:
    """A method as a parameter of another one names it: `NAME`, or `NAME:KEY=VALUE:KEY=VALUE`.

    Attributes:
        text: the same with what differs from the defaults alone, so that one meaning has one text.
        entry: the method's place in the registry.
        scaling: how the data are scaled for it: as its class declares, unless `scale` or `semantics_scale` was given.
    """

    text: str
    entry: Entry
    method: type[Embedder[Any]]
    params: Params
    scaling: Scaling

    @classmethod
    def of(cls, text: str) -> Named:
        """Reads a text.

        Raises:
            UsageError: there is no such method or parameter, or it cannot be part of another method.
        """
        head, *pairs = text.split(":")
        if "@" in head:
            raise UsageError(
                f"{text}: a member takes no preset; give its values instead, as {head.split('@')[0]}:KEY=VALUE"
            )
        entry = registry().entry("method", method_name(head))
        method = cast(type[Embedder[Any]], registry().resolve("method", entry.name, Embedder))
        owner, given = f"member {entry.name!r}", read_pairs(pairs)
        if wrong := misdeclared(method):
            raise PluginError(f"method {entry.name!r}: {wrong}")
        chosen = {name: given.pop(name) for name in SCALINGS if name in given}
        for name, value in chosen.items():
            if value not in SCALINGS[name]:
                raise UsageError(f"{owner}: {name}={value}: choose {', '.join(SCALINGS[name])}")
        scaling = own_scaling(method)._replace(**chosen)  # type: ignore[arg-type]
        params = method.params_type.parse(given, owner)
        if reason := _refusal(method, params, scaling):
            raise UsageError(f"{owner}: {reason}")
        other = {name: value for name, value in scaling._asdict().items() if value != getattr(method, name)}
        values = ":".join(f"{name}={value}" for name, value in sorted({**params.changed(), **other}.items()))
        name = head if head.endswith(SUFFIX) else entry.name
        return cls(f"{name}:{values}" if values else name, entry, method, params, scaling)

    @property
    def card(self) -> MethodCard:
        """The method's card."""
        return cast(MethodCard, self.entry.card)

    @property
    def state(self) -> str:
        """Its version, and for a single file the hash of its content: what another meaning would change."""
        return f"{self.method.version} {self.entry.code}".rstrip()


def _refusal(method: type[Embedder[Any]], params: Params, scaling: Scaling) -> str:
    if method.input != "features":
        return f"it works on {method.input}, and members work on features; name another method"
    if scaling.semantics_scale == "whiten":
        return "class embeddings of a member cannot be whitened; give semantics_scale=none or l2"
    if getattr(params, "patience", 0):
        return "no validation classes could stop it early; leave out patience, and give epochs"
    return ""


def members_of(params: Params) -> dict[str, Named]:
    """Returns the methods that parameters name, and those that their own parameters name, by what they are called."""
    found: dict[str, Named] = {}
    for text in params.members().values():
        own = Named.of(text)
        found |= {own.text: own, **members_of(own.params)}
    return found


def settled(params: Params) -> Params:
    """Returns parameters whose members are named in one way alone."""
    return params.model_copy(update={name: Named.of(text).text for name, text in params.members().items()})


def states(members: Iterable[Named]) -> dict[str, str]:
    """Returns version and code of each method among members, by its name, as a run's identity has them."""
    return {member.entry.name: member.state for member in members}


def strongest(settings: Iterable[Setting]) -> Setting:
    """Returns the setting that uses most."""
    return max(settings, key=STRENGTH.index)


def used(card: MethodCard, params: Params) -> dict[str, Any]:
    """Returns what a run's identity says of the members of a method with this card: its setting, and their states."""
    members = members_of(params).values()
    setting = strongest([card.setting, *(member.card.setting for member in members)])
    return {"setting": setting, "members": states(members)}


def whole_code(entry: Entry, method: type[Embedder[Any]], params: Params) -> dict[str, str]:
    """Returns version and source of the harness, of a method's plugin, and of those of its members."""
    members = ((member.entry, member.method) for member in members_of(params).values())
    return dict(pair for own in [(entry, method), *members] for pair in code_of(*own).items())


class Member(nn.Module):
    """A registered method as part of another method, which trains it in `solve` and asks it in `scores`.

    The shared trainer trains it, on data scaled as it declares, and it is not trained any further: no gradient reaches
    it. An inductive member sees no unseen class, whatever its owner may see. Name it by a parameter that is declared
    with `param(..., method=True)`, so that its version becomes part of a run's identity and its needs those of the
    owner.

    Create it in `__init__` or `build` of the owner, call `build` there, `fit` in `solve`, and `finish` in `finish`.
    One that is only needed while the owner solves, on part of the images, needs no `build`.

    Attributes:
        named: the method, its hyper-parameters and its scaling.
        embedder: its model, once it is built or fitted.
    """

    shift: Tensor
    divisor: Tensor
    mean: Tensor
    embedder: Embedder[Any]

    def __init__(self, text: str) -> None:
        """Reads `NAME`, or `NAME:KEY=VALUE:KEY=VALUE` with hyper-parameters or scaling.

        Raises:
            UsageError: there is no such method or parameter, or it cannot be part of another one.
        """
        super().__init__()
        self.named = Named.of(text)

    def build(self, shape: ProblemShape) -> None:
        """Creates the model that `fit` will train, for a problem of the owner's shape."""
        own = shape.seen_only if self.named.card.setting == "inductive" else shape
        self.embedder = self.named.method(self.named.params)
        self.embedder.build(own)
        self._frozen(self.embedder)
        self._note(
            Scaler(self.named.scaling.scale, torch.zeros(shape.features), torch.ones(shape.features)),
            SemanticsScaler("none", torch.zeros(shape.attributes, dtype=torch.float64), torch.empty(0)),
            torch.device("cpu"),
        )

    def fit(self, view: TrainView) -> None:
        """Trains it anew on its owner's view; its seed is drawn from torch's global random numbers.

        Raises:
            RunError: it needs more than the view has, or cannot be trained.
        """
        view, scaling = self._own(view), self.named.scaling
        seed = int(torch.randint(2**31 - 1, ()))
        scaler = Scaler.fit(scaling.scale, view.x)
        semantics = SemanticsScaler.fit(scaling.semantics_scale, view.classes.seen_only.semantics)
        self._note(scaler, semantics, view.device)
        how = fit_within(view.device, self.named.entry.name)
        embedder, fitted = fit_new(
            lambda: self.named.method(self.named.params), scaled(view, scaler, semantics), seed, how
        )
        fitted.keep()
        self.embedder = self._frozen(embedder)

    def finish(self, view: TrainView) -> None:
        """Finishes the trained model, on the view it was fitted to."""
        self.embedder.finish(scaled(self._own(view), self._scaler, self._semantics))

    def scores(self, x: Tensor, classes: ClassSet) -> Tensor:
        """Returns its scores of images and classes, neither of which are scaled: `(B, D)` to `(B, C)`.

        Raises:
            NotApplicable: it cannot choose among such classes.
        """
        return self.embedder.scores(self._scaler(x), self._semantics(classes))

    def train(self, mode: bool = True) -> Member:
        """Leaves the member's model as it is tested, whether or not its owner trains."""
        super().train(mode)
        if hasattr(self, "embedder"):
            self.embedder.eval()
        return self

    def _own(self, view: TrainView) -> TrainView:
        """Returns what it may see of its owner's view."""
        wanted = self.named.card.setting
        if wanted == "inductive":
            return view.inductive
        if STRENGTH.index(wanted) > STRENGTH.index(view.setting):
            raise RunError(
                f"member {self.named.entry.name!r} is {wanted}, and it was given an {view.setting} view; declare the "
                "parameter that names it with method=True, or take another setting on the card"
            )
        return view

    def _note(self, scaler: Scaler, semantics: SemanticsScaler, device: torch.device) -> None:
        for name, value in {"shift": scaler.shift, "divisor": scaler.divisor, "mean": semantics.mean}.items():
            self.register_buffer(name, value.to(device))

    @property
    def _scaler(self) -> Scaler:
        return Scaler(self.named.scaling.scale, self.shift, self.divisor)

    @property
    def _semantics(self) -> SemanticsScaler:
        return SemanticsScaler(self.named.scaling.semantics_scale, self.mean, torch.empty(0))

    @staticmethod
    def _frozen(embedder: Embedder[Any]) -> Embedder[Any]:
        return embedder.requires_grad_(False).eval()
