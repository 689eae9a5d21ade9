"""Entrants, each a method on a data set with everything resolved and checked, and their runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from zslbench.api.cards import SCALINGS, MethodCard, Pretraining, Scaling, Setting
from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Embedder, GradientParams, ImageParams
from zslbench.api.params import Params
from zslbench.data.semantics import OWN
from zslbench.discovery.registry import Entry
from zslbench.errors import NotApplicable, RunError
from zslbench.preparation.backbones import pretraining_of_backbone
from zslbench.records.record import RunRecord
from zslbench.records.spec import RunSpec
from zslbench.runs.member import members_of, settled, used, whole_code
from zslbench.runs.request import Asked, Request
from zslbench.runs.shots import Shots, shots_words
from zslbench.runs.weights import BACKBONE, digests


@dataclass(frozen=True, eq=False)
class Entrant:
    """A method on a data set.

    Attributes:
        source: the data set as asked for, with its features if they were named.
        entry: the method's place in the registry.
        preset: the name of the preset in use, or an empty string.
        given: the parameters given by hand.
        fixed: hyper-parameters and scaling from the preset and by hand, which no search varies; JSON values.
        scaling: how its data are scaled unless a search chooses.
        weights: hash of each file of weights, by part.
        semantics: the class embeddings as asked for: `att`, `original`, or a file.
        shots: training images of each seen class, or their share below 1; None for all.
        named: whether other processes can find method and data by their names.
        distinction: what tells it from others of its method on its data set; empty if there are none.
    """

    asked: Asked
    request: Request
    source: str
    data: ZSLData
    entry: Entry
    method: type[Embedder[Any]]
    preset: str
    given: Mapping[str, Any]
    fixed: Mapping[str, Any]
    params: Params
    scaling: Scaling
    weights: Mapping[str, str]
    semantics: str
    shots: Shots
    named: bool
    distinction: str = ""

    @property
    def owner(self) -> str:
        """The method, for error messages."""
        return f"method {self.entry.name!r}"

    @property
    def card(self) -> MethodCard:
        """The method's card."""
        return cast(MethodCard, self.entry.card)

    @property
    def label(self) -> str:
        """The method as asked for; with its number of training images where others are asked for too."""
        shots = shots_words(self.shots, every=True) * (len(self.request.shots) > 1)
        return " ".join([self.asked.label, *shots, *filter(None, [self.distinction])])

    @property
    def origin(self) -> str:
        """Where the hyper-parameters come from: `default`, `preset NAME: SOURCE`, `given ...`, or a combination."""
        parts = [f"preset {self.preset}: {self.card.preset(self.preset).source}"] if self.preset else []
        parts += [f"given {' '.join(f'{name}={value}' for name, value in self.given.items())}"] if self.given else []
        return " + ".join(parts) or "default"

    @property
    def refusal(self) -> str:
        """Why the method cannot be run on this data set, or an empty string."""
        wanted = self.request.input
        if wanted not in (None, self.method.input):
            return f"{self.card.title} works on {self.method.input}, not on {wanted}; leave out --input"
        cards = [self.card, *(member.card for member in members_of(self.params).values())]
        return next(filter(None, map(self._unmet, cards)), "")

    def _unmet(self, card: MethodCard) -> str:
        """Returns what a method with this card needs and the data set has not, or an empty string."""
        if card.needs_attributes and not self.data.attributes:
            return f"{card.title} needs attributes, and the class embeddings of {self.data.name} are none"
        if card.needs_attributes and self.scaling.semantics_scale == "whiten":
            return f"{card.title} needs attributes, and whitened class embeddings are none; see --semantics-scale"
        features, semantics = self.data.features, self.data.semantics
        sizes = (0 if features is None else features.shape[-1], semantics.shape[1])
        if card.needs_shared_space and sizes[0] not in (0, sizes[1]):
            return (
                f"{card.title} compares features with class embeddings, and those of {self.data.name} have "
                f"{sizes[0]} and {sizes[1]} dimensions; give --features and --semantics of one image-text model"
            )
        return ""

    def check_refusal(self) -> None:
        """Raises NotApplicable where the method cannot be run on this data set."""
        if self.refusal:
            raise NotApplicable(self.refusal)

    @property
    def compares_with_published(self) -> bool:
        """Whether the published method is scored on the proposed split's test images, with its class embeddings."""
        request = self.request
        return (
            not (self.preset and self.card.preset(self.preset).reduced)
            and request.on == "test"
            and request.splits.startswith("att_splits")
            and self.semantics == OWN
            and self.shots is None
        )

    @property
    def pretraining(self) -> Pretraining:
        """What the network behind the features was trained on: that of the data or, on images, the backbone."""
        if not isinstance(self.params, ImageParams):
            return self.data.pretraining
        request = self.request
        return pretraining_of_backbone(self.params.backbone, request.weights.get(BACKBONE), request.pretrained)

    @property
    def identity(self) -> dict[str, Any]:
        """What specs and searches say alike of method, data and networks."""
        return {
            "method": self.entry.name,
            "method_version": self.method.version,
            "code": self.entry.code,
            "dataset": self.data.name,
            "fingerprint": self.data.fingerprint,
            "features": self.data.features_name,
            **self.scaling._asdict(),
            "precision": self.request.precision,
            "pretrained": self.method.input == "features" or self.request.pretrained,
            "weights": dict(self.weights),
            "shots": self.shots,
            **used(self.card, self.params),
        }

    @property
    def setting(self) -> Setting:
        """What training uses: what the method declares, or a member that uses more."""
        return cast(Setting, used(self.card, self.params)["setting"])

    def drawn(self, data: ZSLData, seed: int) -> ZSLData:
        """Returns its data, perhaps with images prepared, with the training images that a run of this seed is given."""
        return data if self.shots is None else data.with_shots(self.shots, seed)

    def check_files(self) -> None:
        """Raises RunError where a file of weights is not what it was when the run was planned."""
        for part, digest in digests(self.method, self.owner, self.request.weights, self.params).items():
            if digest != self.weights[part]:
                named = self.request.weights.get(part) or getattr(self.params, BACKBONE)
                raise RunError(f"--weights {part}={named}: it changed; issue the command again")

    def make(self, params: Params) -> Embedder[Any]:
        """Returns a new embedder with these hyper-parameters, not built yet."""
        embedder = self.method(params)
        embedder.weights, embedder.pretrained = self.request.weights, self.request.pretrained
        return embedder

    def chosen(self, values: Mapping[str, Any]) -> tuple[Params, Scaling]:
        """Returns what these values say of hyper-parameters, and of scaling, which is the entrant's by default."""
        scaling = {name: value for name, value in values.items() if name in SCALINGS}
        params = {name: value for name, value in values.items() if name not in SCALINGS}
        return settled(self.method.params_type.parse(params, self.owner)), self.scaling._replace(**scaling)

    def run(
        self,
        seed: int,
        on: Literal["test", "validation"] = "test",
        fold: int = 0,
        *,
        params: Mapping[str, Any] | None = None,
        origin: str = "",
        calibrated: bool = True,
    ) -> Run:
        """Returns a run with these hyper-parameters and scaling, or with others."""
        chosen, scaling = (self.params, self.scaling) if params is None else self.chosen(params)
        spec = RunSpec(
            **{**self.identity, **scaling._asdict(), **used(self.card, chosen)},
            params=chosen.changed(),
            semantics=Path(self.semantics).stem,
            seed=seed,
            on=on,
            fold=fold,
            input=self.method.input,
        )
        return Run(self, spec, chosen, origin or self.origin, calibrated and on == "test")


