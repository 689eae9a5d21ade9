"""Checks of how a plugin registers something, the same for methods, data sets and evaluators."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from zslbench.discovery.plugins import GROUP
from zslbench.discovery.registry import NOUNS
from zslbench.testing.subjects import DatasetSubject, Subject
from zslbench.testing.verdicts import CheckFailed, Skip

HEAVY = ("torch", "pandas")
_LOAD_ALONE = """
import json, sys
sys.path[:], group, distribution, name = json.loads(sys.argv[1])
from importlib.metadata import entry_points
from typing import Any
from zslbench.discovery.plugins import Plugins
points = [p for p in entry_points(group=group) if p.name == name and p.dist and p.dist.name == distribution]
[plugin] = Plugins(points).loaded
print(json.dumps([plugin.problem, sorted({module.split(".")[0] for module in sys.modules})]))
"""


def check_registration_is_light(subject: Subject[Any]) -> None:
    """Registering imports neither torch nor pandas, so that `zslbench list` stays quick."""
    distribution, _, name = (subject.entry.plugin if subject.entry else "").partition(":")
    points = entry_points(group=GROUP, name=name)
    if not any(point.dist and point.dist.name == distribution for point in points):
        raise Skip("it is not registered by an entry point")
    problem, modules = _loaded_alone(distribution, name)
    if problem:
        raise CheckFailed(f"plugin {distribution}:{name} does not work alone: {problem}")
    if heavy := [module for module in HEAVY if module in modules]:
        raise CheckFailed(
            f"registering plugin {distribution}:{name} imports {' and '.join(heavy)}; import them, and modules that "
            'do, in the module that "module:attribute" names'
        )


def check_importable(subject: Subject[Any]) -> None:
    """What it was registered as can be imported, and is a class, or for data sets an instance."""
    noun, target = NOUNS[subject.kind], subject.target
    if isinstance(subject, DatasetSubject):
        if isinstance(target, type):
            raise CheckFailed(f"a data set must be registered as an instance, but {target.__name__} is a class")
    elif not isinstance(target, type):
        raise CheckFailed(f"the {noun} must be registered as a class, but this is a {type(target).__name__} object")


@cache
def _loaded_alone(distribution: str, name: str) -> tuple[str, frozenset[str]]:
    """Loads one entry point in a process of its own; returns its problem and all modules that are then imported."""
    arguments = json.dumps([sys.path, GROUP, distribution, name])
    process = subprocess.run(
        [sys.executable, "-c", _LOAD_ALONE, arguments], capture_output=True, text=True, check=False
    )
    if process.returncode:
        return (process.stderr.strip().splitlines() or ["it ended the process"])[-1], frozenset()
    problem, modules = json.loads(process.stdout.splitlines()[-1])
    return problem, frozenset(modules)
