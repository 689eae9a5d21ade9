"""Tables of rows: their figures against the records, what is compared, what stands beside what."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from statistics import mean, stdev
from typing import Any

import pytest

import zslbench_methods
from zslbench.errors import UsageError
from zslbench.evaluation.significance import Comparison
from zslbench.records.search import Search, SearchTrial
from zslbench.records.store import Store
from zslbench.report.builders import comparison_tables, field_tables
from zslbench.report.rows import named_metrics
from zslbench.report.table import Line, Table, grouped
from zslbench.runs.row import Row

TITLES = {"U->U": "acc_uu", "U->T": "acc_ut", "S->T": "acc_st", "H": "h", "AUSUC": "ausuc", "H cal": "h_cal"}
GATE = "the gate needs seen classes"
Edit = Callable[..., Row]


def table_of(rows: list[Row], store: Store) -> Table:
    [table] = field_tables(rows, store)
    return table


def lines_of(table: Table) -> dict[str, Line]:
    """Returns the lines of rows by label."""
    lines = [line for line in table.lines if not line.comment]
    return {data["label"]: line for data, line in zip(table.data, lines, strict=True)}


def texts(table: Table, line: Line) -> dict[str, str]:
    """Returns a line's texts by the heading of their columns."""
    return dict(zip(table.head, (cell.text for cell in line.cells), strict=True))


def values(row: Row, metric: str) -> list[float]:
    return [100 * record.metrics[metric] for record in row.records]


def searched(row: Row, trials: list[SearchTrial]) -> Row:
    spec = row.runs[0].spec
    search = Search(
        method=spec.method,
        method_version=1,
        base={},
        dataset=spec.dataset,
        fingerprint=spec.fingerprint,
        features=spec.features,
        scale=spec.scale,
        setting="inductive",
        precision="32",
        metric="h",
        folds=1,
        strategy="tpe",
        space={},
        wanted=len(trials),
        trials=trials,
    )
    return replace(row, search=search)


def on_published_data(row: Row, **changes: Any) -> Row:
    """Returns a row as if it were of SUN's res101 features; of the changes, those of a spec go into the spec."""
    changes = {"features": "res101", **changes}
    spec = {name: value for name, value in changes.items() if name in ("features", "on")}
    asked = {name: value for name, value in changes.items() if name in ("splits", "on")}
    of_row = {name: value for name, value in changes.items() if name in ("given", "preset", "title", "dataset_title")}
    runs = [replace(run, spec=run.spec.model_copy(update=spec)) for run in row.runs]
    semantics = changes.get("semantics", row.entrant.semantics)
    entrant = replace(row.entrant, request=row.entrant.request.model_copy(update=asked), semantics=semantics)
    return replace(row, **{"dataset_title": "SUN", "given": {}, "runs": runs, "entrant": entrant, **of_row})


def test_rows_stand_in_groups_by_what_they_use_in_the_order_they_were_asked_for(rows: list[Row], store: Store) -> None:
    eszsl, sae, devise = rows
    knowing = replace(sae, uses="semantic-transductive")
    table = table_of([eszsl, knowing, devise], store)
    shown = {uses: [line.cells[0].text for line in lines] for uses, lines in grouped(table.lines)}
    assert shown == {"inductive": ["ESZSL", "DeViSE epochs=1"], "semantic-transductive": ["SAE"]}
    assert list(lines_of(table)) == ["eszsl", "devise:epochs=1", "sae"]


def test_figures_are_mean_and_deviation_of_the_records(rows: list[Row], store: Store) -> None:
    table = table_of(rows, store)
    assert len(lines_of(table)) == len(rows)
    for label, line in lines_of(table).items():
        [row] = [row for row in rows if row.label == label]
        shown = texts(table, line)
        for title, metric in TITLES.items():
            assert shown[title] == f"{mean(values(row, metric)):.1f}±{stdev(values(row, metric)):.1f}"
    assert table.title == (
        "digits: pixels, per-class top-1 in percent on test images, mean ± standard deviation over 2 seeds"
    )


