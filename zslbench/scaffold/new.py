"""Writes a new distribution from templates: an installable plugin whose tests pass."""

from __future__ import annotations

import shutil
import tempfile
from datetime import date
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Literal

import zslbench
from zslbench.api.cards import is_name
from zslbench.discovery.plugins import registry
from zslbench.discovery.registry import NOUNS
from zslbench.errors import UsageError
from zslbench.files import writing

Kind = Literal["method", "dataset", "evaluator"]

TEMPLATES = Path(__file__).parent / "templates"
SUFFIX = ".template"
LONGEST = 60


def create(kind: Kind, name: str, into: Path) -> Path:
    """Writes the distribution `zslbench-NAME` into a folder, whole or not at all; returns where it is.

    Raises:
        UsageError: the name is not one that commands could use, or is taken; or the place is taken.
    """
    noun = NOUNS[kind]
    if not is_name(name):
        raise UsageError(f"{noun} name {name!r} is not lower-case letters, digits and single hyphens")
    if len(name) > LONGEST:
        raise UsageError(f"{noun} name {name[:20]!r}... has {len(name)} characters; {LONGEST} are the most")
    if name in registry().names(kind):
        owner = registry().entry(kind, name).plugin
        raise UsageError(f"the {noun} name {name!r} is taken by plugin {owner!r}; choose another")
    values = substitutions(kind, name)
    if find_spec(values["package"]) is not None:
        raise UsageError(f"a package {values['package']!r} is installed already; choose another name")
    target = into / values["distribution"]
    if target.exists():
        raise UsageError(f"{target} exists already, and is not overwritten; remove it, or choose another name")
    if not into.is_dir():
        raise UsageError(f"--into {into}: that is no folder")
    with writing(target), tempfile.TemporaryDirectory(dir=into, prefix=".new-") as folder:
        for home in (TEMPLATES / "common", TEMPLATES / kind):
            for source in sorted(home.rglob(f"*{SUFFIX}")):
                path = Path(folder) / "whole" / _place(source.relative_to(home), values["package"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(Template(source.read_text(encoding="utf-8")).substitute(values), encoding="utf-8")
        shutil.move(Path(folder) / "whole", target)
    return target


def substitutions(kind: Kind, name: str) -> dict[str, str]:
    """Returns what the templates' placeholders stand for."""
    identifier = name.replace("-", "_")
    words = [word.capitalize() for word in name.split("-")]
    class_name = "".join(words)
    taken = {class_name, f"{class_name}Params"} & set(zslbench.__all__)  # embedder, gradient
    if taken or not class_name.isidentifier() or iskeyword(class_name):  # 3d, none
        class_name = f"{kind.capitalize()}{class_name}"
    return {
        "name": name,
        "noun": NOUNS[kind],
        "distribution": f"zslbench-{name}",
        "package": f"zslbench_{identifier}",
        "metric": identifier,
        "class_name": class_name,
        "title": " ".join(words),
        "year": str(date.today().year),
        "bounds": bounds(zslbench.__version__),
    }


def bounds(version: str) -> str:
    """Returns the versions whose interfaces are those of this one: `>=0.1,<0.2`, from 1.0 on `>=1,<2`."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return f">={major},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"


def _place(template: Path, package: str) -> Path:
    parts = [package if part == "package" else part.replace("dot_", ".") for part in template.parts]
    return Path(*parts[:-1], parts[-1].removesuffix(SUFFIX))
