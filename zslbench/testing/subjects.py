"""Subjects: the methods, data sets and evaluators to check, in whatever form they are given."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import ValidationError

from zslbench.api.cards import SCALINGS, Setting
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

T = TypeVar("T")

IMAGE_SIZES, CROPS = (16, 32, 64, 128), 2
"""What methods on images are checked with: the smallest size that they take, and a crop with its mirror image."""


@dataclass(eq=False)
class Subject(Generic[T]):
    """What is checked.

    Attributes:
        name: as registered, or that of the class.
        card: as registered; None for what is not registered.
        entry: its registration, if there is one.
        given: the class or instance, where it was given instead of a name.
        root: the folder of the data sets.
        verdicts: of the checks made so far.
    """

    kind: ClassVar[str]
    base: ClassVar[type]

    name: str
    card: Any = None
    entry: Entry | None = None
    given: Any = None
    root: Path = field(default_factory=data_root)
    verdicts: dict[Check, Verdict] = field(default_factory=dict, repr=False)

    @cached_property
    def target(self) -> T:
        """What the name stands for: a class, or for data sets an instance.

        Raises:
            PluginError: it cannot be imported, or is something else.
        """
        target: T = registry().resolve(self.kind, self.name, self.base) if self.given is None else self.given
        return target

    @property
    def known_card(self) -> Any:
        """The card.

        Raises:
            Skip: there is none.
        """
        if self.card is None:
            raise Skip("it is not registered, so it has no card")
        return self.card


class MethodSubject(Subject[type[Embedder[Any]]]):
    """A method: its class and its card."""

    kind = "method"
    base = Embedder

    @property
    def setting(self) -> Setting:
        """What its card declares; inductive without one."""
        setting: Setting = self.card.setting if self.card else "inductive"
        return setting

    @property
    def on_images(self) -> bool:
        """Whether its input is images."""
        return self.target.input == "images"

    @cached_property
    def params(self) -> Params:
        """The hyper-parameters that it is checked with: its defaults.

        Where the input is images, they are those of a reduced preset, if it has one, on images as small as it sees.
        """
        kind = self.target.params_type
        if not self.on_images:
            return kind()
        presets = self.card.presets.values() if self.card else ()
        reduced: Mapping[str, Any] = next((preset.params for preset in presets if preset.reduced), {})
        values = {**{name: value for name, value in reduced.items() if name not in SCALINGS}, "crops": CROPS}
        for size in IMAGE_SIZES:
            with suppress(ValidationError):
                return kind(**{**values, "image_size": size})
        return kind(**values)


class DatasetSubject(Subject[Dataset]):
    """A data set: an instance, and the folder to look for its files in."""

    kind = "dataset"
    base = Dataset

    def load(self) -> ZSLData:
        """Loads it anew.

        Raises:
            Skip: its files are absent.
        """
        if problem := self.target.missing(self.root):
            raise Skip(problem)
        return self.target.load(self.root)

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
        if problem := self.target.missing(self.root):
            try:
                return self.target.load_labels(self.root)
            except DataError:
                raise Skip(problem) from None
        return self.data


class EvaluatorSubject(Subject[type[Evaluator]]):
    """An evaluator: its class."""

    kind = "evaluator"
    base = Evaluator


KINDS: dict[str, type[Subject[Any]]] = {kind.kind: kind for kind in (MethodSubject, DatasetSubject, EvaluatorSubject)}


def subjects(things: Iterable[Any], root: Path | None = None) -> list[Subject[Any]]:
    """Returns what is meant by names, classes and instances; a name may be of several kinds.

    Raises:
        UsageError: no such name, near misses are suggested; or something else was given.
        PluginError: the name is that of a plugin that does not work.
    """
    found: list[Subject[Any]] = []
    for thing in things:
        found += _named(thing, data_root(root)) if isinstance(thing, str) else [_of_object(thing, data_root(root))]
    return found


def registered(root: Path | None = None) -> list[Subject[Any]]:
    """Returns all methods, data sets and evaluators of this installation."""
    return subjects(dict.fromkeys(entry.name for kind in KINDS for entry in registry().entries(kind)), root)


def _named(text: str, root: Path) -> list[Subject[Any]]:
    name = adopted(text)
    try:
        entries = registry().find(name, KINDS)
    except UsageError:
        _explain(name)
        raise
    return [KINDS[entry.kind](entry.name, entry.card, entry, root=root) for entry in entries]


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


def _of_object(thing: Any, root: Path) -> Subject[Any]:
    """Returns the subject for a class or an instance, with its registration if it has one."""
    cls = thing if isinstance(thing, type) else type(thing)
    for kind in KINDS.values():
        if issubclass(cls, kind.base):
            given = cls
            if kind is DatasetSubject:
                given = cls() if thing is cls else thing
            entry = next((e for e in registry().entries(kind.kind) if _loaded(e.target) in (given, cls)), None)
            name, card = (entry.name, entry.card) if entry else (cls.__name__, getattr(given, "card", None))
            return kind(name, card, entry, given, root)
    raise UsageError(f"{thing!r} is no name, and no method, data set or evaluator")


def _loaded(where: str) -> Any:
    """Returns what "module:attribute" stands for if it has been imported already."""
    module, _, attribute = where.partition(":")
    return getattr(sys.modules.get(module), attribute, None)