def test_the_best_of_each_column_is_marked_and_no_other_cell(rows: list[Row], store: Store) -> None:
    table = table_of(rows, store)
    best = {title: max(rows, key=lambda row: mean(values(row, metric))).label for title, metric in TITLES.items()}
    assert len(set(best.values())) > 1, "one row leads everywhere, and this test says little"
    marked = {
        (title, label)
        for label, line in lines_of(table).items()
        for title, cell in zip(table.head, line.cells, strict=True)
        if cell.best
    }
    assert marked == set(best.items())


def test_equals_are_both_best(rows: list[Row], store: Store) -> None:
    _, sae, devise = rows
    again = replace(sae, label="sae:direction=s2f", given={"direction": "s2f"})
    table = table_of([sae, again, devise], store)
    column = table.head.index("AUSUC")
    assert [line.cells[column].best for line in table.lines] == [True, True, False]


def test_a_refused_row_has_no_figures_and_its_reason_stands_below(rows: list[Row], store: Store) -> None:
    eszsl, sae, devise = rows
    refused = replace(sae, runs=[], records=[], refusal="SAE needs attributes")
    table = table_of([eszsl, refused, devise], store)
    shown = texts(table, lines_of(table)["sae"])
    assert {shown[title] for title in TITLES} == {"n/a"}
    assert [shown[title] for title in ("95 %", "group", "total s", "MB")] == [""] * 4
    assert not any(cell.best for cell in lines_of(table)["sae"].cells)
    assert "n/a for sae: SAE needs attributes" in table.notes
    assert [(pair["better"], pair["worse"]) for pair in table.pairs] == [("eszsl", "devise:epochs=1")]


def test_where_every_row_is_refused_there_is_still_a_table(rows: list[Row], store: Store) -> None:
    refused = [replace(row, runs=[], records=[], refusal="it needs attributes") for row in rows]
    table = table_of(refused, store)
    assert table.title == "digits: per-class top-1 in percent on test images, one seed"
    assert len(lines_of(table)) == 3
    assert table.pairs == []


def test_a_metric_that_does_not_apply_costs_its_own_column_and_the_reason_is_told(
    rows: list[Row], store: Store, edited: Edit
) -> None:
    eszsl, sae, devise = rows
    gated = edited(eszsl, without=("acc_uu",), not_applicable={"zsl": GATE})
    table = table_of([gated, sae, devise], store)
    shown = texts(table, lines_of(table)["eszsl"])
    assert shown["U->U"] == "n/a"
    assert shown["AUSUC"].startswith(f"{mean(values(eszsl, 'ausuc')):.1f}")
    assert shown["group"]
    assert f"n/a for eszsl: {GATE}" in table.notes
    column = table.head.index("U->U")
    assert [label for label, line in lines_of(table).items() if line.cells[column].best] == ["sae"]


def test_what_an_evaluator_without_a_column_says_does_not_stand_below(
    rows: list[Row], store: Store, edited: Edit
) -> None:
    eszsl, sae, devise = rows
    table = table_of([edited(eszsl, not_applicable={"probe": "it has no embedding"}), sae, devise], store)
    assert not any("no embedding" in note for note in table.notes)


def test_a_row_without_area_is_not_compared(rows: list[Row], store: Store, edited: Edit) -> None:
    eszsl, sae, devise = rows
    table = table_of([edited(eszsl, without=("ausuc",), not_applicable={"ausuc": "it failed"}), sae, devise], store)
    shown = texts(table, lines_of(table)["eszsl"])
    assert (shown["AUSUC"], shown["group"]) == ("n/a", "")
    assert len(table.pairs) == 1


def test_a_row_whose_runs_are_not_there_says_none(rows: list[Row], store: Store) -> None:
    eszsl, sae, devise = rows
    table = table_of([eszsl, replace(sae, records=[]), devise], store)
    shown = texts(table, lines_of(table)["sae"])
    assert {shown[title] for title in TITLES} == {"none"}
    assert [shown[title] for title in ("95 %", "group", "total s", "MB")] == [""] * 4


def test_one_row_alone_is_neither_best_nor_compared(rows: list[Row], store: Store) -> None:
    table = table_of([replace(rows[0], records=rows[0].records[:1])], store)
    [line] = table.lines
    assert texts(table, line)["AUSUC"] == f"{values(rows[0], 'ausuc')[0]:.1f}"
    assert texts(table, line)["group"] == ""
    assert not any(cell.best for cell in line.cells)
    assert table.pairs == []
    assert not any(note.startswith("group: ") for note in table.notes)
    assert table.title.endswith(", one seed")


