"""Every format holds the same table: read back, and well-formed whatever the names are."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from statistics import mean, stdev
from typing import Any

import pytest

from zslbench.records.store import Store
from zslbench.report.builders import field_tables
from zslbench.report.render import FORMATS, html_table
from zslbench.report.table import Cell, Column, Line, Table, grouped
from zslbench.runs.row import Row

METRICS = ("acc_uu", "acc_ut", "acc_st", "h", "ausuc", "acc_ut_cal", "acc_st_cal", "h_cal", "gamma")
STRANGE = r"A|B & 50%_of #1 {x} ~y^2 \z $p$ <b> *c* `d`, 4->5"
"""A name with what each of the formats takes for markup."""
Edit = Callable[..., Row]


@pytest.fixture
def tables(rows: list[Row], store: Store) -> list[Table]:
    """Two tables: one with published lines, a strange name and a refused row of another setting, and one of one row."""
    eszsl, sae, devise = rows
    runs = [replace(j, spec=j.spec.model_copy(update={"features": "res101"})) for j in eszsl.runs]
    compared = replace(eszsl, runs=runs, dataset_title="SUN")
    strange = replace(sae, title=STRANGE)
    refused = replace(devise, runs=[], records=[], refusal=f"no {STRANGE}", uses="semantic-transductive")
    return field_tables([compared, strange, refused, replace(devise, source="elsewhere")], store)


def page_of(tables: list[Table]) -> str:
    return "\n".join(map(html_table, tables))


def unescaped_latex(text: str) -> str:
    """Returns what LaTeX would print, for the few commands that are needed."""
    commands = {r"\textbackslash{}": "\\", r"\textasciitilde{}": "~", r"\^{}": "^", r"\textless{}": "<"}
    commands |= {r"\textgreater{}": ">", r"\textbar{}": "|", r"$\to$": "->", r"$\pm$": "±"}
    commands |= {f"\\{c}": c for c in "&%$#_{}"}
    pattern = "|".join(map(re.escape, sorted(commands, key=len, reverse=True)))
    return re.sub(pattern, lambda found: commands[found[0]], text)


def markdown_cells(line: str) -> list[str]:
    """Returns the cells of a line of a Markdown table, as GitHub cuts it: at bars that are not escaped."""
    cells = re.split(r"(?<!\\)(?:\\\\)*\|", line.strip())
    assert cells[0] == cells[-1] == ""
    return [unescaped(cell.strip()) for cell in cells[1:-1]]


def unescaped(text: str) -> str:
    """Returns text of Markdown without the escapes of punctuation."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def test_text_has_a_line_for_each_and_marks_the_best(tables: list[Table]) -> None:
    first, second = FORMATS["text"](tables).split("\n\n")
    title, head, _, *lines = first.splitlines()
    assert title == tables[0].title
    assert re.split(r"  +", head) == tables[0].head
    shown = [re.split(r"  +", line.rstrip()) for line in lines]
    assert [line[0] for line in shown[:6]] == [
        "inductive",
        "ESZSL",
        "· published on ResNet-101, SP-AEN (Chen et al., CVPR 2018), Table 1",
        "· difference from ResNet-101",
        STRANGE,
        "semantic-transductive",
    ]
    eszsl = tables[0].lines[0]
    assert shown[1] == [f"{cell.text}*" if cell.best else cell.text for cell in eszsl.cells]
    assert any(cell.best for cell in eszsl.cells)
    assert lines[7:] == [*tables[0].notes, "*: best of its column."]
    assert "DeViSE epochs=1" in second


def test_a_table_says_what_its_rows_use_even_where_all_use_the_same(rows: list[Row], store: Store) -> None:
    knowing = [replace(row, uses="transductive") for row in rows]
    for name in FORMATS:
        assert "transductive" in FORMATS[name](field_tables(knowing, store)), name


def test_markdown_keeps_every_cell_whatever_the_names(tables: list[Table]) -> None:
    lines = FORMATS["markdown"](tables).splitlines()
    for table in tables:
        start = lines.index(f"### {table.title}")
        grid = list(itertools.takewhile(lambda line: line.startswith("|"), lines[start + 2 :]))
        cells = [markdown_cells(line) for line in grid]
        assert {len(row) for row in cells} == {len(table.head)}
        assert cells[0] == table.head
        assert all(re.fullmatch(r":?-+:?", cell) for cell in cells[1])
        expected = []
        for group, members in grouped(table.lines):
            expected.append([f"*{group}*", *[""] * (len(table.head) - 1)])
            for line in members:
                first, *rest = [f"**{cell.text}**" if cell.best else cell.text for cell in line.cells]
                expected.append([f"· {first}" if line.comment else first, *rest])
        assert cells[2:] == expected
        below = lines[start + 3 + len(grid) :]
        assert [unescaped(line) for line in below[: len(table.notes)]] == [f"- {note}" for note in table.notes]


