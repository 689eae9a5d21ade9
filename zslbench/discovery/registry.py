"""The registry: name -> "module:attribute", resolved on first use, so that listing imports nothing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from zslbench.api import cards
from zslbench.api.family import Family
from zslbench.errors import Hint, PluginError, UsageError, near_misses, one_line

KINDS = {
    "method": cards.MethodCard,
    "dataset": cards.DatasetCard,
    "evaluator": cards.EvaluatorCard,
    "backbone": cards.BackboneCard,
    "text-encoder": cards.TextEncoderCard,
    "engine": cards.EngineCard,
    "layout": cards.LayoutCard,
}
FAMILIES = ("backbone", "text-encoder")
"""The kinds of which one class may stand for many names."""
NOUNS = {kind: kind for kind in KINDS} | {"dataset": "data set", "text-encoder": "text encoder"}


@dataclass(frozen=True)
class Entry:
    """One registered name; only `Registry.resolve` imports `target`.

    A method that is a single file outside any package has `file` and `code`, a hash of its content.
    """

    kind: str
    name: str
    target: str
    card: Any
    plugin: str
    file: Path | None = None
    code: str = ""
    given: Any = None
    """The object itself, where it was handed over in this process instead of being named."""

    @property
    def title(self) -> str:
        """The title on its card, or its name if the card has none."""
        return getattr(self.card, "title", self.name)

    def __str__(self) -> str:
        return f"{NOUNS[self.kind]} {self.name!r} of plugin {self.plugin!r}"

    def goes_by(self, text: str) -> bool:
        """Whether a text is its name or title, in upper or lower case."""
        return text.casefold() in (self.name.casefold(), self.title.casefold())


class Registry:
    """What plugins offer: methods, data sets, evaluators, backbones, text encoders, engines, layouts, numbers."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self.published_files: list[Path] = []
        self.broken: list[str] = []
        """What does not work, plugin by plugin; an unknown name may be one of theirs."""

    def method(self, name: str, target: str, card: cards.MethodCard) -> None:
        """Registers a method; `target` is "module:attribute" of an `Embedder`."""
        self._add("method", name, target, card)

    def dataset(self, name: str, target: str, card: cards.DatasetCard) -> None:
        """Registers a data set; `target` is "module:attribute" of a `Dataset` instance."""
        self._add("dataset", name, target, card)

    def evaluator(self, name: str, target: str, card: cards.EvaluatorCard) -> None:
        """Registers an evaluator; `target` is "module:attribute" of an `Evaluator` class."""
        self._add("evaluator", name, target, card)

    def backbone(self, name: str, target: str, card: cards.BackboneCard) -> None:
        """Registers a backbone; `target` is "module:attribute" of a `Backbone` class.

        Of a `Family`, `name` is the prefix of its names with the colon; likewise for text encoders.
        """
        self._add("backbone", name, target, card)

    def text_encoder(self, name: str, target: str, card: cards.TextEncoderCard) -> None:
        """Registers a text encoder; `target` is "module:attribute" of a `TextEncoder` class."""
        self._add("text-encoder", name, target, card)

    def engine(self, name: str, target: str, card: cards.EngineCard) -> None:
        """Registers an engine; `target` is "module:attribute" of an `Engine` class."""
        self._add("engine", name, target, card)

    def layout(self, name: str, target: str, card: cards.LayoutCard) -> None:
        """Registers a layout of files; `target` is "module:attribute" of a `Layout` class."""
        self._add("layout", name, target, card)

    def published(self, path: Path) -> None:
        """Registers a CSV of published numbers: method, dataset, split, setting, metric, value, source.

        It may also have the columns backbone and fine_tuned: `no`, `seen classes` or `unknown`.
        """
        if not path.is_file():
            raise PluginError(f"the file of published numbers {path} does not exist")
        self.published_files.append(path)

    def _add(self, kind: str, name: str, target: str, card: cards.Card) -> None:
        noun = NOUNS[kind]
        cards.check_name(name.removesuffix(":") if kind in FAMILIES else name, noun)
        if target.count(":") != 1 or not all(target.split(":")):
            raise PluginError(f"{noun} {name!r}: target {target!r} is not 'module:attribute'")
        if not isinstance(card, KINDS[kind]):
            raise PluginError(f"{noun} {name!r}: its card is a {type(card).__name__}, not a {KINDS[kind].__name__}")
        if (kind, name) in self._entries:
            raise PluginError(f"it registers the {noun} {name!r} twice")
        self._entries[kind, name] = Entry(kind, name, target, card, "")

    def adopt(self, staged: Registry, plugin: str, file: Path | None = None, code: str = "") -> None:
        """Takes over all that a plugin or file registered, or none; a PluginError names the owner of a taken name."""
        for key, entry in staged._entries.items():
            if key in self._entries:
                owner = self._entries[key].plugin
                raise PluginError(f"the {NOUNS[entry.kind]} name {entry.name!r} is taken by plugin {owner!r}")
        for key, entry in staged._entries.items():
            self._entries[key] = replace(entry, plugin=plugin, file=file, code=code)
        self.published_files += staged.published_files

    def give(self, kind: str, name: str, thing: Any, card: cards.Card, owner: str, code: str) -> None:
        """Registers an object of this process; replaces what the same owner registered under this name."""
        self._entries[kind, name] = Entry(kind, name, "", card, owner, code=code, given=thing)

    def names(self, kind: str) -> list[str]:
        """Returns the registered names of one kind, in the order of registration."""
        return [name for entry_kind, name in self._entries if entry_kind == kind]

    def entries(self, kind: str) -> Iterable[Entry]:
        """Returns the entries of one kind, in the order of registration."""
        return [entry for entry in self._entries.values() if entry.kind == kind]

    def name(self, kind: str, text: str) -> str:
        """Returns the registered name that a user means by a name or a title; see `find`."""
        return self.entry(kind, text).name

    def entry(self, kind: str, name: str) -> Entry:
        """Returns the entry of this name or title; see `find`."""
        return self._entries.get((kind, name)) or self.find(name, [kind])[0]

    def find(self, text: str, kinds: Collection[str] = tuple(KINDS)) -> list[Entry]:
        """Returns the entries of this name, at most one of each kind.

        If there is none, titles count too, in upper or lower case; a `Hint` says which entry is used.

        Raises:
            UsageError: no such name or title (near misses are suggested), or several of a kind have this title.
        """
        entries = [entry for kind in kinds for entry in self.entries(kind)]
        if exact := [entry for entry in entries if entry.name == text]:
            return exact
        found = [entry for entry in entries if entry.goes_by(text)]
        if not found:
            *others, last = (NOUNS[kind] for kind in kinds)
            noun = f"{', '.join(others)} or {last}" if others else last
            near = near_misses(text, {e.name for e in entries}, {e.title: e.name for e in entries})
            raise UsageError(f"unknown {noun} {text!r}{near}{self._broken}")
        for kind in kinds:
            names = [entry.name for entry in found if entry.kind == kind]
            if len(names) > 1:
                raise UsageError(f"{NOUNS[kind]} {text!r} is {' or '.join(map(repr, names))}; give one of these names")
        for entry in found:
            warnings.warn(f"{text}: taken as {NOUNS[entry.kind]} {entry.name}", Hint, stacklevel=2)
        return found

    def maker(self, kind: str, text: str, base: type) -> tuple[str, Callable[..., Any]]:
        """Returns the full name of a backbone or text encoder, and what makes it.

        Args:
            kind: one of FAMILIES.
            text: a registered name, `PREFIX:NAME` of a family, or the name in a family alone.
            base: the class that is wanted.

        Raises:
            UsageError: there is none of this name; near misses are suggested.
            PluginError: a plugin offers it, and it cannot be imported.
        """
        families = {entry.name: entry for entry in self.entries(kind) if entry.name.endswith(":")}
        if (kind, text) in self._entries and text not in families:
            return text, self.resolve(kind, text, base)
        prefix, colon, name = text.partition(":")
        if colon and f"{prefix}:" not in families:
            forms = " or ".join(f"{family}NAME" for family in families) or "a name without a colon"
            raise UsageError(f"{NOUNS[kind]} {text}: there is no family {prefix!r}; write {forms}")
        if colon:
            target = self._family(kind, f"{prefix}:", base)
            if wrong := target.wrong(name):
                raise UsageError(f"{NOUNS[kind]} {text}: {wrong}")
            return text, partial(target, name)
        known = set(self.names(kind)) - set(families)
        for family in families:
            target = self._family(kind, family, base)
            if text in (names := target.names()):
                return f"{family}{text}", partial(target, text)
            known.update(names)
        if any(entry.goes_by(text) for entry in self.entries(kind) if entry.name not in families):
            name = self.name(kind, text)
            return name, self.resolve(kind, name, base)
        near = near_misses(text, known, listed=False) or f"; `zslbench list {kind}s` names those there are"
        raise UsageError(f"unknown {NOUNS[kind]} {text!r}{near}{self._broken}")

    def _family(self, kind: str, name: str, base: type) -> Any:
        target = self.resolve(kind, name, base)
        if not (isinstance(target, type) and issubclass(target, Family)):
            entry = self.entry(kind, name)
            raise PluginError(f"{entry}: its name ends with a colon, so {entry.target} must be a Family")
        return target

    @property
    def _broken(self) -> str:
        return "".join(f"; {problem}" for problem in self.broken)

    def method_for(self, name: str, input: cards.Input | None) -> str:
        """Returns the name of a method, or of its counterpart on images if images are wanted."""
        entry = self.entry("method", name)
        other = entry.card.for_images if input == "images" and entry.card.input != "images" else ""
        if other and ("method", other) not in self._entries:
            problem = f"no method has this name{near_misses(other, self.names('method'))}"
            advice = "install what registers it, or correct the card"
            raise PluginError(f"{entry}: its card says for_images = {other!r}, and {problem}; {advice}")
        return other or name

    def resolve(self, kind: str, name: str, base: type) -> Any:
        """Imports what a name stands for; a PluginError names the plugin if that fails or gives no `base`."""
        entry, advice = self.entry(kind, name), "update or uninstall that plugin"
        if entry.given is not None:
            return entry.given
        module, attribute = entry.target.split(":")
        try:
            target = getattr(import_module(module), attribute)
        except Exception as error:
            reason = f"from {entry.target} ({one_line(error)})"
            raise PluginError(f"{entry} cannot be loaded {reason}; {advice}") from error
        if not (issubclass(target, base) if isinstance(target, type) else isinstance(target, base)):
            raise PluginError(f"{entry}: {entry.target} is no {base.__name__}; {advice}")
        return target
