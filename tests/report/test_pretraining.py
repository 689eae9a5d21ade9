"""Rows of different pretraining in one table: grouped, said below, and not ranked among each other."""

from __future__ import annotations

from dataclasses import replace

from zslbench.records.store import Store
from zslbench.report.builders import comparison_tables, field_tables
from zslbench.report.render import as_csv, as_latex, as_markdown, as_text
from zslbench.report.rows import summary
from zslbench.report.table import grouped
from zslbench.runs.row import Row


def seen(row: Row, value: str) -> Row:
    """Returns a row whose features are of this pretraining."""
    assert row.entrant is not None
    return replace(row, entrant=replace(row.entrant, data=replace(row.entrant.data, pretraining=value)))


def test_what_all_rows_share_is_a_line_below_in_every_format(rows: list[Row], store: Store) -> None:
    for write in (as_text, as_markdown, as_latex):
        for tables in (comparison_tables(rows), field_tables(rows, store)):
            assert write(tables).count("pretraining of the features: none.") == 1
    assert [line["pretraining"] for line in field_tables(rows, store)[0].data] == ["none"] * len(rows)
    assert "pretraining" in as_csv(field_tables(rows, store)).splitlines()[0].split(",")
    assert {line["pretraining"] for line in summary(rows)} == {"none"}


def test_rows_that_differ_are_grouped_and_best_among_their_like(rows: list[Row], store: Store) -> None:
    a, b, c = rows[:3]
    mixed = [seen(a, "imagenet-1k"), b, seen(c, "imagenet-1k")]
    for [table] in (comparison_tables(mixed), field_tables(mixed, store)):
        names = [name.rpartition("pretraining: ")[2] for name, _ in grouped(table.lines)]
        assert names == ["imagenet-1k", "none"]
        first, alone = (members for _, members in grouped(table.lines))
        assert len(first) == 2 and not any(cell.best for line in alone for cell in line.cells)
        column = table.head.index("AUSUC")
        larger = max((a, c), key=lambda row: sum(record.metrics["ausuc"] for record in row.records))
        assert [line.cells[column].best for line in first] == [larger is a, larger is c]
        assert sum("pretraining of the features differs (imagenet-1k, none)" in note for note in table.notes) == 1
    pairs = field_tables(mixed, store)[0].pairs
    assert [{pair["better"], pair["worse"]} for pair in pairs] == [{a.label, c.label}]


def test_records_that_are_older_than_the_question_are_unknown(rows: list[Row]) -> None:
    [record, *_] = rows[0].records
    old = record.model_copy(update={"provenance": {}})
    assert (record.pretraining, old.pretraining, old.id) == ("none", "unknown", record.id)
    assert Row.of_records([old], "x").pretraining == "unknown"
