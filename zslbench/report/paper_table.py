"""A table as a paper has it: a line for each method, columns for each data set, the paper's own numbers below."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from tabulate import tabulate

from zslbench.api.cards import Exhibit
from zslbench.api.evaluator import Metric
from zslbench.errors import DataError, near_misses
from zslbench.records.store import Store
from zslbench.report.field import ERRORS, TESTED, Cell, compare, name_of
from zslbench.report.formats import escaped_latex, escaped_markdown
from zslbench.report.published import Published, published_for
from zslbench.report.summary import figure, is_best, metrics, spreads
from zslbench.report.tables import notes
from zslbench.runs.plan import Row, Variant


@dataclass(frozen=True)
class PaperTable:
    """A table of several data sets.

    Attributes:
        groups: data sets with their features, each the heading of as many columns.
        columns: headings of a data set's columns.
        lines: cells, the method's name and its input first; with whether they only comment on the line above.
        notes: what a reader must know.
    """

    groups: list[str]
    columns: list[str]
    lines: list[tuple[list[Cell], bool]]
    notes: list[str]


def naming(exhibit: Exhibit, rows: list[Row]) -> Callable[[Row], str]:
    """Returns how the exhibit calls a row: by the paper's name, with what the command added to it and not to all."""
    shared = shared_settings(rows)

    def name(row: Row) -> str:
        title = exhibit.names.get(row.label)
        words = [title, *_added(row)] if title else name_of(row).split()
        return " ".join(word for word in words if word and word not in shared)

    return name


def shared_settings(rows: list[Row]) -> list[str]:
    """Returns what the command added to every one of several rows: a preset, parameters."""
    added = [_added(row) for row in rows if row.jobs]
    return [word for word in added[0] if all(word in own for own in added)] if len(added) > 1 else []


def shared_note(rows: list[Row]) -> list[str]:
    """Returns a line that says what the rows share, where they share something."""
    shared = shared_settings(rows)
    return [f"All rows: {' '.join(shared)}."] if shared else []


def _added(row: Row) -> list[str]:
    """Returns what a row's settings hold beyond its own label: the command's preset and parameters."""
    own = Variant.parse(row.label)
    known = [f"@{own.preset}", *own.given.split()]
    return [word for word in row.settings.split() if word not in known]


def published_beside(row: Row, exhibit: Exhibit) -> Published | None:
    """Returns the paper's numbers where they compare: a row that the paper has, with no parameter that it has not."""
    if not row.jobs or not row.jobs[0].is_published_protocol or any("=" in word for word in _added(row)):
        return None
    if row.has_given_parameters and row.label not in exhibit.names:
        return None
    title = exhibit.names.get(row.label, row.published_as or row.title)
    return published_for(title, row.dataset_title, row.jobs[0].spec.features, exhibit.source)


def paper_table(exhibit: Exhibit, groups: list[list[Row]], store: Store) -> PaperTable:
    """Makes the table from the rows of each data set, which are of the same methods in the same order.

    Raises:
        DataError: no evaluator measures one of its metrics.
    """
    known, name = metrics(), naming(exhibit, [row for group in groups for row in group])
    if absent := [metric for metric in exhibit.metrics if metric not in known]:
        raise DataError(f"no evaluator measures {absent[0]!r}{near_misses(absent[0], known)}")
    columns = [known[metric] for metric in exhibit.metrics]
    lines = []
    beside = {i: [published_beside(row, exhibit) for row in same] for i, same in enumerate(zip(*groups, strict=True))}
    for i, same in enumerate(zip(*groups, strict=True)):
        cells = [Cell(name(same[0])), Cell(_inputs(list(same)))]
        for row, group in zip(same, groups, strict=True):
            table = [spreads(other) for other in group]
            spread = spreads(row)
            cells += [Cell(figure(spread.get(m.name), m, row), is_best(m, spread, table)) for m in columns]
        lines.append((cells, False))
        if any(beside[i]):
            printed = [_printed(published, m) for published in beside[i] for m in columns]
            lines.append(([Cell("paper"), Cell(""), *map(Cell, printed)], True))
    rows = [row for group in groups for row in group]
    tested = [metric for metric in (TESTED, *ERRORS) if metric in exhibit.metrics]
    tests = [note for group in groups for metric in tested for note in _test(group, store, known[metric], name)]
    return PaperTable(
        [_heading(group) for group in groups],
        [metric.title for metric in columns],
        lines,
        [
            _protocol(rows, columns),
            *shared_note(rows),
            *tests,
            *notes([_as_named(row, exhibit) for row in rows], exhibit.metrics),
        ],
    )


