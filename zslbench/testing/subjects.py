"""Subjects: the methods, data sets and evaluators that checks are made of, however they are given."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from zslbench.api.cards import Setting
from zslbench.api.dataset import Dataset, ZSLData
from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Evaluator
from zslbench.api.params import Params
from zslbench.data.folders import data_root
from zslbench.discovery.plugins import plugins, registry
from zslbench.discovery.registry import NOUNS, Entry
from zslbench.discovery.single_file import adopted
from zslbench.errors import DataError, PluginError, UsageError
from zslbench.testing.verdicts import Check, Skip, Verdict

IMAGE_SIZES, CROPS = (16, 32, 64, 128), 2
"""What methods on images are checked with: the smallest size that they take, and a crop with its mirror image."""


@dataclass(eq=False)
class Subject:
    """What is checked.

    Attributes:
        name: as registered, or that of the class.
        card: as registered; None for what is not registered.
        entry: its registration, if there is one.
        given: the class or instance, where it was given instead of a name.
        verdicts: of the checks made so far.
    """

    kind: ClassVar[str]
    base: ClassVar[type]

    name: str
    card: Any = None
    entry: Entry | None = None
    given: Any = None
    verdicts: dict[Check, Verdict] = field(default_factory=dict, repr=False)

    @cached_property
    def target(self) -> Any:
        """What the name stands for.

        Raises:
            PluginError: it cannot be imported, or is something else.
        """
        return registry().resolve(self.kind, self.name, self.base) if self.given is None else self.given


@dataclass(eq=False)
class MethodSubject(Subject):
    """A method: its class and its card."""

    kind = "method"
    base = Embedder

    @property
    def method(self) -> type[Embedder[Any]]:
        """The class."""
        method: type[Embedder[Any]] = self.target
        return method

    @property
    def setting(self) -> Setting:
        """What its card declares; inductive without one."""
        setting: Setting = self.card.setting if self.card else "inductive"
        return setting

    @property
    def on_images(self) -> bool:
        """Whether its input is images."""
        return self.method.input == "images"

    @cached_property
    def params(self) -> Params:
        """The hyper-parameters that it is checked with: its defaults.

        Where the input is images, they are those of a reduced preset, if it has one, on images as small as it sees.
        """
        kind = self.method.params_type
        if not self.on_images:
            return kind()
        presets = self.card.presets.values() if self.card else ()
        reduced = next((dict(preset.params) for preset in presets if preset.reduced), {})
        reduced.pop("scale", None)
        values = {**reduced, "crops": CROPS}
        for size in IMAGE_SIZES:
            with suppress(ValidationError):
                return kind(**{**values, "image_size": size})
        return kind(**values)


@dataclass(eq=False)
class DatasetSubject(Subject):
    """A data set: an instance, and the folder to look for its files in."""

    kind = "dataset"
    base = Dataset
    root: Path = field(default_factory=data_root)

    @property
    def dataset(self) -> Dataset:
        """The instance."""
        dataset: Dataset = self.target
        return dataset

    def load(self) -> ZSLData:
        """Loads it anew.

        Raises:
            Skip: its files are absent.
        """
        if problem := self.dataset.missing(self.root):
            raise Skip(problem)
        return self.dataset.load(self.root)

    @cached_property
    def data(self) -> ZSLData:
        """The data, loaded once."""
        return self.load()

    @cached_property
    def labelled(self) -> ZSLData:
        """The data, or all but its features where only these are absent.

        Raises:
            Skip: its files are absent.
        """
        if problem := self.dataset.missing(self.root):
            try:
                return self.dataset.load_labels(self.root)
            except DataError:
                raise Skip(problem) from None
        return self.data


class EvaluatorSubject(Subject):
    """An evaluator: its class."""

    kind = "evaluator"
    base = Evaluator

    @property
    def evaluator(self) -> type[Evaluator]:
        """The class."""
        evaluator: type[Evaluator] = self.target
        return evaluator


KINDS: tuple[type[Subject], ...] = (MethodSubject, DatasetSubject, EvaluatorSubject)


def subjects(things: Iterable[Any], root: Path | None = None) -> list[Subject]:
    """Returns what is meant by names, classes and instances; a name may be of several kinds.

    Raises:
        UsageError: no such name, near misses are suggested; or something else was given.
        PluginError: the name is that of a plugin that does not work.
    """
    found = [
        subject for thing in things for subject in (_named(thing) if isinstance(thing, str) else [_of_object(thing)])
    ]
    for subject in found:
        if isinstance(subject, DatasetSubject):
            subject.root = data_root(root)
    return found


def registered(root: Path | None = None) -> list[Subject]:
    """Returns all methods, data sets and evaluators of this installation."""
    names = [entry.name for kind in KINDS for entry in registry().entries(kind.kind)]
    return subjects(dict.fromkeys(names), root)


def _named(text: str) -> list[Subject]:
    name, kinds = adopted(text), {kind.kind: kind for kind in KINDS}
    if not any(entry.goes_by(name) for kind in kinds for entry in registry().entries(kind)):
        _explain(name)
    return [kinds[entry.kind](entry.name, entry.card, entry) for entry in registry().find(name, kinds)]


def _explain(name: str) -> None:
    """Raises:
    UsageError, PluginError: no check is of this name, but something else is.
    """
    for plugin in plugins().problems:
        if name in (plugin.name, plugin.distribution, plugin.module, f"{plugin.distribution}:{plugin.name}"):
            raise PluginError(
                f"plugin {plugin.distribution}:{plugin.name} registers nothing, because it does not work: "
                f"{plugin.problem}"
            )
    if others := [noun for kind, noun in NOUNS.items() if name in registry().names(kind)]:
        raise UsageError(f"no checks for {others[0]} {name!r}; there are some for methods, data sets and evaluators")


def _of_object(thing: Any) -> Subject:
    """Returns the subject for a class or an instance, with its registration if it has one."""
    for kind in KINDS:
        is_class = isinstance(thing, type)
        if not (issubclass(thing, kind.base) if is_class else isinstance(thing, kind.base)):
            continue
        cls = thing if is_class else type(thing)
        given = _instance(thing) if kind is DatasetSubject else cls
        entry = next((e for e in registry().entries(kind.kind) if _loaded(e.target) in (given, cls)), None)
        name = entry.name if entry else cls.__name__
        card = entry.card if entry else getattr(given, "card", None)
        return kind(name, card, entry, given)
    raise UsageError(f"{thing!r} is no name, and no method, data set or evaluator")


def _instance(thing: Any) -> Any:
    return thing() if isinstance(thing, type) else thing


def _loaded(where: str) -> Any:
    """Returns what "module:attribute" stands for if it has been imported already."""
    module, attribute = where.split(":")
    return getattr(sys.modules.get(module), attribute, None)
