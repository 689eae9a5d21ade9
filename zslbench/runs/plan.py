"""Plans: from what a user asks for to runs with identities, one row of a table each method and data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from zslbench.api.cards import SCALES, Input, MethodCard, Scale
from zslbench.api.dataset import ZSLData
from zslbench.api.embedder import Embedder, ImageParams
from zslbench.api.params import read_pairs
from zslbench.data.catalogue import load_data
from zslbench.discovery.plugins import registry
from zslbench.discovery.registry import Entry
from zslbench.discovery.single_file import method_name
from zslbench.errors import NotApplicable, PluginError, UsageError, near_misses
from zslbench.evaluation.measuring import evaluators
from zslbench.preparation.backbones import find_backbone
from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.records.spec import RunSpec
from zslbench.runs.execute import BACKBONE, Job, weights_digest
from zslbench.runs.fit import method_class


@dataclass(frozen=True)
class Variant:
    """A method as asked for: `name[@preset][:key=value,...]`, or a file in place of the name.

    `typed` is what stands in `text` itself, where the request has added to it.
    """

    text: str
    method: str
    preset: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    typed: Variant | None = None

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Reads `sae`, `sae@f2s`, `spaen:alpha=0,beta=0`, `./my_method.py`; a file is imported.

        Raises:
            UsageError: something is not `key=value`, or there is no such file.
            PluginError: the file is no method.
        """
        if Path(text).is_file():  # its name may have any character
            return cls(text, method_name(text))
        head, _, tail = text.partition(":")
        method, _, preset = head.partition("@")
        return cls(text, method_name(method), preset or None, read_pairs(tail.split(",") if tail else []))

    def over(self, request: Request) -> Variant:
        """Returns the variant with the request's preset and parameters where it has none of its own."""
        params = {**request.params, **self.params}
        return replace(self, preset=self.preset or request.preset, params=params, typed=self)


@dataclass(frozen=True)
class Request:
    """The options of a command that decide which runs are meant."""

    root: Path
    features: str | None = None
    splits: str = "att_splits"
    semantics: str = "att"
    preset: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    scale: str | None = None
    seeds: tuple[int, ...] = (0,)
    precision: Literal["32", "bf16"] = "32"
    input: Input | None = None
    pretrained: bool = True
    weights: dict[str, Path] = field(default_factory=dict)
    device: str = "cpu"
    on: Literal["test", "validation"] = "test"
    fold: int = 0
    calibrated: bool = True


@dataclass(frozen=True)
class Configuration:
    """A method on a data set, with all that was said about its hyper-parameters.

    Attributes:
        variant: the method as asked for.
        request: the options it was asked for with.
        source: the data set as asked for, with its features if they were named.
        data: the data set.
        entry: the method's place in the registry.
        method: the method's class.
        values: hyper-parameters from the preset and by hand, checked.
        scale: feature scaling.
        origin: where they come from: `default`, `preset NAME: SOURCE`, `given ...`, or a combination.
    """

    variant: Variant
    request: Request
    source: str
    data: ZSLData
    entry: Entry
    method: type[Embedder[Any]]
    values: dict[str, Any]
    scale: Scale
    origin: str

    @property
    def owner(self) -> str:
        """The method, for error messages."""
        return f"method {self.variant.method!r}"

    @property
    def card(self) -> MethodCard:
        """The method's card."""
        card: MethodCard = self.entry.card
        return card

    @property
    def refusal(self) -> str:
        """Why the method cannot be run on this data set, or an empty string."""
        wanted = self.request.input
        if wanted not in (None, self.method.input):
            return f"{self.card.title} works on {self.method.input}, not on {wanted}; leave out --input"
        if self.card.needs_attributes and not self.data.attributes:
            return f"{self.card.title} needs attributes, and the class embeddings of {self.data.name} are none"
        return ""

    def check_refusal(self) -> None:
        """Raises:
        NotApplicable: the method cannot be run on this data set.
        """
        if self.refusal:
            raise NotApplicable(self.refusal)

    def job(
        self,
        seed: int,
        on: Literal["test", "validation"],
        fold: int = 0,
        *,
        params: dict[str, Any] | None = None,
        origin: str = "",
        calibrated: bool = True,
    ) -> Job:
        """Returns a run with these hyper-parameters, or with others.

        Evaluators that need validation are left out on validation classes, and on test images if not `calibrated`.
        """
        request, data = self.request, self.data
        parsed = self.method.params_type.parse(self.values if params is None else params, self.owner)
        spec = RunSpec(
            method=self.variant.method,
            method_version=self.method.version,
            code=self.entry.code,
            params=parsed.changed(),
            dataset=data.name,
            fingerprint=data.fingerprint,
            features=data.features_name,
            semantics=Path(request.semantics).stem,
            scale=self.scale,
            setting=self.card.setting,
            evaluators={
                name: evaluator.version
                for name, evaluator in evaluators().items()
                if ((on == "test" and calibrated) or not evaluator.needs_validation)
                and (self.method.input == "images" or not evaluator.needs_images)
            },
            seed=seed,
            on=on,
            fold=fold,
            precision=request.precision,
            **self.networks(),
        )
        return Job(
            spec=spec,
            source=split_source(self.source)[0],
            root=request.root,
            splits=request.splits,
            semantics=request.semantics,
            params_from=origin or self.origin,
            method_file=self.entry.file,
            weights=self._weights() if self.method.input == "images" else {},
            reduced=bool(self.variant.preset and self.card.preset(self.variant.preset).default_on),
        )

    def networks(self) -> dict[str, Any]:
        """Returns what specs and searches say of networks where the input is images."""
        if self.method.input == "features":
            return {}
        weights = {part: weights_digest(path) for part, path in self._weights().items()}
        return {"input": "images", "pretrained": self.request.pretrained, "weights": weights}

    def _weights(self) -> dict[str, Path]:
        """Returns the files of weights of the parts that this method has.

        Raises:
            UsageError: a part is none of the method's.
        """
        parts = (BACKBONE, *self.method.parts)
        for part in self.request.weights:
            if part not in parts:
                raise UsageError(f"--weights {part}: {self.owner} has no such part{near_misses(part, parts)}")
        return self.request.weights