def _test(group: list[Row], store: Store, metric: Metric, name: Callable[[Row], str]) -> list[str]:
    """Returns what a test says of each pair of neighbours in a metric, best first."""
    comparison = compare(group, store, metric.name)
    if comparison is None:
        return []
    names = {row.label: name(row) for row in group}
    ranked = list(comparison.letters)
    pairs = {(pair.better, pair.worse): pair for pair in comparison.differences}
    unit, digits = (100, 1) if metric.percent else (1, 4)
    steps = []
    for better, worse in pairwise(ranked):
        pair = pairs[better, worse]
        sign = ">" if pair.corrected < comparison.alpha else "~"
        by = f"{pair.difference * unit:.{digits}f}, p {_p(pair.corrected)}"
        steps.append(f"{names[better]} {sign} {names[worse]} ({by})")
    return [
        f"{group[0].dataset_title}, {metric.title}, best first, > if told apart and ~ if not: {'; '.join(steps)}; "
        f"paired test over test images and seeds, Holm's correction for all {len(comparison.differences)} pairs."
    ]


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _as_named(row: Row, exhibit: Exhibit) -> Row:
    """Returns a row that the paper has by name as if its parameters were none: nobody gave them by hand."""
    return replace(row, settings=" ".join(_added(row))) if row.label in exhibit.names else row


def _heading(group: list[Row]) -> str:
    features = sorted({row.jobs[0].spec.features for row in group if row.jobs})
    return f"{group[0].dataset_title} ({', '.join(features)})" if features else group[0].dataset_title


def _inputs(same: list[Row]) -> str:
    found = {"images" if row.jobs[0].spec.features == "images" else "features" for row in same if row.jobs}
    return ", ".join(sorted(found)) or "none"


def _printed(published: Published | None, metric: Metric) -> str:
    value = published.values.get(metric.name) if published else None
    if value is None:
        return ""
    return f"{100 * value:.1f}" if metric.percent else f"{value:.3f}"


def _protocol(rows: list[Row], columns: list[Metric]) -> str:
    seeds = sorted({len(row.records) for row in rows if row.records}) or [0]
    count = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    spread = f"mean ± standard deviation over {count} seeds" if seeds[-1] > 1 else "one seed"
    unit = "Per-class top-1 in percent on test images" if any(m.percent for m in columns) else "On test images"
    return f"{unit}, {spread}; the best of a column is bold."


def as_markdown(table: PaperTable) -> str:
    """Returns GitHub's Markdown, notes below."""
    head = ["method", "input"]
    head += [f"{group}: {c}" if len(table.groups) > 1 else c for group in table.groups for c in table.columns]
    above = [f"{table.groups[0]}:"] if len(table.groups) == 1 else []
    body = []
    for cells, comment in table.lines:
        shown = [f"**{escaped_markdown(c.text)}**" if c.best else escaped_markdown(c.text) for c in cells]
        body.append([f"· {shown[0]}" if comment else shown[0], *shown[1:]])
    align = ["left", "left", *["right"] * (len(head) - 2)]
    grid = tabulate(body, head, tablefmt="pipe", disable_numparse=True, colalign=align)
    return "\n\n".join([*above, grid, "\n".join(f"- {note}" for note in table.notes)])


def as_latex(table: PaperTable, caption: str, label: str) -> str:
    """Returns a `table*` environment for the booktabs package."""
    size = len(table.columns)
    heads, rules = [], []
    for i, group in enumerate(table.groups):
        first = 3 + i * size
        heads.append(rf"\multicolumn{{{size}}}{{c}}{{{escaped_latex(group)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + size - 1}}}")
    lines = [
        "% needs \\usepackage{booktabs}",
        r"\begin{table*}",
        rf"\caption{{{escaped_latex(f'{caption} {table.notes[0]}')}}}",
        rf"\label{{tab:{label}}}",
        r"\centering\small",
        rf"\begin{{tabular}}{{ll{'r' * size * len(table.groups)}}}",
        r"\toprule",
        f" & & {' & '.join(heads)} \\\\",
        "".join(rules),
        " & ".join(map(escaped_latex, ["method", "input", *table.columns * len(table.groups)])) + r" \\",
        r"\midrule",
    ]
    for cells, comment in table.lines:
        texts = [escaped_latex(cell.text) for cell in cells]
        texts = [rf"\textbf{{{t}}}" if cell.best else t for t, cell in zip(texts, cells, strict=True)]
        if comment:
            texts = [rf"\quad\emph{{{texts[0]}}}", *(rf"\emph{{{t}}}" if t else "" for t in texts[1:])]
        lines.append(" & ".join(texts) + r" \\")
    below = [rf"\par\smallskip\footnotesize {escaped_latex(note)}" for note in table.notes[1:]]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *below, r"\end{table*}"]) + "\n"
