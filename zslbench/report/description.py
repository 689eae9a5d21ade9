"""What `zslbench describe` says about a registered name: its card, and what its class or instance declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from zslbench.api.dataset import Dataset
from zslbench.api.embedder import Embedder
from zslbench.api.evaluator import Evaluator
from zslbench.api.params import Params
from zslbench.data.xlsa17 import XLSA17Dataset
from zslbench.discovery.plugins import plugins, registry
from zslbench.discovery.registry import Entry
from zslbench.report.published import printed_as, usable_numbers
from zslbench.report.published_view import Group, as_json, groups_of

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
TYPES: dict[Any, str] = {int: "whole number", float: "number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class Description:
    """Facts about one entry.

    Attributes:
        entry: what is described.
        facts: by name, as JSON values.
        published: what papers print about it, in the order of their files; the first source counts in tables.
    """

    entry: Entry
    facts: dict[str, Any]
    published: list[Group]

    @property
    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        printed = {"published": as_json(self.published)} if self.entry.kind in ("method", "dataset") else {}
        return {**self.facts, **printed}


def describe(entry: Entry, root: Path) -> Description:
    """Returns what is known about an entry; a method, a data set or an evaluator is imported.

    Args:
        entry: what to describe.
        root: the folder of the data sets.

    Raises:
        PluginError: it cannot be imported, or is no such thing.
    """
    versions = {f"{plugin.distribution}:{plugin.name}": plugin.version for plugin in plugins().loaded}
    about = {
        "kind": entry.kind,
        "name": entry.name,
        "plugin": entry.plugin,
        "plugin_version": versions.get(entry.plugin),
    }
    declared: dict[str, Callable[[], dict[str, Any]]] = {
        "method": partial(_method, entry),
        "dataset": partial(_dataset, entry, root),
        "evaluator": partial(_evaluator, entry),
    }
    own = declared[entry.kind]() if entry.kind in declared else {}
    return Description(entry, {**about, **asdict(entry.card), **own}, _published(entry))


def _method(entry: Entry) -> dict[str, Any]:
    method = registry().resolve("method", entry.name, Embedder)
    return {"version": method.version, "scale": method.scale, "parameters": _parameters(method.params_type)}


def _dataset(entry: Entry, root: Path) -> dict[str, Any]:
    dataset = registry().resolve("dataset", entry.name, Dataset)
    return {
        "options": _parameters(type(dataset.options), dataset.options),
        "path": str(dataset.folder(root).absolute()) if isinstance(dataset, XLSA17Dataset) else None,
        "present_features": dataset.feature_files(root) if isinstance(dataset, XLSA17Dataset) else [],
        "missing": dataset.missing(root),
    }


def _evaluator(entry: Entry) -> dict[str, Any]:
    evaluator = registry().resolve("evaluator", entry.name, Evaluator)
    return {
        "version": evaluator.version,
        "metrics": [asdict(metric) for metric in evaluator.metrics],
        "needs_validation": evaluator.needs_validation,
        "needs_images": evaluator.needs_images,
    }


def _parameters(kind: type[Params], chosen: Params | None = None) -> list[dict[str, Any]]:
    """Returns name, default (or the value `chosen`), valid values, search space and help of each parameter."""
    spaces = kind.search_space()
    return [
        {
            "name": name,
            "default": to_jsonable_python(
                getattr(chosen, name) if chosen else field.get_default(call_default_factory=True), fallback=str
            ),
            "valid": _valid(field),
            "search": str(spaces[name]) if name in spaces else None,
            "help": field.description or "",
        }
        for name, field in kind.model_fields.items()
    ]


def _valid(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, get_args(field.annotation)))
    noun = TYPES.get(field.annotation, str(field.annotation))
    limits = [f"{sign} {getattr(m, key):g}" for m in field.metadata for key, sign in BOUNDS.items() if hasattr(m, key)]
    return f"{noun} {' and '.join(limits)}".strip()


def _published(entry: Entry) -> list[Group]:
    if entry.kind not in ("method", "dataset"):
        return []
    return groups_of(number for number in usable_numbers() if getattr(number, entry.kind) == printed_as(entry))