def words(preset: str, given: Mapping[str, str]) -> list[str]:
    """Returns a preset and parameters as they are printed: `@preset`, `key=value`."""
    return [*([f"@{preset}"] if preset else []), *(f"{key}={value}" for key, value in given.items())]


@dataclass
class Row:
    """One method on one data set: a run for each seed, and their records once they exist.

    Attributes:
        label: the method as asked for.
        title: its title, as printed in papers.
        uses: what it may use in training.
        source: the data set as asked for.
        dataset: name (with options) or folder name, as in commands.
        dataset_title: as printed in papers.
        jobs: its runs; none for scores made elsewhere, and none where it is refused.
        preset: its preset; empty for none.
        given: parameters given by hand.
        added_preset, added: of these, what the command added to `label`.
        refusal: why it cannot be run here.
        search: where its hyper-parameters were tuned.
        oracle: the best figure on test images among the search's trials; for the test-peek gap alone.
    """

    label: str
    title: str
    uses: str
    source: str
    dataset: str
    dataset_title: str
    jobs: list[Job] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)
    preset: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    added_preset: str = ""
    added: Mapping[str, str] = field(default_factory=dict)
    refusal: str = ""
    search: Search | None = None
    oracle: float | None = None

    @classmethod
    def of_scores(cls, name: str, source: str, dataset: str, title: str, record: RunRecord) -> Row:
        """Returns the row of scores that were made elsewhere."""
        return cls(name, name, record.spec.setting, source, dataset, title, records=[record])

    @property
    def spec(self) -> RunSpec | None:
        """What its runs share beside the seed; None where there are none."""
        return self.jobs[0].spec if self.jobs else None

    @property
    def features(self) -> str:
        """The features its runs are given; empty where there are none."""
        return self.spec.features if self.spec else ""

    @property
    def settings(self) -> str:
        """What is not at its default, as printed: `@preset key=value`."""
        if self.records and self.records[0].external:
            return "(scores made elsewhere)"
        return " ".join(words(self.preset, self.given))


def parse_weights(pairs: list[str]) -> dict[str, Path]:
    """Reads `part=file` pairs.

    Raises:
        UsageError: one has no `=`, or there is no such file.
    """
    weights = {}
    for pair in pairs:
        part, separator, file = pair.partition("=")
        if not separator or not part:
            raise UsageError(f"--weights {pair}: give PART=FILE, {BACKBONE}={pair} for instance")
        path = Path(file).expanduser().absolute()
        if not path.is_file():
            raise UsageError(f"--weights {pair}: there is no file {path}")
        weights[part.strip()] = path
    return weights


