"""What `zslbench describe` shows about a registered name: facts from its card and class, and their text."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.text import Text

from zslbench.api.cards import SCALINGS, MethodCard, Variant
from zslbench.api.dataset import Dataset
from zslbench.api.embedder import Embedder
from zslbench.api.engine import Engine
from zslbench.api.evaluator import Evaluator
from zslbench.api.params import Params
from zslbench.data.xlsa17 import XLSA17Dataset
from zslbench.discovery.plugins import plugins, registry
from zslbench.discovery.registry import NOUNS, Entry
from zslbench.errors import printable
from zslbench.report.published import Group, as_json, groups_of, printed_as, usable_numbers
from zslbench.runs.stacking import why_alone

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
TYPES: dict[Any, str] = {int: "whole number", float: "number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class Description:
    """Facts about one entry as JSON values, and what papers print of it; their first source counts in tables."""

    entry: Entry
    facts: dict[str, Any]
    published: list[Group]

    @property
    def as_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        printed = {"published": as_json(self.published)} if self.entry.kind in ("method", "dataset") else {}
        return {**self.facts, **printed}


def describe(entry: Entry, root: Path) -> Description:
    """Returns what is known about an entry; a method, a data set, below `root`, or an evaluator is imported.

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
    facts, printed = {**about, **asdict(entry.card), **_declared(entry, root)}, []
    if entry.kind in ("method", "dataset"):
        printed = groups_of(n for n in usable_numbers() if getattr(n, entry.kind) == printed_as(entry))
    return Description(entry, facts, printed)


def _declared(entry: Entry, root: Path) -> dict[str, Any]:
    """Returns what the class or the instance says that an entry stands for."""
    if entry.kind == "method":
        method = registry().resolve("method", entry.name, Embedder)
        scaling = {key: getattr(method, key) for name in SCALINGS for key in (name, f"{name}s")}
        alone = why_alone(method, entry.card.setting) if isinstance(entry.card, MethodCard) else ""
        return {"version": method.version, **scaling, "alone": alone, "parameters": _parameters(method.params_type)}
    if entry.kind == "dataset":
        dataset = registry().resolve("dataset", entry.name, Dataset)
        return {
            "options": _parameters(type(dataset.options), dataset.options),
            "path": str(dataset.folder(root).absolute()) if isinstance(dataset, XLSA17Dataset) else None,
            "present_features": dataset.feature_files(root) if isinstance(dataset, XLSA17Dataset) else [],
            "missing": dataset.missing(root),
        }
    if entry.kind == "engine":
        engine = registry().resolve("engine", entry.name, Engine)
        return {"options": _parameters(type(engine.options), engine.options)}
    if entry.kind == "evaluator":
        evaluator = registry().resolve("evaluator", entry.name, Evaluator)
        needs = {name: getattr(evaluator, name) for name in ("needs_validation", "needs_images", "on_request")}
        return {"version": evaluator.version, "metrics": [asdict(metric) for metric in evaluator.metrics], **needs}
    return {}


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


WIDTH, WIDEST = 80, 100
"""Columns in a pipe, and those that a terminal is used of: longer lines are hard to read."""
USES = {
    "inductive": "training sees no unseen class embedding and no test image",
    "semantic-transductive": "training sees the unseen class embeddings, and no test image",
    "transductive": "training sees the unseen class embeddings and unlabelled test images",
}

VARIANTS = {
    "ablations": "the method without something",
    "controls": "the method with something else in place of the cause",
}


def print_description(description: Description, console: Console) -> None:
    """Prints a description; headings stand out in a terminal, and a pipe gets 80 columns of plain text."""
    width = min(console.width, WIDEST) if console.is_terminal else WIDTH
    for line in lines_of(description, width):
        heading = line and not line.startswith(" ")
        console.print(Text(printable(line), style="bold" if heading else ""), soft_wrap=True)


