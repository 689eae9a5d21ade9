"""The report: one HTML page of results that needs no other file and no network, from templates beside this module.

Texts come from data, plugins and other people's files. The template escapes them, control characters are made visible,
data for scripts stand in JSON in which no `<` is left, and the page's policy lets no script run but its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import zslbench
from zslbench.errors import printable
from zslbench.report.figures import COLOURS
from zslbench.report.html.figures import search_data, section_data
from zslbench.report.html.sections import sections_of

if TYPE_CHECKING:
    from zslbench.report.results import Results

HERE = Path(__file__).parent
SCRIPTS = ("vendor/chart.umd.min.js", "tables.js", "charts.js", "classes.js")
"""In the order in which they run; the first is a released library, whose licence stands beside it and on the page."""


def report_of(results: Results, command: str = "") -> str:
    """Returns the page of a report; `command` is what makes the results again.

    Raises:
        DataError: a file of a run is damaged.
    """
    sections = sections_of(results)
    scripts = [_script(name) for name in SCRIPTS]
    data: dict[str, Any] = {"colours": COLOURS, "sections": [section_data(section) for section in sections]}
    for section, own in zip(sections, data["sections"], strict=True):
        own["searches"] = [search_data(search) for search in section.searches]
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            sections=sections,
            errors=results.errors,
            command=command,
            records=[result.record for result in results],
            version=zslbench.__version__,
            css=Markup((HERE / "report.css").read_text(encoding="utf-8")),
            scripts=scripts,
            policy=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
            data=_embedded(data),
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) or not isinstance(value, str) else printable(value),
    )


def _script(name: str) -> Markup:
    """Returns a script of ours or of the library, without the name of a file that only developers look for."""
    text = (HERE / name).read_text(encoding="utf-8")
    return Markup(re.sub(r"\n//# sourceMappingURL=.*", "", text))


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _embedded(data: Any) -> Markup:
    """Returns JSON in which nothing ends the element that it stands in; control characters are visible."""
    text = json.dumps(_printable(data), separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _printable(data: Any) -> Any:
    if isinstance(data, str):
        return printable(data)
    if isinstance(data, dict):
        return {printable(key): _printable(value) for key, value in data.items()}
    return [_printable(value) for value in data] if isinstance(data, list | tuple) else data