def split_source(source: str) -> tuple[str, str | None]:
    """Splits a data set as asked for, such as `NAME@FEATURES`, into its name with options, or folder, and features."""
    if "@" in source and not Path(source).exists():
        name, _, features = source.rpartition("@")
        return name, features
    return source, None


def plan(methods: list[str], datasets: list[str], request: Request) -> list[Row]:
    """Returns a row for each method and data set.

    Raises:
        UsageError, DataError, PluginError: a name, parameter or file is wrong; nothing has run yet.
    """
    return [row_of(configuration) for configuration in configurations(methods, datasets, request)]


def configurations(methods: list[str], datasets: list[str], request: Request) -> list[Configuration]:
    """Returns each method on each data set.

    Raises:
        UsageError, DataError, PluginError: a name, parameter or file is wrong.
    """
    if request.scale is not None and request.scale not in SCALES:
        raise UsageError(f"--scale {request.scale}: choose {', '.join(SCALES)}")
    variants = [Variant.parse(text).over(request) for text in dict.fromkeys(methods)]
    for variant in variants:  # mistyped names are found before data is read
        _check_names(variant, request)
    return [_configure(variant, dataset, request) for dataset in dict.fromkeys(datasets) for variant in variants]


def row_of(configuration: Configuration, search: Search | None = None) -> Row:
    """Returns the row of a method on a data set, with the tuned preset of a search where there is one."""
    variant, request = configuration.variant, configuration.request
    jobs = []
    if not configuration.refusal:
        params, origin = (search.tuned, search.origin) if search else (None, "")
        how: dict[str, Any] = {"params": params, "origin": origin, "calibrated": request.calibrated}
        jobs = [configuration.job(seed, request.on, request.fold, **how) for seed in request.seeds]
    typed = variant.typed or variant
    name, data = split_source(configuration.source)[0], configuration.data
    return Row(
        label=variant.text,
        title=configuration.card.title,
        uses=configuration.card.setting,
        source=configuration.source,
        dataset=name if name.partition(":")[0] in registry().names("dataset") else data.name,
        dataset_title=data.name,
        jobs=jobs,
        preset=variant.preset or "",
        given=variant.params,
        added_preset="" if typed.preset else variant.preset or "",
        added={key: value for key, value in variant.params.items() if key not in typed.params},
        refusal=configuration.refusal,
        search=search,
    )


def _check_names(variant: Variant, request: Request) -> None:
    card = registry().entry("method", variant.method).card
    method = method_class(variant.method, request.input)
    if variant.preset:
        card.preset(variant.preset)
    for parameter in variant.params:
        if parameter not in method.params_type.model_fields:
            method.params_type.parse({parameter: ""}, f"method {variant.method!r}")


def _configure(variant: Variant, source: str, request: Request) -> Configuration:
    """Reads the data, and puts hyper-parameters together; later ones win: preset, -p, variant."""
    entry = registry().entry("method", variant.method)
    method = method_class(variant.method, request.input)
    if method.scale not in SCALES:
        raise PluginError(f"method {variant.method!r}: its scale is {method.scale!r}; choose {', '.join(SCALES)}")
    name, features = split_source(source)
    wanted = features or request.features
    data = load_data(name, request.root, wanted, request.splits, request.semantics, request.input or method.input)
    if variant.preset is None and method.input == "images":
        variant = replace(variant, preset=entry.card.default_on(request.device))
    values: dict[str, Any] = {}
    scale, origin = None, []
    if variant.preset:
        preset = entry.card.preset(variant.preset)
        try:
            values, scale = preset.resolve(data.name.lower(), data.features_name, method.input)
        except UsageError as error:
            raise UsageError(f"preset {variant.preset!r} of method {variant.method!r}: {error}") from None
        origin.append(f"preset {variant.preset}: {preset.source}")
        try:
            method.params_type.parse(values, "")
        except UsageError as error:
            raise PluginError(f"preset {variant.preset!r} of method {variant.method!r} is wrong ({error})") from None
    if variant.params:
        origin.append(f"given {' '.join(words('', variant.params))}")
    given = {**values, **variant.params}
    params = method.params_type.parse(given, f"method {variant.method!r}")
    if isinstance(params, ImageParams):
        find_backbone(params.backbone)  # a mistyped name is found before anything runs
    parsed = params.model_dump(mode="json")
    return Configuration(
        variant=variant,
        request=request,
        source=source,
        data=data,
        entry=entry,
        method=method,
        values={name: parsed[name] for name in given},
        scale=cast(Scale, request.scale or scale or method.scale),
        origin=" + ".join(origin) or "default",
    )
