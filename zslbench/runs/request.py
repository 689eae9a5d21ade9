"""Requests: options, and methods and data sets given by name with options, by class, or by instance."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from zslbench.api.cards import Input, MethodCard, Scale, SemanticsScale
from zslbench.api.dataset import Dataset, ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.params import read_pairs
from zslbench.data.semantics import OWN
from zslbench.data.xlsa17 import SPLITS
from zslbench.discovery.objects import class_name
from zslbench.discovery.plugins import registry
from zslbench.discovery.single_file import SUFFIX, method_name
from zslbench.errors import UsageError
from zslbench.runs.shots import Shots, read_shots

Existing = Literal["reuse", "rerun", "only-cached"]
MethodLike = str | Path | type[Embedder[Any]] | Embedder[Any]
Many = Sequence[MethodLike] | MethodLike
DatasetLike = str | Path | Dataset | ZSLData


class Request(BaseModel):
    """The options that decide which runs you want, named as on the command line.

    Attributes:
        root: folder of the data sets.
        features: visual features, `NAME.mat`, or a file of arrays; None for the data set's own.
        splits: split file, `NAME.mat`.
        semantics: class embeddings: `att`, `original`, or a file. Several give a row for each.
        preset: named parameters of each method.
        params: hyper-parameters given by hand, for each method.
        scale: feature scaling, in place of each method's own.
        semantics_scale: scaling of class embeddings, likewise.
        seeds: one run for each.
        shots: training images of each seen class, a whole number, or their share, between 0 and 1; `all` or None for
            all. Several, as a sequence or divided by commas, give a row for each. The seed draws them.
        precision: of training.
        input: `images` uses each method's counterpart on images.
        pretrained: whether parts of networks start from pretrained weights, if these exist.
        weights: files of weights by part of the network.
        on: `validation` scores classes cut from trainval, and never a test image.
        fold: which cut into training and validation classes.
        calibrated: whether to fit on validation classes too, to choose gamma.
        existing: what to do with runs that are stored already.
        tuned: whether to use each method's tuned hyper-parameters; missing searches run first.
        oracle: whether to add the gain of choosing on the test images.
        metric: the metric to tune by.
        folds: cuts of the seen classes to tune on; the mean over them counts.
        trials: points to try, unless on a grid.
        grid: whether to try every combination of values instead.
        search: replaces or extends a method's own search space: `NAME=LOW:HIGH`, `NAME=LOW:HIGH:log` or `NAME=A,B,C`,
            several of these, or a mapping from names to `(low, high)`, lists or texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    root: Path
    features: str | None = None
    splits: str = SPLITS
    semantics: tuple[str, ...] = (OWN,)
    preset: str | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    scale: Scale | None = None
    semantics_scale: SemanticsScale | None = None
    seeds: tuple[int, ...] = (0,)
    shots: tuple[Shots, ...] = (None,)
    precision: Literal["32", "bf16"] = "32"
    input: Input | None = None
    pretrained: bool = True
    weights: dict[str, Path] = Field(default_factory=dict)
    on: Literal["test", "validation"] = "test"
    fold: int = Field(default=0, ge=0)
    calibrated: bool = True
    existing: Existing = "reuse"
    tuned: bool = False
    oracle: bool = False
    metric: str = "ausuc"
    folds: int = Field(default=3, ge=1)
    trials: int = Field(default=16, ge=1)
    grid: bool = False
    search: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Returns a request with these options; wrong options raise a UsageError of one line."""
        try:
            return cls(**values)
        except ValidationError as invalid:
            error = invalid.errors()[0]
            message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
            if not error["loc"]:
                raise UsageError(message) from None
            if error["type"] == "literal_error":
                message = "choose " + error["ctx"]["expected"].replace("'", "")
            given = "" if isinstance(error["input"], Mapping) else f" {error['input']}"
            option = str(error["loc"][0]).replace("_", "-")
            raise UsageError(f"--{option}{given}: {message}") from None

    @field_validator("search", mode="before")
    @classmethod
    def _spaces(cls, given: object) -> object:
        if isinstance(given, str):
            return (given,)
        return tuple(f"{name}={_space(own)}" for name, own in given.items()) if isinstance(given, Mapping) else given

    @field_validator("semantics", mode="before")
    @classmethod
    def _semantics(cls, given: object) -> object:
        every = [given] if isinstance(given, str | Path) else given or [OWN]
        if not isinstance(every, Sequence) or not all(isinstance(one, str | Path) for one in every):
            raise ValueError("give att, original or files")
        return tuple(dict.fromkeys(map(str, every)))

    @field_validator("shots", mode="before")
    @classmethod
    def _shots(cls, given: object) -> object:
        return read_shots(given)

    @field_validator("weights", mode="after")
    @classmethod
    def _files(cls, weights: dict[str, Path]) -> dict[str, Path]:
        found = {part: path.expanduser().absolute() for part, path in weights.items()}
        for part, path in found.items():
            if not path.is_file():
                raise ValueError(f"there is no file {path} for {part}")
        return found

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tuned and self.on == "validation":
            raise ValueError("--tuned --on validation: tuned values were chosen on those very images; leave out one")
        if self.oracle and not self.tuned:
            raise ValueError("--oracle: it looks at the trials of --tuned; give both")
        return self


def _space(given: object) -> str:
    """Returns a search space as it is typed: a tuple is a range, a list a choice, as for `param`."""
    if isinstance(given, str):
        return given
    return (":" if isinstance(given, tuple) else ",").join(map(str, given if isinstance(given, Iterable) else [given]))


class Asked(NamedTuple):
    """A method as requested: `name[@preset][:key=value,...]`, a file in place of the name, a class or an instance.

    Attributes:
        label: the text, or the name of the class.
        method: its registered name.
    """

    label: str
    method: str
    preset: str = ""
    given: Mapping[str, Any] = {}

    @classmethod
    def of(cls, method: MethodLike) -> Asked:
        """Reads `sae`, `sae@f2s`, `spaen:alpha=0,beta=0`, `./my_method.py`; a file is imported, a title made a name."""
        if isinstance(method, Embedder):
            name, given = class_name(type(method)), method.params.changed()
            pairs = ",".join(f"{key}={value}" for key, value in given.items())
            return cls(f"{name}:{pairs}" if pairs else name, name, "", given)
        if isinstance(method, type):
            return cls(class_name(method), class_name(method))
        text = os.fspath(method)
        if text.endswith(SUFFIX) and Path(text).is_file():  # its name may have any character
            return cls(text, method_name(text))
        head, _, tail = text.partition(":")
        typed, _, preset = head.partition("@")
        name = method_name(typed)
        label = text if typed.endswith(SUFFIX) else name + text.removeprefix(typed)
        return cls(label, name, preset, read_pairs(tail.split(",") if tail else []))

    @property
    def card(self) -> MethodCard:
        """The method's card."""
        return cast(MethodCard, registry().entry("method", self.method).card)

    def for_input(self, input: Input | None) -> Asked:
        """Returns the method's counterpart on images if images are wanted and it has one, else the method."""
        method = registry().method_for(self.method, input)
        return self._replace(label=self.label.replace(self.method, method, 1), method=method)