def test_markup_in_a_name_is_escaped_in_markdown(tables: list[Table]) -> None:
    [line] = [line for line in FORMATS["markdown"](tables).splitlines() if line.startswith("| A")]
    assert r"A\|B" in line and r"\<b>" in line and r"\*c\*" in line and r"\`d\`" in line and r"\\z" in line


def test_latex_is_balanced_and_every_line_has_every_column(tables: list[Table]) -> None:
    text = FORMATS["latex"](tables)
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)
    depth = list(itertools.accumulate({"{": 1, "}": -1}.get(c, 0) for c in bare))
    assert min(depth) >= 0 and depth[-1] == 0
    assert bare.count("$") % 2 == 0
    assert not re.search("[%#_]", bare)
    assert re.findall(r"\\(begin|end)\{(\w+)\}", text) == [
        ("begin", "table"), ("begin", "tabular"), ("end", "tabular"), ("end", "table"),
    ] * 2  # fmt: skip
    parts = text.split("\n\n")
    for table, part in zip(tables, parts, strict=True):
        width = len(table.head)
        assert rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}" in part
        ended = [line.removesuffix(r" \\") for line in part.splitlines() if line.endswith(r"\\")]
        cut = [re.split(r"(?<!\\)&", line) for line in ended]
        wide = [cells for cells in cut if not cells[0].startswith(r"\multicolumn")]
        assert {len(cells) for cells in wide} == {width}
        assert len(wide) == 1 + len(table.lines)
        assert sum(len(cells) == 1 for cells in cut) == len(grouped(table.lines))
        assert all(cells[0].startswith(rf"\multicolumn{{{width}}}{{l}}") for cells in cut if len(cells) == 1)


def test_latex_prints_every_cell_and_all_notes(tables: list[Table]) -> None:
    parts = FORMATS["latex"](tables).split("\n\n")
    for table, part in zip(tables, parts, strict=True):
        rows = [line for line in part.splitlines() if line.endswith(r"\\") and "multicolumn" not in line][1:]
        for line, written in zip(table.lines, rows, strict=True):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)&", written.removesuffix(r"\\"))]
            for cell, tex in zip(line.cells, cells, strict=True):
                assert tex.startswith(r"\textbf{") == cell.best
                inner = re.sub(r"^\\textbf\{(.*)\}$", r"\1", tex).removeprefix(r"\quad ")
                assert unescaped_latex(inner) == cell.text
        [caption] = [line for line in part.splitlines() if line.startswith(r"\caption{")]
        assert unescaped_latex(caption) == rf"\caption{{{table.title}. {' '.join(table.notes)}}}"


def test_csv_gives_back_the_means_of_the_records(rows: list[Row], store: Store, tables: list[Table]) -> None:
    found = list(csv.DictReader(io.StringIO(FORMATS["csv"](tables))))
    assert [row["label"] for row in found] == ["eszsl", "sae", "devise:epochs=1", "devise:epochs=1"]
    assert [row["dataset"] for row in found] == ["SUN", "digits", "digits", "digits"]
    for flat, row in zip([*found[:2], found[3]], rows, strict=True):
        for name in METRICS:
            values = [record.metrics[name] for record in row.records]
            assert float(flat[name]) == pytest.approx(mean(values), abs=1e-12)
            assert float(flat[f"{name}_std"]) == pytest.approx(stdev(values), abs=1e-12)
        assert int(flat["seeds"]) == 2
        fits = [record.training for record in row.records if record.training]
        spent = sum(fit.seconds + fit.seconds_validation for fit in fits)
        assert float(flat["seconds"]) == pytest.approx(spent, abs=0.051)
        memory = max(record.provenance["peak_memory_mb"] for record in row.records)
        assert float(flat["peak_memory_mb"]) == pytest.approx(memory, abs=0.51)
        assert flat["refused"] == ""
    assert found[1]["method"] == STRANGE
    assert found[2]["refused"] == f"no {STRANGE}"
    assert {found[2][name] for name in (*METRICS, "seconds", "peak_memory_mb", "ausuc_group")} == {""}
    assert [(row["features"], row["scale"], row["hyper_parameters"]) for row in (found[0], found[3])] == [
        ("res101", "zscore", "default"),
        ("pixels", "zscore", "given epochs=1"),
    ]
    assert [row["ausuc_group"] for row in found] == ["b", "a", "", ""]