def lines_of(description: Description, width: int) -> Iterator[str]:
    """Yields the lines of a description, no longer than `width` unless a single word is."""
    entry, facts = description.entry, description.facts
    title = "" if entry.title == entry.name else f": {entry.title}"
    yield f"{NOUNS[entry.kind]} {entry.name}{title}"
    yield from _wrapped(facts["summary"], width)
    yield from _table([(label, text) for label, text in _about(description) if text], width)
    for heading, lines in _sections(description, width):
        yield from ("", *_wrapped(heading, width, indent=0, hang=2), *lines)


def _sections(description: Description, width: int) -> Iterator[tuple[str, Iterable[str]]]:
    """Yields the heading and the lines of each section that there is something for."""
    facts, entry, kind = description.facts, description.entry, description.entry.kind
    name = os.path.relpath(entry.file) if entry.file else entry.name
    if metrics := facts.get("metrics"):
        yield "metrics", _table([(metric["name"], _metric(metric)) for metric in metrics], width)
    if parameters := facts.get("parameters"):
        yield f"hyper-parameters (`-p NAME=VALUE`, or `{name}:NAME=VALUE,...`)", _parameter_lines(parameters, width)
    if options := facts.get("options"):
        yield f"options (`--{kind} {name}:NAME=VALUE,...`)", _parameter_lines(options, width)
    if presets := facts.get("presets"):
        yield f"presets (`{name}@PRESET`)", _presets(presets, width)
    for noun, what in VARIANTS.items():
        if variants := getattr(entry.card, noun, None):
            yield f"{noun}: {what}", _variants(variants, name, width)
    if exhibits := facts.get("exhibits"):
        captions = [(key, exhibit["caption"].partition(". ")[0].rstrip(".")) for key, exhibit in exhibits.items()]
        yield f"figures and tables (`zslbench paper {name}`)", _table(captions, width)
    if description.published:
        yield (
            f"published numbers (`zslbench published --{kind} {name}` shows all)",
            _published_lines(description, width),
        )


def _about(description: Description) -> Iterator[tuple[str, str]]:
    kind, facts = description.entry.kind, description.facts
    yield "paper", facts.get("paper", "")
    yield "url", facts.get("url", "")
    if kind == "method":
        yield "setting", f"{facts['setting']}: {USES[facts['setting']]}"
        scaled = (_scaled("features", "scale", facts), _scaled("class embeddings", "semantics_scale", facts))
        yield "input", "; ".join(filter(None, [facts["input"], *scaled]))
        needs = ["class embeddings that are attributes"] * facts["needs_attributes"]
        needs += ["features and class embeddings of one space"] * facts["needs_shared_space"]
        yield "needs", " and ".join(needs)
        alone = " ".join(facts["alone"].split())
        yield "training", f"one fit at a time, whatever --stack says: {alone}" * bool(alone)
    elif kind == "dataset":
        yield from _about_dataset(facts)
    elif kind == "evaluator":
        needs = ["a fit without the validation classes"] * facts["needs_validation"]
        yield "needs", " and ".join(needs + ["images as input"] * facts["needs_images"])
        yield "measures", "where one of its metrics is asked for, by --metrics for one" * facts["on_request"]
    own = f", {kind} version {facts['version']}" if "version" in facts else ""
    yield "plugin", " ".join(filter(None, [facts["plugin"], facts["plugin_version"]])) + own


def _scaled(what: str, name: str, facts: Mapping[str, Any]) -> str:
    searched = f" (search {','.join(facts[f'{name}s'])})" if facts[f"{name}s"] else ""
    return f"{what} are scaled by {facts[name]}{searched}" if searched or facts[name] != "none" else ""


