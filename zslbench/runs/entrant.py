"""Entrants: a method on a data set, with everything resolved and checked once, and its runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from zslbench.api.cards import SCALINGS, Input, MethodCard, Pretraining, Scaling, Setting
from zslbench.api.dataset import Dataset, ZSLData
from zslbench.api.embedder import Embedder, GradientParams, ImageParams
from zslbench.api.params import Params
from zslbench.data.catalogue import load_data
from zslbench.data.semantics import OWN
from zslbench.discovery.plugins import registry
from zslbench.discovery.registry import Entry
from zslbench.errors import NotApplicable, PluginError, RunError, UsageError, near_misses
from zslbench.evaluation.measuring import owner_of
from zslbench.preparation.backbones import check_weights, find_backbone, pretraining_of_backbone
from zslbench.records.record import RunRecord
from zslbench.records.spec import RunSpec
from zslbench.runs.code import check_code
from zslbench.runs.member import members_of, settled, used, whole_code
from zslbench.runs.request import Asked, DatasetLike, MethodLike, Request, name_of
from zslbench.runs.requested import data_of
from zslbench.runs.scaling import misdeclared, own_scaling
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
        watch: the metric that must be known after each epoch, where a search chooses by it.
    """

    entrant: Entrant
    spec: RunSpec
    params: Params
    origin: str
    calibrated: bool = True
    watch: str = ""

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

    def watched_by(self, record: RunRecord) -> bool:
        """Whether a stored record has the watched metric after each epoch, or has a reason why it has none."""
        watched = record.training.watched if record.training else []
        known = not (self.watch and watched) or self.watch in watched[0]
        return known or owner_of(self.watch) in record.not_applicable

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
                "watch": self.watch,
                "code": whole_code(entrant.entry, entrant.method, entrant.params),
            }
        )

    @classmethod
    def received(cls, text: str, data: ZSLData | None = None) -> Run:
        """Returns the run that another process sent, if code, data and files of weights are what they were there.

        `data` are those of its data set, where they were sent, too.
        """
        values = json.loads(text)
        planned, request = RunSpec.model_validate(values["spec"]), Request.model_validate(values["request"])
        asked = Asked.of(values["method"])._replace(preset=values["preset"], given=values["given"])
        which = values["semantics"], planned.shots
        entrant = _entrant(asked, values["source"], request, *which, data)
        check_code(whole_code(entrant.entry, entrant.method, entrant.params), values["code"])
        if data is None and entrant.data.fingerprint != planned.fingerprint:  # this process may have loaded it long ago
            load_data.cache_clear()
            entrant = _entrant(asked, values["source"], request, *which)
        chosen = {**planned.scaling._asdict(), **planned.params}
        run = entrant.run(planned.seed, planned.on, planned.fold, params=chosen, origin=values["origin"])
        now, then = run.spec.model_dump(), planned.model_dump()
        if changed := [name for name in then if now[name] != then[name]]:
            what = {"fingerprint": f"data set {planned.dataset}", "weights": "a file of weights"}
            thing = what.get(changed[0], values["method"])
            raise RunError(f"{thing} changed between planning and running; issue the command again")
        return replace(run, calibrated=values["calibrated"], watch=values["watch"])