def strict(text: str) -> Any:
    """Reads JSON as the standard has it, which knows neither NaN nor Infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_has_the_rows_and_every_pair_of_them(rows: list[Row], store: Store) -> None:
    same = replace(rows[1], label="sae:direction=s2f", given={"direction": "s2f"})
    [table] = field_tables([*rows, same], store)
    [content] = strict(FORMATS["json"]([table]))  # equal rows have infinitely many degrees of freedom
    assert content["title"] == table.title
    assert content["notes"] == table.notes
    labels = [row["label"] for row in content["rows"]]
    assert labels == ["eszsl", "sae", "devise:epochs=1", "sae:direction=s2f"]
    means = {row.label: mean(record.metrics["ausuc"] for record in row.records) for row in [*rows, same]}
    assert {row["label"]: row["ausuc"] for row in content["rows"]} == pytest.approx(means)
    pairs = {frozenset((pair["better"], pair["worse"])): pair for pair in content["pairs"]}
    assert pairs.keys() == {frozenset(pair) for pair in itertools.combinations(labels, 2)}
    for pair in pairs.values():
        assert pair["difference"] == pytest.approx(means[pair["better"]] - means[pair["worse"]])
        assert 0 <= pair["p"] <= pair["corrected"] <= 1
    equal = pairs[frozenset(("sae", "sae:direction=s2f"))]
    assert (equal["difference"], equal["p"], equal["degrees_of_freedom"]) == (0, 1, None)


def test_json_of_one_row_has_no_pairs(rows: list[Row], store: Store) -> None:
    [content] = strict(FORMATS["json"](field_tables(rows[:1], store)))
    assert content["pairs"] == []
    assert content["rows"][0]["ausuc_group"] == ""


def test_scores_made_elsewhere_may_lack_what_runs_have_and_have_metrics_nobody_knows(
    rows: list[Row], store: Store, edited: Edit
) -> None:
    eszsl, sae, _ = rows
    metrics = {"ausuc": 0.25, "metric_of_a_plugin_that_is_gone": 0.5}
    record = edited(sae, metrics=metrics, training=None, provenance={}, not_applicable={}).records[0]
    elsewhere = Row.of_scores("external:mine", eszsl.source, eszsl.dataset, eszsl.dataset_title, record)
    tables = field_tables([eszsl, elsewhere], store)
    for name, write in FORMATS.items():
        assert "external:mine" in write(tables), name
    flat = list(csv.DictReader(io.StringIO(FORMATS["csv"](tables))))[1]
    assert (flat["ausuc"], flat["h"], flat["seconds"], flat["peak_memory_mb"]) == ("0.25", "", "", "")


class Page(HTMLParser):
    """A page as a browser reads it: its elements, and the cells of each line with whether they are strong."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.lines: list[list[tuple[str, bool]]] = []
        self.notes: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.lines[-1].append(("", False))
        if tag == "li":
            self.notes.append("")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.lines[-1][-1] = (self.lines[-1][-1][0] + data, "strong" in self.open)
        if "li" in self.open:
            self.notes[-1] += data


def test_html_has_every_cell_whatever_the_names_and_marks_the_best(tables: list[Table]) -> None:
    page = Page(page_of(tables))
    assert page.open == []
    expected: list[list[tuple[str, bool]]] = []
    for table in tables:
        expected.append([(title, False) for title in table.head])
        for group, members in grouped(table.lines):
            expected.append([(group, False)])
            expected += [[(cell.text, cell.best) for cell in line.cells] for line in members]
    assert page.lines == expected
    assert page.notes == [note for table in tables for note in table.notes]
    assert any(best for line in page.lines for _, best in line)
    scopes = [attrs.get("scope") for tag, attrs in page.elements if tag == "th"]
    assert {"col", "row", "rowgroup"} == set(scopes)


def test_markup_in_a_name_is_escaped_in_html_and_nothing_is_loaded_from_elsewhere() -> None:
    strange = "<script>alert('&amp;')</script><img src=x>"
    line = Line((Cell(strange), Cell(strange, best=True)), group=strange)
    table = Table(strange, [Column(strange), Column(strange, group=strange)], [line], [strange])
    text = page_of([table])
    page = Page(text)
    known = "table caption thead tbody tr th td strong ul li"
    assert {tag for tag, _ in page.elements} <= set(known.split())
    assert not any(name in ("src", "href") for _, attrs in page.elements for name in attrs)
    assert "url(" not in text and "@import" not in text
    assert page.lines[-1] == [(strange, False), (strange, True)]
    assert page.notes == [strange]


def test_columns_of_a_group_share_a_heading_in_html_and_name_it_elsewhere() -> None:
    columns = [Column("method", "left"), *(Column(m, group=d) for d in ("SUN", "CUB") for m in ("U->U", "H"))]
    table = Table("Two data sets", columns, [Line(tuple(map(Cell, "abcde")))])
    page = Page(page_of([table]))
    assert page.lines[:2] == [
        [("", False), ("SUN", False), ("CUB", False)],
        [(title, False) for title in ("method", "U->U", "H", "U->U", "H")],
    ]
    spans = [attrs["colspan"] for tag, attrs in page.elements if attrs.get("scope") == "colgroup"]
    assert spans == ["1", "2", "2"]
    head = ["method", "SUN: U->U", "SUN: H", "CUB: U->U", "CUB: H"]
    assert markdown_cells(FORMATS["markdown"]([table]).splitlines()[2]) == head