def test_letters_are_those_of_the_comparison(rows: list[Row], store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def compare_rows(estimates: dict[str, Any], y: Any, *, higher_is_better: bool) -> Comparison:
        given.update(estimates)
        return Comparison((), {"eszsl": "b", "sae": "ab", "devise:epochs=1": "q"}, 0.05)

    monkeypatch.setattr("zslbench.report.rows.compare_rows", compare_rows)
    table = table_of(rows, store)
    shown = {label: texts(table, line)["group"] for label, line in lines_of(table).items()}
    assert shown == {"eszsl": "b", "sae": "ab", "devise:epochs=1": "q"}
    for row in rows:
        assert [100 * estimate.value for estimate in given[row.label]] == pytest.approx(values(row, "ausuc"))


def test_rows_share_a_letter_where_their_pair_is_not_told_apart(rows: list[Row], store: Store) -> None:
    eszsl, sae, devise = rows
    same = replace(sae, label="sae:direction=s2f", given={"direction": "s2f"})
    table = table_of([eszsl, sae, same, devise], store)
    letters = {label: set(texts(table, line)["group"]) for label, line in lines_of(table).items()}
    assert letters["sae"] == letters["sae:direction=s2f"] != set()
    assert not letters["sae"] & letters["devise:epochs=1"]  # 37 and 14 points of AUSUC on 788 images
    means = {row.label: mean(values(row, "ausuc")) / 100 for row in [eszsl, sae, same, devise]}
    pairs = {frozenset((pair["better"], pair["worse"])): pair for pair in table.pairs}
    assert pairs.keys() == {frozenset(pair) for pair in itertools.combinations(means, 2)}
    for pair in pairs.values():
        better, worse = pair["better"], pair["worse"]
        assert pair["difference"] == pytest.approx(means[better] - means[worse])
        assert bool(letters[better] & letters[worse]) == (pair["corrected"] >= 0.05)
    [note] = [note for note in table.notes if note.startswith("group: ")]
    assert "all 6 pairs, 5%" in note


def test_the_interval_is_that_of_the_records(rows: list[Row], store: Store, edited: Edit) -> None:
    eszsl, sae, devise = rows
    first, second = sae.records
    sae.records = [
        first.model_copy(update={"intervals": {"ausuc": (0.30, 0.40)}}),
        second.model_copy(update={"intervals": {"ausuc": (0.32, 0.44)}}),
    ]
    table = table_of([eszsl, sae, edited(devise, intervals={})], store)
    shown = {label: texts(table, line) for label, line in lines_of(table).items()}
    assert shown["sae"]["95 %"] == "31.0 to 42.0"
    assert shown["devise:epochs=1"]["95 %"] == ""
    low, high = map(float, shown["eszsl"]["95 %"].split(" to "))
    assert 0 < low < mean(values(eszsl, "ausuc")) < high < 100


def test_cost_is_all_fits_of_all_seeds_and_the_search_and_the_largest_memory(
    rows: list[Row], store: Store, edited: Edit
) -> None:
    eszsl, sae, devise = rows
    first, second = eszsl.records
    assert first.training is not None
    fits = first.training.model_copy(update={"seconds": 10.0, "seconds_validation": 20.0})
    eszsl.records = [
        first.model_copy(update={"training": fits, "provenance": {"peak_memory_mb": 700.4}}),
        second.model_copy(update={"training": fits, "provenance": {"peak_memory_mb": 900.6}}),
    ]
    trials = [
        SearchTrial(params={"gamma": 1.0}, state="complete", values=[0.5], seconds=100.0),
        SearchTrial(params={"gamma": 2.0}, state="pruned", values=[0.1], seconds=7.0),
    ]
    elsewhere = edited(devise, without=("h_cal",), training=None, provenance={})
    table = table_of([eszsl, replace(searched(eszsl, trials), label="tuned"), sae, elsewhere], store)
    shown = {label: texts(table, line) for label, line in lines_of(table).items()}
    assert (shown["eszsl"]["total s"], shown["eszsl"]["MB"]) == ("60", "901")
    assert shown["tuned"]["total s"] == "167"
    assert (shown["devise:epochs=1"]["total s"], shown["devise:epochs=1"]["MB"]) == ("", "")  # not made here
    assert shown["devise:epochs=1"]["H cal"] == "n/a"


def test_tuned_rows_say_how_they_were_tuned(rows: list[Row], store: Store) -> None:
    trials = [SearchTrial(params={"gamma": 1.0}, state="complete", values=[0.5])]
    table = table_of([searched(rows[0], trials), *rows[1:]], store)
    chosen = "hyper-parameters and the number of epochs were chosen on validation classes"
    assert f"{chosen}: 1 trials, h, 1 fold." in table.notes
    assert any(
        note.startswith("warning: these rows did not get their hyper-parameters in the same way (eszsl: tuned by H")
        for note in table.notes
    )


def test_the_test_peek_gap_has_a_column_where_it_was_asked_for(rows: list[Row], store: Store) -> None:
    """A trial that would have given H = 50 % on the test images, whose record has less, was 50 % - H ahead."""
    trials = [SearchTrial(params={"gamma": 1.0}, state="complete", values=[0.5])]
    peeked = replace(searched(rows[0], trials), oracle=0.5)
    table = table_of([on_published_data(peeked, title="ESZSL"), rows[1]], store)
    assert table.head[-1] == "test-peek gap, H"
    first = texts(table, table.lines[0])
    assert first["test-peek gap, H"] == f"{50 - values(rows[0], 'h')[0]:+.1f}"
    assert {len(line.cells) for line in table.lines} == {len(table.head)}
    assert "test-peek gap, H" not in table_of(rows, store).head


def test_columns_are_the_metrics_that_were_measured_or_tried(rows: list[Row], store: Store, edited: Edit) -> None:
    eszsl, sae, _ = rows
    default = ["U->U", "U->T", "S->T", "H", "AUSUC", "H cal"]
    calibrated = ("acc_ut_cal", "acc_st_cal", "h_cal", "gamma")

    def titles(*members: Row) -> list[str]:
        [table] = comparison_tables(list(members))
        return [title for title in table.head if title in TITLES or title.startswith("MSE")]

    assert titles(eszsl, sae) == default
    plain = edited(eszsl, without=calibrated)
    assert titles(plain) == default[:-1]  # nobody measured it
    assert titles(plain, sae) == default
    gated = edited(eszsl, without=("acc_uu", *calibrated), not_applicable={"zsl": GATE})
    assert titles(gated) == default[:-1]  # it was tried
    assert titles(replace(eszsl, records=[], runs=[], refusal="no")) == default
    seen = edited(eszsl, metrics={**eszsl.records[0].metrics, "mse_unseen": 0.1, "mse_seen": 0.2})
    assert titles(seen) == [*default, "MSE unseen"]


def test_chosen_metrics_are_the_columns_in_their_order(rows: list[Row], store: Store) -> None:
    chosen = named_metrics(["gamma, H CAL", "acc_ut,gamma"])
    assert chosen is not None
    [compared] = comparison_tables(rows, chosen)
    assert compared.head[-4:-1] == ["gamma", "H cal", "U->T"]
    [table] = field_tables(rows, store, chosen)
    assert table.head[1:] == ["gamma", "H cal", "95 %", "group", "U->T", "total s", "MB"]  # gamma cannot be tested
    assert any(note.startswith("group: rows that share a letter are not told apart in H cal") for note in table.notes)
    assert "H cal: gamma chosen on validation classes cut from trainval." not in table.notes
    assert "gamma, H cal: gamma chosen on validation classes cut from trainval." in table.notes
    shown = texts(table, lines_of(table)["sae"])
    gammas = [record.metrics["gamma"] for record in rows[1].records]
    assert shown["gamma"] == f"{mean(gammas):.4f}±{stdev(gammas):.4f}"
    assert shown["group"] == table.data[1]["h_cal_group"] != ""
    assert "ausuc_group" not in table.fields


def test_ausuc_is_tested_wherever_it_is_a_column(rows: list[Row], store: Store) -> None:
    [table] = field_tables(rows, store, named_metrics(["h,ausuc"]))
    assert table.head[1:5] == ["H", "AUSUC", "95 %", "group"]


def test_metrics_that_cannot_be_tested_leave_out_the_tests(rows: list[Row], store: Store) -> None:
    [table] = field_tables(rows, store, named_metrics(["gamma"]))
    assert table.head[1:] == ["gamma", "total s", "MB"]
    assert table.pairs == []
    assert not any(note.startswith(("group:", "95 %")) for note in table.notes)


@pytest.mark.parametrize(
    ("text", "said"), [("ausc", "'ausc'; did you mean 'ausuc'"), ("h,", "unknown metric ''"), ("U->V", "'acc_uu'")]
)
def test_a_metric_that_nobody_measures_is_one_line(text: str, said: str) -> None:
    with pytest.raises(UsageError, match="--metrics: unknown metric") as raised:
        named_metrics([text])
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def printed(method: str, dataset: str) -> dict[str, float]:
    """Returns the first source's numbers as printed, read without the code under test."""
    with files(zslbench_methods).joinpath("published.csv").open(encoding="utf-8") as file:
        found = [r for r in csv.DictReader(file) if (r["method"], r["dataset"], r["split"]) == (method, dataset, "PS")]
    return {row["metric"]: float(row["value"]) for row in found if row["source"] == found[0]["source"]}


def test_published_numbers_and_the_difference_stand_below_a_row(rows: list[Row], store: Store) -> None:
    table = table_of([on_published_data(rows[0])], store)
    own, published, difference = table.lines
    assert (own.comment, published.comment, difference.comment) == (False, True, True)
    assert published.cells[0].text == "published on ResNet-101, SP-AEN (Chen et al., CVPR 2018), Table 1"
    assert difference.cells[0].text == "difference from ResNet-101"
    expected = printed("ESZSL", "SUN")
    assert expected.keys() >= {"U->U", "U->T", "S->T", "H"}
    for title, metric in TITLES.items():
        if title in expected:
            assert texts(table, published)[title] == f"{expected[title]:.1f}"
            gap = mean(values(rows[0], metric)) - expected[title]
            assert float(texts(table, difference)[title]) == pytest.approx(gap, abs=0.051)
            assert texts(table, difference)[title][0] in "+-"
        else:
            assert (texts(table, published)[title], texts(table, difference)[title]) == ("", "")
    assert not any(cell.best for line in (published, difference) for cell in line.cells)


@pytest.mark.parametrize(
    "change",
    [
        {"features": "bow512"},
        {"semantics": "original"},
        {"semantics": "vectors.npy"},
        {"splits": "mine"},
        {"on": "validation"},
        {"given": {"gamma": "10"}},
        {"title": "ESZSL of mine"},
        {"dataset_title": "MINE"},
    ],
    ids=lambda change: "=".join(map(str, *change.items())),
)
def test_no_published_number_stands_beside_what_is_not_as_published(
    rows: list[Row], store: Store, change: dict[str, Any]
) -> None:
    assert len(table_of([on_published_data(rows[0])], store).lines) == 3
    assert len(table_of([on_published_data(rows[0], **change)], store).lines) == 1


def test_a_preset_is_still_the_published_method(rows: list[Row], store: Store) -> None:
    assert len(table_of([on_published_data(rows[0], preset="port")], store).lines) == 3


def test_each_data_set_has_a_table_of_its_own(rows: list[Row], store: Store) -> None:
    eszsl, sae, devise = rows
    others = [replace(row, source="digits@pixels") for row in (eszsl, devise)]
    first, second = field_tables([eszsl, sae, devise, *others], store)
    assert list(lines_of(first)) == ["eszsl", "sae", "devise:epochs=1"]
    assert list(lines_of(second)) == ["eszsl", "devise:epochs=1"]
    column = first.head.index("AUSUC")
    assert [label for label, line in lines_of(first).items() if line.cells[column].best] == ["sae"]
    assert [label for label, line in lines_of(second).items() if line.cells[column].best] == ["eszsl"]


def test_a_trained_method_whose_seeds_come_to_the_same_is_named_and_a_closed_form_is_not(
    rows: list[Row], store: Store
) -> None:
    eszsl, _, devise = rows
    assert len({record.arrays for record in eszsl.records}) == 1 < len({record.arrays for record in devise.records})
    deaf = replace(devise, records=[devise.records[0]] * 2)
    warning = "warning: devise:epochs=1: 2 seeds gave identical results, though it is trained; does it ignore its seed?"
    assert warning in table_of([eszsl, deaf], store).notes
    assert not [note for note in table_of(rows, store).notes if "identical" in note]
