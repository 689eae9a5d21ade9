"""Cards: what `zslbench list` can say about a method, a data set or an evaluator without importing it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from zslbench.errors import PluginError, UsageError, ZSLBenchError, near_misses

Setting = Literal["inductive", "semantic-transductive", "transductive"]
"""What a method may use in training: no unseen class embeddings and no test images; the embeddings only; both."""

Input = Literal["features", "images"]
"""What a method receives for an image: visual features made beforehand, or the image itself."""

Scale = Literal["none", "l2", "zscore", "minmax"]
"""How visual features are scaled; fitted on the training part only."""

SCALES: tuple[Scale, ...] = get_args(Scale)

SemanticsScale = Literal["none", "l2", "whiten"]
"""How class embeddings are scaled; fitted on the seen classes of the training part only."""


class Scaling(NamedTuple):
    """How a run scales its data. The user, a preset or the method sets it, or a search chooses it.

    Attributes:
        scale: of visual features.
        semantics_scale: of class embeddings.
    """

    scale: Scale = "none"
    semantics_scale: SemanticsScale = "none"


SCALINGS: Mapping[str, tuple[str, ...]] = {"scale": SCALES, "semantics_scale": get_args(SemanticsScale)}
"""The valid values of each field of `Scaling`."""

Pool = Literal["mean", "max"]
"""How the embeddings of several texts become one: by their mean, or by the largest of each of their values."""

Pretraining = Literal[
    "none",
    "imagenet-1k",
    "imagenet-21k",
    "web image-text",
    "self-supervised",
    "fine-tuned on seen classes",
    "unknown",
]
"""What the network behind visual features was trained on before: nothing, labelled images of 1,000 or of some 21,000
classes, images with their texts, images alone, or the seen classes of the data set too."""

PRETRAINING: tuple[Pretraining, ...] = get_args(Pretraining)


def pretraining_of(value: object, where: str, error: type[ZSLBenchError] = PluginError) -> Pretraining:
    """Returns a value of `Pretraining`; else raises the error, which says where the value is."""
    if value not in PRETRAINING:
        near = near_misses(value, PRETRAINING, listed=False) if isinstance(value, str) else ""
        raise error(f"{where}: pretraining {value!r} is none of {', '.join(PRETRAINING)}{near}")
    return value


ExhibitKind = Literal["table", "curves", "reconstructions", "attributes"]
"""Metrics by method; seen-unseen curves; images beside their reconstructions; what class attributes vary in."""


def is_name(text: str) -> bool:
    """Whether something may be registered, or an exhibit called, by this name."""
    return re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text) is not None


def check_name(text: str, noun: str) -> None:
    """Raises a PluginError unless `is_name` holds."""
    if not is_name(text):
        raise PluginError(f"{noun} name {text!r} is not lower-case letters, digits and single hyphens")


@dataclass(frozen=True)
class Preset:
    """Named hyper-parameters of a method, with the source they were taken from.

    `datasets` maps a data set's name to parameters for it alone; they win over `params`. In both, a key of SCALINGS
    sets that scaling. A preset without `params` exists only for its `datasets`, one with `features` only for those
    features. `reduced` marks a smaller version of the published method, whose results do not compare with published
    numbers.
    """

    source: str
    params: Mapping[str, Any] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    features: str = ""
    reduced: bool = False

    def resolve(self, dataset: str, features: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Returns the parameters for one data set, and those of SCALINGS that the preset names.

        Raises:
            UsageError: the preset has values for certain data sets or features only, and not for these.
        """
        if self.features not in ("", features):
            raise UsageError(f"its values are for features {self.features}, not for {features}")
        if self.datasets and not self.params and dataset not in self.datasets:
            raise UsageError(f"it has no values for data set {dataset!r}, only for {', '.join(sorted(self.datasets))}")
        values = {**self.params, **self.datasets.get(dataset, {})}
        scaling = {name: values.pop(name) for name in SCALINGS if name in values}
        return values, scaling


@dataclass(frozen=True)
class Variant:
    """A method changed so that the change tests a reason: an ablation takes a part out, a control replaces it.

    Attributes:
        title: its name in tables.
        params: hyper-parameters that turn the method into it: numbers, truth values, texts without commas.
        question: the question that its difference from the method answers; one line that ends with a question mark.

    Raises:
        PluginError: a field is empty or has another form.
    """

    title: str
    params: Mapping[str, Any]
    question: str

    def __post_init__(self) -> None:
        if not self.title.strip() or not self.params:
            raise PluginError("it needs a title, and params that change the method")
        for name, value in self.params.items():
            if not isinstance(value, str | int | float) or "," in str(value):
                raise PluginError(f"{name}={value!r}: give a number, true, false, or a text without commas")
        if not self.question.endswith("?") or len(self.question.splitlines()) != 1:
            raise PluginError(f"question {self.question!r} is not one line that ends with a question mark")

    def label(self, method: str) -> str:
        """Returns the variant in the form that commands take, for a method of that name: `spaen:alpha=0,beta=0`."""
        texts = {name: str(v).lower() if isinstance(v, bool) else v for name, v in self.params.items()}
        return f"{method}:{','.join(f'{name}={text}' for name, text in texts.items())}"