def _about_dataset(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for label in ("citation", "homepage", "licence"):
        yield label, facts[label]
    if sizes := facts["sizes"]:
        yield "classes", f"{sizes['seen']} seen and {sizes['unseen']} unseen"
        parts = (f"{sizes[part]:,} {part}" for part in ("trainval", "test_seen", "test_unseen"))
        yield "images", f"{sizes['images']:,}: {', '.join(parts)}"
        yield "embeddings", f"{sizes['embedding']} {'attributes' if facts['attributes'] else 'dimensions'}"
    there = f"; present: {', '.join(facts['present_features'])}" if facts["present_features"] else ""
    yield "features", f"{facts['default_features']} unless you name others{there}"
    if facts["missing"]:
        yield "absent", facts["missing"]
    else:
        yield "present", facts["path"] or ("needs no files" if facts["embedded"] else "yes")


def _metric(metric: Mapping[str, Any]) -> str:
    unit = "percent" if metric["percent"] else "a number"
    return f"{metric['title']}, {unit}, {'higher' if metric['higher_is_better'] else 'lower'} is better"


def _parameter_lines(parameters: list[dict[str, Any]], width: int) -> Iterator[str]:
    """Yields two lines for each: name, default, valid values and search space; what it is."""
    shown = [("name", "default"), *((parameter["name"], _value(parameter["default"])) for parameter in parameters)]
    names, defaults = (max(map(len, column)) for column in zip(*shown, strict=True))
    first, *heads = (f"{name:{names}}  {default:{defaults}}  " for name, default in shown)
    yield f"  {first}valid; search space"
    for head, parameter in zip(heads, parameters, strict=True):
        search = f"; search {parameter['search']}" if parameter["search"] else ""
        yield from _wrapped(parameter["valid"] + search, width, head)
        yield from _wrapped(parameter["help"], width, indent=6)


def _presets(presets: Mapping[str, Mapping[str, Any]], width: int) -> Iterator[str]:
    for name, preset in presets.items():
        only = f" (for features {preset['features']} only)" if preset["features"] else ""
        yield from _wrapped(f"{preset['source']}{only}", width, f"{name}  ", hang=6)
        yield from _wrapped(_values(preset["params"]), width, indent=6)
        for dataset, values in preset["datasets"].items():
            yield from _wrapped(_values(values), width, f"{dataset}: ", indent=6)


def _variants(variants: Mapping[str, Variant], name: str, width: int) -> Iterator[str]:
    for key, variant in variants.items():
        yield from _wrapped(f"{variant.title}: `{variant.label(name)}`", width, f"{key}  ", hang=6)
        yield from _wrapped(variant.question, width, indent=6)


def _published_lines(description: Description, width: int) -> Iterator[str]:
    """Yields a line for each data set of a method: what its first source prints; for a data set only a count."""
    if description.entry.kind == "dataset":
        count = sum(len(group.values) for group in description.published)
        yield from _wrapped(f"{count} numbers of {len({g.method for g in description.published})} methods", width)
        return
    first: dict[str, Group] = {}
    for group in description.published:
        if group.split == "PS":
            first.setdefault(group.dataset, group)
    sources = list(dict.fromkeys(f"{group.source}; on {group.made_on}" for group in first.values()))
    marks = {source: f" [{i}]" if len(sources) > 1 else "" for i, source in enumerate(sources, start=1)}
    rows = []
    for group in first.values():
        printed = ", ".join(f"{metric} {value:f}" for metric, value in group.values.items())
        rows.append((group.dataset, printed + marks[f"{group.source}; on {group.made_on}"]))
    yield from _table(rows, width) if rows else ["  none on the proposed split"]
    for source in sources:
        yield from _wrapped(f"{marks[source]} {source}".strip(), width, hang=6)


def _values(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in values.items())


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _table(rows: list[tuple[str, str]], width: int) -> Iterator[str]:
    first = max((len(label) for label, _ in rows), default=0)
    for label, text in rows:
        yield from _wrapped(text, width, f"{label:{first}}  ")


def _wrapped(text: str, width: int, head: str = "", indent: int = 2, hang: int = 0) -> list[str]:
    """Returns a text wrapped between words, after a head; further lines stand below its first word, or at `hang`."""
    start = " " * indent + head
    if head and len(start) + max(map(len, text.split()), default=0) > width:  # an address, say, has a line of its own
        return [start.rstrip(), *_wrapped(text, width, indent=4)]
    return textwrap.wrap(
        " ".join(text.split()),
        width,
        initial_indent=start,
        subsequent_indent=" " * (hang or len(start)),
        break_long_words=False,
        break_on_hyphens=False,
    )