def methods_of(given: Many) -> list[MethodLike]:
    """Returns methods as a list of at least one."""
    single = isinstance(given, str | type) or not isinstance(given, Iterable)
    every: list[Any] = [given] if single else list(given)  # type: ignore[arg-type]
    if not every:
        raise UsageError("no method is named; `zslbench list methods` shows some")
    for one in every:
        if not (issubclass(one, Embedder) if isinstance(one, type) else isinstance(one, str | Path | Embedder)):
            raise UsageError(f"method {short(one)}: give a name, a file, a subclass of Embedder or an instance of one")
    return every


def seeds_of(given: int | Sequence[int]) -> tuple[int, ...]:
    """Returns at least one seed: the first so many, counted from 0, or the given ones."""
    try:
        chosen = tuple(map(index, given)) if isinstance(given, Iterable) else tuple(range(index(given)))
    except TypeError:
        chosen = ()
    if not chosen or min(chosen) < 0:
        raise UsageError(f"seeds={short(given)}: give how many, from 1, or which, from 0")
    return chosen


def short(value: object) -> str:
    """Returns the text of a message about a value of any kind."""
    text = repr(value)
    return text if len(text) < 60 else f"{text[:60]}..."


def split_source(source: str) -> tuple[str, str | None]:
    """Splits a requested data set, such as `NAME@FEATURES`, into features and its name with options, or folder."""
    if "@" in source and not Path(source).exists():
        name, _, features = source.rpartition("@")
        return name, features
    return source, None


def name_of(source: DatasetLike) -> str:
    """Returns the name of a data set in a request."""
    return source.name if isinstance(source, Dataset | ZSLData) else str(source)