@dataclass(frozen=True)
class Exhibit:
    """A figure or table of a method's paper. `zslbench paper` makes its counterpart from run records.

    Attributes:
        caption: what it shows.
        kind: `table`: `metrics` of `methods`; `curves`: their seen-unseen curves; `reconstructions`: images of unseen
            classes, and what each method makes of them; `attributes`: of the data alone, without methods.
        methods: as in `zslbench compare`: `name[@preset][:key=value,...]`.
        metrics: names of metrics, for a table.
        names: the paper's name for a method, if it differs from the title of its card.
        source: the name of the paper among published numbers; those of this source stand beside measured ones.
        variants: whether its methods are the card's ablations, the method itself and the controls, in place of
            `methods`; the result of the tests for each stands below a table.

    Raises:
        PluginError: a field does not fit the others.
    """

    caption: str
    kind: ExhibitKind
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    variants: bool = False

    def __post_init__(self) -> None:
        if self.kind not in get_args(ExhibitKind):
            raise PluginError(f"kind {self.kind!r} is none of {get_args(ExhibitKind)}")
        if bool(self.methods or self.variants) == (self.kind == "attributes"):
            raise PluginError("it needs methods, unless it is of attributes, which needs none")
        if bool(self.metrics) != (self.kind == "table"):
            raise PluginError("metrics are for a table, and a table needs them")
        if strange := set(self.names) - set(self.methods):
            raise PluginError(f"it names {min(strange)!r}, which is none of its methods")


