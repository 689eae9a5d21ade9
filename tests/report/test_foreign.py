"""Names and reasons of other people: they do nothing to a terminal, a page, a paper or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from zslbench.api.events import Event
from zslbench.errors import printable
from zslbench.report.progress import Display
from zslbench.report.render import FORMATS, escaped_markdown, html_table
from zslbench.report.table import Cell, Column, Line, Table
from zslbench.report.terminal import show, show_lines

EVIL = "\x1b[31mred\x1b[0m\x9b2J\nsecond\u202eline\r\x07 [bold]x[/bold] [red]"
NAMES = [EVIL, "=HYPERLINK(1)", "+1+1", "-2+3", "@SUM(1)", "# title", "> quote", "1. list", "<script>x</script>", "a|b"]
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


def page_of(tables: list[Table]) -> str:
    return "\n".join(map(html_table, tables))


RENDERERS = {**FORMATS, "html": page_of}


def table_with(name: str) -> Table:
    line = Line((Cell(name), Cell("1.0")), group=name)
    data = [{"label": name, "ausuc": -0.5}]
    return Table(
        name, [Column(name, "left"), Column("AUSUC", group=name)], [line], [name], name, ["label", "ausuc"], data
    )


@pytest.mark.parametrize("name", NAMES)
def test_no_format_lets_a_control_character_or_a_line_end_out(name: str) -> None:
    harmless = FORMATS["text"]([table_with("harmless")]).count("\n")
    for format, render in RENDERERS.items():
        text = render([table_with(name)])
        assert not CONTROL.search(text), format
        if format in ("text", "markdown", "latex", "csv", "html"):
            assert text.count("\n") == render([table_with("harmless")]).count("\n"), format
    for plain in (True, False):
        out = io.StringIO()
        show([table_with(name)], Console(file=out, width=300), plain=plain)
        assert not CONTROL.search(out.getvalue())
        assert harmless
    out = io.StringIO()
    show_lines(table_with(name), Console(file=out, width=300))
    assert not CONTROL.search(out.getvalue())


def test_what_looks_like_markup_of_the_terminal_is_text() -> None:
    out = io.StringIO()
    show([table_with("[red]x[/red]")], Console(file=out, width=300, force_terminal=True), plain=False)
    assert out.getvalue().count("[red]x[/red]") >= 5  # title, heading, group, cell, note


def test_a_spreadsheet_takes_no_name_for_a_formula_and_numbers_stay_numbers() -> None:
    for name in NAMES:
        [line] = csv.DictReader(io.StringIO(FORMATS["csv"]([table_with(name)])))
        assert not line["label"].startswith(("=", "+", "-", "@"))
        assert line["label"].lstrip("'") == printable(name)
        assert line["ausuc"] == "-0.5"


def test_no_name_is_an_element_of_a_page() -> None:
    found: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            found.add(tag)

    parser = Tags()
    parser.feed(page_of([table_with("<script>x</script>"), table_with('"><img src=x onerror=y>')]))
    assert not found & {"script", "img"}


def test_no_name_is_markup_of_a_page_in_markdown() -> None:
    for name in NAMES:
        lines = FORMATS["markdown"]([table_with(name)]).splitlines()
        assert [line for line in lines if line.startswith("#")] == [f"### {escaped_markdown(name)}"]
        assert not any(line.startswith((">", "1.", "<")) for line in lines)
        [note] = [line for line in lines if line.startswith("- ")]
        assert not re.match(r"- ([#>+=-]|\d+[.)] )", note)
    assert escaped_markdown("[x](javascript:y) ![i](z) _a_ **b** `c` &lt;") == (
        r"\[x\](javascript:y) !\[i\](z) \_a\_ \*\*b\*\* \`c\` \&lt;"
    )
    assert escaped_markdown("batch_size=28.5") == "batch_size=28.5"


def test_no_name_is_an_argument_of_latex() -> None:
    text = FORMATS["latex"]([table_with("[2cm] \\input{x}")])
    assert "\\\\\n[" not in text and "\n[" not in text
    assert "\\input" not in text


def test_json_says_what_the_name_was() -> None:
    [found] = json.loads(FORMATS["json"]([table_with(EVIL)]))
    assert found["title"] == EVIL


def test_what_a_run_says_is_one_harmless_line(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(plain=True)
    display(Event("began", total=1))
    display(Event("started", run=EVIL))  # type: ignore[arg-type]
    display(Event("failed", run=EVIL, error=ValueError(EVIL)))  # type: ignore[arg-type]
    display(Event("said", text=EVIL))
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 3 and not CONTROL.search(err)
    assert err.count("[bold]x[/bold]") >= 3
