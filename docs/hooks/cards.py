"""Writes pages of built-in methods and data sets from their cards, and an example of a report, for the site."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from zslbench import Bench
from zslbench.discovery.plugins import registry
from zslbench.report.description import describe
from zslbench.report.published import group_tables
from zslbench.report.render import as_markdown, escaped_markdown
from zslbench.report.table import Table, table_of

PAGES = {"method": "Built-in methods", "dataset": "Built-in data sets"}
LEAD = {
    "method": "What `zslbench describe NAME` prints of each method that comes with zslbench. You set a hyper-parameter "
    "by `-p NAME=VALUE`; `tune` searches those that are searched.",
    "dataset": "What `zslbench describe NAME` prints of each data set that comes with zslbench.",
}
FACTS = {
    "method": ("setting", "input", "scale", "semantics_scale"),
    "dataset": ("citation", "homepage", "licence"),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for each kind."""
    for kind, title in PAGES.items():
        own = [entry for entry in registry().entries(kind) if entry.plugin.startswith("zslbench:")]
        sections = [f"# {title}", LEAD[kind], *(section(describe(entry, Path()), kind) for entry in own)]
        uri = f"reference/built-in-{kind}s.md"
        files.append(File.generated(config, uri, content="\n\n".join(sections) + "\n"))
    files.append(File.generated(config, "guide/example.html", content=example()))
    return files


def example() -> str:
    """Returns the report of a comparison on the embedded digits."""
    command = "zslbench compare spaen devise sae --dataset digits --seeds 2 --out example.html"
    with TemporaryDirectory() as folder, Bench(store=folder, on_event=None) as bench:
        return bench.compare(["spaen", "devise", "sae"], dataset="digits", seeds=2).text("html", command=command)


def section(about: Any, kind: str) -> str:
    """Returns the section of one method or data set."""
    facts = about.facts
    parts = [f"## {escaped_markdown(facts['title'])} {{ #{facts['name']} }}", f"`{facts['name']}`: {facts['summary']}."]
    if facts.get("paper"):
        parts.append(f"[{escaped_markdown(facts['paper'])}]({facts['url']})" if facts["url"] else facts["paper"])
    parts += [f"- {name.replace('_', ' ')}: {facts[name]}" for name in FACTS[kind] if facts.get(name)]
    tables = [parameters(facts.get("parameters") or facts.get("options") or [])]
    if facts.get("presets"):
        tables.append(presets(facts["presets"]))
    parts.append(as_markdown([table for table in tables if table.lines], level=0))
    if kind == "method" and about.published:
        parts += ["**Published numbers**, per-class top-1 in percent, AUSUC as a fraction:"]
        parts.append(as_markdown(group_tables(about.published), level=0))
    return "\n\n".join(parts).strip()


def parameters(found: list[dict[str, Any]]) -> Table:
    """Returns a table of hyper-parameters or options."""
    lines = [[p["name"], str(p["default"]), p["valid"], p["search"] or "", p["help"]] for p in found]
    return table_of(["name", "default", "valid", "searched", "what it is"], lines, 5)


def presets(found: dict[str, Any]) -> Table:
    """Returns a table of presets."""

    def told(values: dict[str, Any]) -> str:
        return " ".join(f"{name}={value}" for name, value in values.items())

    lines = []
    for name, one in found.items():
        lines.append([name, one["source"], told(one["params"])])
        lines += [["", dataset, told(values)] for dataset, values in one["datasets"].items()]
    return table_of(["preset", "source, or data set", "values"], lines, 3)