def resolve(methods: Sequence[MethodLike | Asked], datasets: Sequence[DatasetLike], request: Request) -> list[Entrant]:
    """Returns each method on each data set with each kind of class embeddings and each number of shots, in this order.

    A wrong name, parameter or file is found here.
    """
    every = [method if isinstance(method, Asked) else Asked.of(method) for method in methods]
    asked = list({own.label: own for own in (method.for_input(request.input) for method in every)}.values())
    for method in asked:  # mistyped names are found before data is read
        _check_names(method, request)
    option = "--weights" if request.weights else "" if request.pretrained else "--no-pretrained"
    if option and all(method_class(method.method).input == "features" for method in asked):
        raise UsageError(f"{option}: no network here has weights of its own; it is for methods on images")
    sources = {source if isinstance(source, str) else id(source): source for source in datasets}.values()
    names = [source.name for source in sources if isinstance(source, ZSLData)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two data sets are called {twice[0]!r}; give each a name of its own")
    entrants = [
        _entrant(method, source, request, semantics, shots)
        for source, semantics, method, shots in itertools.product(sources, request.semantics, asked, request.shots)
    ]
    if len(request.semantics) == 1:
        return entrants
    stems = {one: Path(one).stem for one in request.semantics}
    called = stems if len(set(stems.values())) == len(stems) else {one: one for one in stems}
    return [replace(one, distinction=f"[semantics={called[one.semantics]}]") for one in entrants]


def method_class(name: str) -> type[Embedder[Any]]:
    """Returns the class of a registered method."""
    return cast(type[Embedder[Any]], registry().resolve("method", name, Embedder))


def check_options(names: Iterable[str], methods: list[MethodLike], input: Input | None, options: list[str]) -> None:
    """Checks that each name is a hyper-parameter of every method; it may be a misspelt option."""
    for name, method in itertools.product(names, methods):
        asked = Asked.of(method).for_input(input)
        params = method_class(asked.method).params_type.model_fields
        if name not in params:
            hint = near_misses(name, [*params, *options])
            raise UsageError(f"{name!r} is no option, and method {asked.method!r} has no such parameter{hint}")


def _check_names(asked: Asked, request: Request) -> None:
    card, method = registry().entry("method", asked.method).card, method_class(asked.method)
    if preset := asked.preset or request.preset:
        card.preset(preset)
    for parameter in {**request.params, **asked.given}:
        if parameter not in method.params_type.model_fields:
            method.params_type.parse({parameter: ""}, f"method {asked.method!r}")


def _entrant(
    asked: Asked,
    source: DatasetLike,
    request: Request,
    semantics: str,
    shots: Shots,
    data: ZSLData | None = None,
) -> Entrant:
    """Reads the data, and puts hyper-parameters together; later ones win: preset, the request's, the method's own."""
    entry = registry().entry("method", asked.method)
    method, owner = method_class(entry.name), f"method {entry.name!r}"
    if wrong := misdeclared(method):
        raise PluginError(f"{owner}: {wrong}")
    data, name = data_of(source, request, method.input, semantics) if data is None else (data, name_of(source))
    preset, given = asked.preset or request.preset or "", {**request.params, **asked.given}
    values, scaling = _preset(entry, method, preset, data)
    scaling |= {name: getattr(request, name) for name in SCALINGS if getattr(request, name) is not None}
    params = settled(method.params_type.parse({**values, **given}, owner))
    weights = digests(method, owner, request.weights, params)
    if isinstance(params, ImageParams):  # what is wrong with a name or a file is found before anything runs
        find_backbone(params.backbone)
        if BACKBONE in request.weights:
            check_weights(params.backbone, request.weights[BACKBONE], weights[BACKBONE])
    parsed = params.model_dump(mode="json")
    return Entrant(
        asked=asked,
        request=request,
        source=name,
        data=data,
        entry=entry,
        method=method,
        preset=preset,
        given=given,
        fixed={**scaling, **{parameter: parsed[parameter] for parameter in {**values, **given}}},
        params=params,
        scaling=own_scaling(method)._replace(**scaling),
        weights=weights,
        semantics=semantics,
        shots=shots,
        named=entry.given is None and not isinstance(source, Dataset | ZSLData),
    )


def _preset(
    entry: Entry, method: type[Embedder[Any]], name: str, data: ZSLData
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the values of a preset for a data set, and what it says of scaling."""
    if not name:
        return {}, {}
    what = f"preset {name!r} of method {entry.name!r}"
    try:
        values, scaling = entry.card.preset(name).resolve(data.name.lower(), data.features_name)
    except UsageError as error:
        raise UsageError(f"{what}: {error}") from None
    try:
        method.params_type.parse(values, "")
    except UsageError as error:
        raise PluginError(f"{what} is wrong ({error})") from None
    for option, value in scaling.items():
        if value not in SCALINGS[option]:
            raise PluginError(f"{what} is wrong ({option} is {value!r}; choose {', '.join(SCALINGS[option])})")
    return values, scaling


def pairs(values: Mapping[str, Any]) -> str:
    """Returns values for people to read, as `name=value`, with four significant digits."""
    return " ".join(f"{name}={v:.4g}" if isinstance(v, float) else f"{name}={v}" for name, v in values.items())
