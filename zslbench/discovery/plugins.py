"""Finds plugins through entry points, and keeps a broken one from hurting the others.

pluggy's own loader stops at the first plugin that fails to import, silently skips a second entry point of the same
name, and lets a mistyped hook pass. That is why this loop exists.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy
from packaging.requirements import Requirement

from zslbench import __version__
from zslbench.discovery import hookspecs
from zslbench.discovery.registry import Registry
from zslbench.errors import near_misses

GROUP = "zslbench"
_PREFIX = "zslbench_"
_BUILT_IN = "zslbench"


@dataclass(frozen=True)
class Plugin:
    """One entry point and what became of it; `problem` is empty for a plugin that works."""

    name: str
    distribution: str
    version: str
    module: str
    problem: str = ""


class _Manager(pluggy.PluginManager):
    """A plugin manager for which any function named `zslbench_*` is a hook implementation."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        options = super().parse_hookimpl_opts(plugin, name)
        if options is None and name.startswith(_PREFIX) and callable(getattr(plugin, name)):
            return {}
        return options


class Plugins:
    """The plugins of this installation, each registered whole or not at all."""

    def __init__(self, points: Iterable[EntryPoint] | None = None) -> None:
        self.registry = Registry()
        self._manager = _Manager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        found = entry_points(group=GROUP) if points is None else points
        self.loaded = [self._load(point) for point in sorted(found, key=_load_order)]

    @property
    def problems(self) -> list[Plugin]:
        """The plugins that do not work."""
        return [plugin for plugin in self.loaded if plugin.problem]

    def _load(self, point: EntryPoint) -> Plugin:
        distribution = point.dist.name if point.dist else "?"
        version = point.dist.version if point.dist else "?"
        name = f"{distribution}:{point.name}"
        problem = ""
        try:
            if point.dist and distribution != _BUILT_IN:
                _check_interface(point.dist.requires or [])
            self._register(name, point.load())
        except (Exception, SystemExit) as error:
            problem = flat(error)
            self.registry.broken.append(f"plugin {name} does not work ({problem})")
        return Plugin(point.name, distribution, version, point.value, problem)

    def _register(self, name: str, module: Any) -> None:
        if self._manager.has_plugin(name):
            raise ValueError(f"the distribution has two entry points of this name in the group {GROUP!r}")
        if self._manager.is_registered(module):
            raise ValueError("the same module is registered by another entry point")
        try:
            self._manager.register(module, name)
            self._check_hooks(module)
            staged = Registry()
            register = getattr(module, "zslbench_register", None)
            if register is not None:
                register(registry=staged)
            self.registry.adopt(staged, name)
        except BaseException:
            self._manager.unregister(name=name)
            raise

    def _check_hooks(self, module: Any) -> None:
        callers = self._manager.get_hookcallers(module) or []
        if not callers:
            raise ValueError(f"it has no hook: no function whose name starts with {_PREFIX!r}")
        known = [hook for hook in dir(hookspecs) if hook.startswith(_PREFIX)]
        for caller in callers:
            if not caller.has_spec():
                raise ValueError(f"there is no hook {caller.name!r}{near_misses(caller.name, known)}")

    def notify(self, hook: str, **arguments: Any) -> None:
        """Calls one hook of every plugin; one that raises is warned about and costs the others nothing."""
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            try:
                implementation.function(*(arguments[argument] for argument in implementation.argnames))
            except Exception as error:
                name, reason = implementation.plugin_name, flat(error)
                warnings.warn(f"plugin {name!r}: {hook} failed ({reason})", stacklevel=2)


def _check_interface(requirements: list[str]) -> None:
    """Compares the versions of zslbench that a distribution says it was written for with this one.

    An installer sees to that only while it installs; afterwards zslbench may be upgraded under the plugin.
    """
    for text in requirements:
        if text.startswith(_BUILT_IN) and "extra ==" not in text:
            requirement = Requirement(text)
            if requirement.name == _BUILT_IN and not requirement.specifier.contains(__version__, prereleases=True):
                needed = f"zslbench {requirement.specifier}, and this is {__version__}"
                raise ValueError(f"it was written for {needed}; update that plugin, or install the zslbench it needs")


def flat(error: BaseException) -> str:
    """Returns the type and the whole message of an error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _load_order(point: EntryPoint) -> tuple[bool, str, str]:
    distribution = point.dist.name if point.dist else "?"
    return distribution != _BUILT_IN, distribution, point.name


@cache
def plugins() -> Plugins:
    """Returns this installation's plugins, found once in a process."""
    return Plugins()


def registry() -> Registry:
    """Returns the registry that the plugins filled."""
    return plugins().registry