@dataclass(frozen=True, eq=False)
class Run:
    """A run to be done.

    Attributes:
        origin: where its hyper-parameters come from.
        calibrated: whether a fit on validation classes is wanted too, to choose gamma.
    """

    entrant: Entrant
    spec: RunSpec
    params: Params
    origin: str
    calibrated: bool = True

    @property
    def id(self) -> str:
        """The id of its spec."""
        return self.spec.id

    def __str__(self) -> str:
        entrant, spec = self.entrant, self.spec
        own, other = entrant.scaling._asdict(), spec.scaling._asdict().items()
        scaling = {name: value for name, value in other if value != own[name]}  # a search chose it
        how = f" {pairs({**scaling, **spec.params})}"
        if entrant.preset and self.params == entrant.params:  # its name says what all its values would
            how = f"@{entrant.preset} {pairs({**scaling, **entrant.given})}"
        named = [f"{spec.method}{how}".rstrip(), *shots_words(spec.shots), *filter(None, [entrant.distinction])]
        return " ".join([*named, f"on {spec.dataset}, seed {spec.seed}"])

    @property
    def stops_early(self) -> bool:
        """Whether validation classes decide when training ends."""
        return isinstance(self.params, GradientParams) and self.params.patience > 0

    def validated_by(self, record: RunRecord) -> bool:
        """Whether a stored record has the fit on validation classes, if it is wanted."""
        return record.validated or not self.calibrated

    def stopping(self, metric: str, after: int, below: float | None = None) -> Run:
        """Returns the run that ends so many epochs after the best one by a metric of its validation classes.

        It ends after the first so many, too, where none of them reached `below`.
        """
        stops = {"stop_on": metric, "stop_after": after, "stop_below": below}
        return replace(self, spec=RunSpec(**self.spec.model_dump() | stops))

    def sent(self) -> str:
        """Returns the run as text for another process, which finds method and data by their names."""
        entrant, file = self.entrant, self.entrant.entry.file
        return json.dumps(
            {
                "method": str(file) if file else entrant.entry.name,
                "preset": entrant.preset,
                "given": {name: entrant.fixed[name] for name in entrant.given},
                "source": entrant.source,
                "request": entrant.request.model_dump(mode="json"),
                "semantics": entrant.semantics,
                "spec": self.spec.model_dump(mode="json"),
                "origin": self.origin,
                "calibrated": self.calibrated,
                "code": whole_code(entrant.entry, entrant.method, entrant.params),
            }
        )


def pairs(values: Mapping[str, Any]) -> str:
    """Returns values for people to read, as `name=value`, with four significant digits."""
    return " ".join(f"{name}={v:.4g}" if isinstance(v, float) else f"{name}={v}" for name, v in values.items())