@dataclass(frozen=True)
class MethodCard:
    """A method's title as printed, its paper, what it may use, its presets and exhibits, and what tests its reason."""

    title: str
    paper: str
    summary: str = ""
    url: str = ""
    setting: Setting = "inductive"
    input: Input = "features"
    """The same as `input` of its class."""
    for_images: str = ""
    """Its counterpart on images, a registered method; a command with `--input images` uses that one."""
    published_as: str = ""
    """Its name among published numbers, if that is not its title."""
    needs_attributes: bool = False
    """Whether class embeddings must be attributes; word vectors and sentences are then refused."""
    needs_shared_space: bool = False
    """Whether features and class embeddings must be of one space, as those of an image-text model are; data with other
    numbers of dimensions are then refused."""
    presets: Mapping[str, Preset] = field(default_factory=dict)
    exhibits: Mapping[str, Exhibit] = field(default_factory=dict)
    """Figures and tables of its paper, by the names of their files: `table-1`."""
    ablations: Mapping[str, Variant] = field(default_factory=dict)
    """The method without a part that is said to matter, by name."""
    controls: Mapping[str, Variant] = field(default_factory=dict)
    """The method with the supposed cause replaced by something that cannot be the cause, by name."""

    def __post_init__(self) -> None:
        card = f"method card {self.title!r}"
        for noun in ("exhibit", "ablation", "control"):
            for name in getattr(self, f"{noun}s"):
                check_name(name, f"{card}: {noun}")
        if len(self.variants("")) < len(self.ablations) + len(self.controls):
            raise PluginError(f"{card}: two of its ablations and controls have the same params")
        for name, exhibit in self.exhibits.items():
            if exhibit.variants and (exhibit.methods or not self.variants("")):
                raise PluginError(
                    f"{card}: exhibit {name!r} shows variants; declare ablations or controls, and leave out methods"
                )
        for name, value, known in (("setting", self.setting, Setting), ("input", self.input, Input)):
            if value not in get_args(known):
                raise PluginError(f"{card}: {name} {value!r} is none of {get_args(known)}")

    @classmethod
    def read(cls, path: Path) -> MethodCard:
        """Reads a TOML file of the fields above, with a table `[presets.NAME]`, `[exhibits.NAME]` and so on for each.

        Raises:
            PluginError: the file is not TOML or has unknown or missing fields.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
            presets = {name: Preset(**preset) for name, preset in values.pop("presets", {}).items()}
            values["exhibits"] = _each("exhibit", _exhibit, values.get("exhibits", {}))
            values |= {f"{noun}s": _each(noun, Variant, values.get(f"{noun}s", {})) for noun in ("ablation", "control")}
            return cls(**values, presets=presets)
        except PluginError as error:
            raise PluginError(f"{path}: {error}") from error
        except (tomllib.TOMLDecodeError, TypeError, AttributeError) as error:
            raise PluginError(f"{path}: not a method card: {error}") from error

    def preset(self, name: str) -> Preset:
        """Returns the preset of this name.

        Raises:
            UsageError: there is none; near misses are suggested.
        """
        if name not in self.presets:
            hint = near_misses(name, self.presets) or "; it has no presets"
            raise UsageError(f"{self.title} has no preset {name!r}{hint}")
        return self.presets[name]

    def variants(self, method: str) -> dict[str, Variant]:
        """Returns its ablations, then its controls, by the form that commands take for a method of that name."""
        return {variant.label(method): variant for variant in (*self.ablations.values(), *self.controls.values())}

    def exhibits_of(self, method: str, wanted: Sequence[str] = ()) -> dict[str, Exhibit]:
        """Returns its exhibits, or those wanted; one that shows variants has them as methods, by their titles.

        Raises:
            UsageError: it has no exhibit of a name; near misses are suggested.
        """
        for name in wanted:
            if name not in self.exhibits:
                raise UsageError(f"{self.title} has no exhibit {name!r}{near_misses(name, self.exhibits)}")
        own = {method: self.published_as or self.title}
        before, after = (
            {variant.label(method): variant.title for variant in some.values()}
            for some in (self.ablations, self.controls)
        )
        names = before | own | after
        return {
            name: replace(exhibit, methods=tuple(names), names=names) if exhibit.variants else exhibit
            for name, exhibit in self.exhibits.items()
            if not wanted or name in wanted
        }


T = TypeVar("T")


def _each(noun: str, make: Callable[..., T], tables: Mapping[str, Mapping[str, Any]]) -> dict[str, T]:
    """Returns what the tables of a file declare; an error names its table."""
    made = {}
    for name, values in tables.items():
        try:
            made[name] = make(**values)
        except PluginError as error:
            raise PluginError(f"{noun} {name!r}: {error}") from error
    return made


def _exhibit(*, methods: Iterable[str] = (), metrics: Iterable[str] = (), **values: Any) -> Exhibit:
    return Exhibit(methods=tuple(methods), metrics=tuple(metrics), **values)


@dataclass(frozen=True)
class DatasetSizes:
    """Published sizes of a data set, against which `zslbench data audit` checks the files."""

    images: int
    seen: int
    unseen: int
    embedding: int
    trainval: int
    test_seen: int
    test_unseen: int


@dataclass(frozen=True)
class DatasetCard:
    """A data set's title as printed in papers, its citation, licence, homepage, and published sizes."""

    title: str
    citation: str
    licence: str
    homepage: str = ""
    summary: str = ""
    sizes: DatasetSizes | None = None
    benchmark: bool = True
    """Whether a command without --dataset runs on it when it is present."""
    default_features: str = "res101"
    attributes: bool = True
    """Whether the class embeddings are strengths of attributes, not vectors of words or sentences."""
    embedded: bool = False
    """Whether it needs no files; the first such data set is used where no benchmark is present."""
    pretraining: Mapping[str, Pretraining] = field(default_factory=dict)
    """What the networks behind its released features were trained on, by the names of the features."""

    def __post_init__(self) -> None:
        for name, value in self.pretraining.items():
            pretraining_of(value, f"data set card {self.title!r}: features {name}")


@dataclass(frozen=True)
class EvaluatorCard:
    """What an evaluator measures, in one line."""

    summary: str
    paper: str = ""


@dataclass(frozen=True)
class EngineCard:
    """Where and how an engine executes runs, in one line."""

    summary: str


@dataclass(frozen=True)
class BackboneCard:
    """A network that turns images into visual features: its title, its paper, and where its weights come from."""

    title: str
    paper: str
    summary: str = ""
    pretraining: Pretraining = "unknown"
    """What its own weights were trained on, which tables say of its features."""

    def __post_init__(self) -> None:
        pretraining_of(self.pretraining, f"backbone card {self.title!r}")


@dataclass(frozen=True)
class TextEncoderCard:
    """A model that turns texts into class embeddings: its title, its paper, and where its weights come from."""

    title: str
    paper: str
    summary: str = ""


@dataclass(frozen=True)
class LayoutCard:
    """How people lay out features in files, in one line."""

    summary: str


Card = MethodCard | DatasetCard | EvaluatorCard | EngineCard | BackboneCard | TextEncoderCard | LayoutCard
