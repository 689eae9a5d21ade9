"""Plans: from what a user asks for to runs with identities, one row of a table each method and data set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from zslbench.cards import SCALES
from zslbench.errors import PluginError, UsageError
from zslbench.plugins import registry
from zslbench.record import RunRecord
from zslbench.runner import Job, evaluators, load_data
from zslbench.spec import RunSpec
from zslbench.trial import method_class


@dataclass(frozen=True)
class Variant:
    """A method as asked for: `name[@preset][:key=value,...]`."""

    text: str
    method: str
    preset: str | None = None
    params: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Reads `sae`, `sae@f2s`, `spaen:alpha=0,beta=0`.

        Raises:
            UsageError: something is not `key=value`.
        """
        head, _, tail = text.partition(":")
        method, _, preset = head.partition("@")
        return cls(text, method, preset or None, parse_params(tail.split(",") if tail else []))

    def over(self, request: Request) -> Variant:
        """Returns the variant with the request's preset and parameters where it has none of its own."""
        params = {**request.params, **self.params}
        return replace(self, preset=self.preset or request.preset, params=params)

    @property
    def given(self) -> str:
        """The parameters given by hand, as `key=value`."""
        return " ".join(f"{key}={value}" for key, value in self.params.items())


@dataclass(frozen=True)
class Request:
    """The options of `run` and `compare` that decide which runs are meant."""

    root: Path
    features: str | None = None
    splits: str = "att_splits"
    preset: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    scale: str | None = None
    seeds: tuple[int, ...] = (0,)
    precision: Literal["32", "bf16"] = "32"
    on: Literal["test", "validation"] = "test"
    fold: int = 0


@dataclass
class Row:
    """One method on one data set: a run for each seed, and their records once they exist.

    Attributes:
        label: the method as asked for.
        title: its title, as printed in papers.
        settings: preset and parameters given by hand; empty for defaults.
        uses: what it may use in training.
        dataset: name or folder name, as in commands.
        dataset_title: as printed in papers.
        jobs: its runs; none for scores made elsewhere.
    """

    label: str
    title: str
    settings: str
    uses: str
    dataset: str
    dataset_title: str
    jobs: list[Job]
    records: list[RunRecord] = field(default_factory=list)

    @property
    def has_given_parameters(self) -> bool:
        """Whether parameters were given by hand, so that this is no longer the published method."""
        return "=" in self.settings


def parse_params(pairs: list[str]) -> dict[str, str]:
    """Reads `key=value` pairs.

    Raises:
        UsageError: one has no `=`.
    """
    params = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise UsageError(f"parameter {pair!r} is not key=value")
        params[key.strip()] = value.strip()
    return params


def plan(methods: list[str], datasets: list[str], request: Request) -> list[Row]:
    """Returns a row for each method and data set.

    Raises:
        UsageError, DataError, PluginError: a name, parameter or file is wrong; nothing has run yet.
    """
    if request.scale is not None and request.scale not in SCALES:
        raise UsageError(f"--scale {request.scale}: choose {', '.join(SCALES)}")
    variants = [Variant.parse(text).over(request) for text in dict.fromkeys(methods)]
    for variant in variants:  # mistyped names are found before data is read
        _check_names(variant)
    return [_row(variant, dataset, request) for dataset in dict.fromkeys(datasets) for variant in variants]


def _row(variant: Variant, source: str, request: Request) -> Row:
    card = registry().entry("method", variant.method).card
    data = load_data(source, request.root, request.features, request.splits)
    values, scale, origin = _configure(variant, request, data.name.lower(), data.features_name)
    method = method_class(variant.method)
    params = method.params_type.parse(values, f"method {variant.method!r}")
    jobs = [
        Job(
            spec=RunSpec(
                method=variant.method,
                method_version=method.version,
                params=params.changed(),
                dataset=data.name,
                fingerprint=data.fingerprint,
                features=data.features_name,
                scale=scale,
                setting=card.setting,
                evaluators=_evaluators(request.on),
                seed=seed,
                on=request.on,
                fold=request.fold,
                precision=request.precision,
            ),
            source=source,
            root=request.root,
            splits=request.splits,
            params_from=origin,
        )
        for seed in request.seeds
    ]
    settings = f"@{variant.preset} {variant.given}".strip() if variant.preset else variant.given
    dataset = source if source in registry().names("dataset") else data.name
    return Row(variant.text, card.title, settings, card.setting, dataset, data.name, jobs)


def _check_names(variant: Variant) -> None:
    card = registry().entry("method", variant.method).card
    method = method_class(variant.method)
    if variant.preset:
        card.preset(variant.preset)
    for parameter in variant.params:
        if parameter not in method.params_type.model_fields:
            method.params_type.parse({parameter: ""}, f"method {variant.method!r}")


def _configure(variant: Variant, request: Request, dataset: str, features: str) -> tuple[dict[str, Any], str, str]:
    """Returns parameter values, feature scaling, and where they come from; later ones win: preset, -p, variant."""
    card = registry().entry("method", variant.method).card
    method = method_class(variant.method)
    values: dict[str, Any] = {}
    scale, origin = None, []
    if variant.preset:
        preset = card.preset(variant.preset)
        try:
            values, scale = preset.resolve(dataset, features)
        except UsageError as error:
            raise UsageError(f"preset {variant.preset!r} of method {variant.method!r}: {error}") from None
        origin.append(f"preset {variant.preset}: {preset.source}")
        try:
            method.params_type.parse(values, "")
        except UsageError as error:
            raise PluginError(f"preset {variant.preset!r} of method {variant.method!r} is wrong ({error})") from None
    if variant.params:
        origin.append(f"given {variant.given}")
    return {**values, **variant.params}, request.scale or scale or method.scale, " + ".join(origin) or "default"


def _evaluators(on: str) -> dict[str, int]:
    return {
        name: evaluator.version
        for name, evaluator in evaluators().items()
        if on == "test" or not evaluator.needs_validation
    }
