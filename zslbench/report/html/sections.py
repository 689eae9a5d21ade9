"""What a report says of each data set: the table with tests, the rows behind it, their runs, searches and pictures."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from zslbench.records.record import RunRecord
from zslbench.records.search import Search
from zslbench.report.builders import in_groups, input_of, search_table
from zslbench.report.grids import sample_of
from zslbench.report.rows import name_of, shown_metrics, treatment
from zslbench.report.table import Line, Table
from zslbench.runs.again import command_of
from zslbench.runs.row import Row

if TYPE_CHECKING:
    from zslbench.report.results import Result, Results


PICTURED = 8
"""Images of unseen classes, and as many of seen ones, that are shown of a run, unless there are many runs."""
_INTERVAL = re.compile(r"-?[\d.]+ to -?[\d.]+")
"""How a table shows an interval."""


@dataclass(frozen=True)
class Entry:
    """A row of the leaderboard, and the runs behind it.

    Attributes:
        name: the method with what is not at its default, and whether it is tuned.
        line: its figures, in the order of the table's columns.
        comments: published numbers, where some compare, and the difference from them.
        results: its runs, one a seed.
    """

    row: Row
    name: str
    line: Line
    comments: list[Line]
    results: list[Result]

    @property
    def facts(self) -> dict[str, str]:
        """What the leaderboard says of a row beside its figures, and can be filtered by."""
        spec, chosen = self.row.spec, "tuned" if self.row.tuned_by_search else self.treatment or "unknown"
        given = spec.input if spec else "unknown"
        return {"setting": self.row.uses, "input": given, "pretraining": self.row.pretraining, "parameters": chosen}

    @property
    def given(self) -> str:
        """What the method is given: features or images, their scaling, and class embeddings."""
        return input_of(self.row)

    @property
    def treatment(self) -> str:
        """Where its hyper-parameters come from."""
        return treatment(self.row) if self.row.spec else ""


@dataclass(frozen=True)
class Section:
    """One data set.

    Attributes:
        anchor: what links on the page call it.
        facts: of its test images and classes, by name.
        pictures: what runs reconstructed, as data URIs: whose they are, the picture, the run.
    """

    title: str
    anchor: str
    table: Table
    entries: list[Entry]
    facts: dict[str, str]
    searches: list[Search] = field(default_factory=list)
    pictures: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def drawn(self) -> list[Entry]:
        """The entries that have runs to draw."""
        return [entry for entry in self.entries if entry.results]

    @property
    def values(self) -> dict[str, list[str]]:
        """What the leaderboard can be filtered by, where rows differ in it."""
        found: dict[str, dict[str, None]] = {}
        for entry in self.entries:
            for name, value in entry.facts.items():
                found.setdefault(name, {})[value] = None
        return {name: list(values) for name, values in found.items() if len(values) > 1}

    @cached_property
    def _ends(self) -> list[float]:
        """The ends of all intervals in the table."""
        texts = [cell.text for entry in self.entries for cell in entry.line.cells]
        return [float(end) for text in texts if _INTERVAL.fullmatch(text) for end in text.split(" to ")]

    def share(self, end: str) -> float:
        """Returns where an end of an interval lies between the lowest and the highest of all, from 0 to 1."""
        low, high = min(self._ends), max(self._ends)
        return round((float(end) - low) / ((high - low) or 1.0), 4)

    @property
    def trials(self) -> list[tuple[Search, Table]]:
        """The searches with the tables of their best trials."""
        return [(search, search_table(search, search.method)) for search in self.searches]

    @property
    def runs(self) -> list[RunView]:
        """All runs, in the order of the leaderboard."""
        return [RunView(entry.name, result.record) for entry in self.entries for result in entry.results]


@dataclass(frozen=True)
class RunView:
    """One run, as the list of runs shows it."""

    name: str
    record: RunRecord

    @property
    def figures(self) -> list[tuple[str, str]]:
        """The metrics that rank, by title."""
        ranking = [metric for metric in shown_metrics([self.record]) if metric.ranks]
        return [(m.title, m.text(self.record.metrics[m.name])) for m in ranking if m.name in self.record.metrics]

    @property
    def cost(self) -> list[tuple[str, str]]:
        """Times of its fits, peak memory, and the hardware; empty texts where they are unknown."""
        training, kept = self.record.training, self.record.provenance
        memory = f"{float(kept['peak_memory_mb']):.0f} MB" if "peak_memory_mb" in kept else ""
        seconds = f"{training.seconds:.1f} s" if training else ""
        validation = f"{training.seconds_validation:.1f} s" if training and training.seconds_validation else ""
        device = str(kept.get("device_name", ""))
        return [("train", seconds), ("validation fit", validation), ("peak memory", memory), ("hardware", device)]

    @property
    def command(self) -> str:
        """The command that makes it again; empty where none does."""
        return command_of(self.record)

    @property
    def details(self) -> dict[str, str]:
        """Everything that says what was run and where its numbers are from, by name."""
        record, spec = self.record, self.record.spec
        version = f"{spec.method}, version {spec.method_version}" + (f", code {spec.code}" if spec.code else "")
        values: dict[str, Any] = {
            "id": record.id,
            "method": version,
            "hyper-parameters": record.params,
            "chosen by": record.params_from,
            "seed": spec.seed,
            "shots": spec.shots,
            "uses": spec.setting,
            "input": spec.input,
            "features": spec.features,
            "class embeddings": spec.semantics,
            "scale": spec.scale,
            "semantics scale": spec.semantics_scale,
            "precision": spec.precision,
            "data fingerprint": spec.fingerprint,
            "weights": spec.weights,
            **{name.replace("_", " "): value for name, value in record.provenance.items()},
            **{f"protocol: {name}": value for name, value in record.protocol.items()},
            "not applicable": record.not_applicable,
        }
        return {name: _text(value) for name, value in values.items() if value not in ("", None, {}, [])}


def sections_of(results: Results) -> list[Section]:
    """Returns a section for each data set, with its searches; searches on other data have sections without rows."""
    made: list[Section] = []
    left = list(results.searches)
    runs = {result.id: result for result in results}
    for group, table in zip(in_groups(results.rows), results.tables("field"), strict=True):
        entries = list(_entries(group, table, runs))
        prints = {record.spec.fingerprint for row in group for record in row.records}
        own = [search for search in left if search.fingerprint in prints]
        left = [search for search in left if search not in own]
        anchor = f"data-{len(made) + 1}"
        made.append(
            Section(group[0].dataset_title, anchor, table, entries, _facts(entries), own, list(_pictures(entries)))
        )
    for title in dict.fromkeys(search.dataset for search in left):
        own, anchor = [search for search in left if search.dataset == title], f"data-{len(made) + 1}"
        made.append(Section(title, anchor, Table(f"{title}: searches on other data than above", [], []), [], {}, own))
    return made


def _entries(rows: list[Row], table: Table, runs: dict[str, Result]) -> Iterator[Entry]:
    blocks: list[list[Line]] = []
    for line in table.lines:
        blocks += [] if line.comment else [[]]
        blocks[-1].append(line)
    for row, (line, *comments) in zip(rows, blocks, strict=True):
        yield Entry(
            row,
            name_of(row) + " (tuned)" * row.tuned_by_search,
            line,
            comments,
            [runs[record.id] for record in row.records],
        )


def _facts(entries: list[Entry]) -> dict[str, str]:
    """Returns how many classes and test images there are, and which data the rows were made on."""
    results = [result for entry in entries for result in entry.results]
    if not results:
        return {}
    decisions = results[0].decisions()
    sides = {"seen": decisions.seen, "unseen": ~decisions.seen}
    counts = {name: f"{len(np.unique(decisions.y[side]))} {name}" for name, side in sides.items()}
    images = {name: f"{int(side.sum())} of {name} classes" for name, side in sides.items()}
    specs = [result.record.spec for result in results]
    splits = {str(result.record.provenance.get("splits", "")) for result in results} - {""}
    facts = {
        "classes with test images": ", ".join(counts.values()),
        "test images": ", ".join(images.values()),
        "features": ", ".join(sorted({spec.features for spec in specs if spec.features})),
        "pretraining": ", ".join(dict.fromkeys(entry.row.pretraining for entry in entries if entry.results)),
        "class embeddings": ", ".join(sorted({spec.semantics for spec in specs})),
        "splits": ", ".join(sorted(splits)),
        "data fingerprint": ", ".join(dict.fromkeys(spec.fingerprint[:16] for spec in specs)),
    }
    return {name: text for name, text in facts.items() if text}


def _pictures(entries: list[Entry]) -> Iterator[tuple[str, str, str]]:
    """Yields what the first run of each row reconstructed, if it kept that; of many rows fewer images each."""
    most = max(1, min(PICTURED, 2 * PICTURED // max(1, len(entries))))
    for entry in entries:
        for result in entry.results[:1]:
            picture = sample_of(result.arrays(), most)
            if picture is not None:
                coded = base64.b64encode(picture).decode()
                yield f"{entry.name}, seed {result.seed}", f"data:image/png;base64,{coded}", result.id


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(item)}" for name, item in value.items())
    return f"{value:.6g}" if isinstance(value, float) else str(value)
