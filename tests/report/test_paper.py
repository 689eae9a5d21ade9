"""Tables, curves and grids of a paper: what they show against the records, and when published numbers stand beside."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from zslbench.api.cards import Exhibit
from zslbench.errors import DataError
from zslbench.evaluation.measuring import metrics
from zslbench.records.record import RunRecord
from zslbench.records.store import Store
from zslbench.report import grids
from zslbench.report.exhibits import make
from zslbench.report.figures import COLUMN, DPI, PAGE
from zslbench.report.grids import ROWS, columns_of, mosaic
from zslbench.report.paper_table import naming, paper_table
from zslbench.report.render import as_latex, as_markdown
from zslbench.report.rows import compare, published_of
from zslbench.runs.row import Row

Edit = Callable[..., Row]
PAPER = "SP-AEN (Chen et al., CVPR 2018)"
TABLE = Exhibit("Accuracies.", "table", ("eszsl", "sae", "devise:epochs=1"), ("acc_uu", "h"), source=PAPER)


def on_data(row: Row, title: str, features: str = "res101", **change: Any) -> Row:
    """Returns a row as if it had been run on another data set."""
    runs = [replace(job, spec=job.spec.model_copy(update={"features": features})) for job in row.runs]
    return replace(row, **{"source": title, "dataset_title": title, "runs": runs, **change})


def adding(row: Row, preset: str, **given: str) -> Row:
    """Returns a row as if the command had added a preset and parameters to it."""
    return replace(row, preset=preset, given={**given, **row.given}, added_preset=preset, added=given)


def cells(markdown: str) -> list[list[str]]:
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in [lines[0], *lines[2:]]]


def test_a_table_has_the_means_of_the_records_and_marks_the_best(rows: list[Row], store: Store) -> None:
    head, *lines = cells(as_markdown([paper_table(TABLE, [rows], store)]))
    assert head == ["method", "input", "U->U", "H"]
    assert [line[:2] for line in lines] == [[n, "features"] for n in ("ESZSL", "SAE", "DeViSE epochs=1")]
    for column, metric in ((2, "acc_uu"), (3, "h")):
        means = [mean(100 * record.metrics[metric] for record in row.records) for row in rows]
        assert [float(line[column].strip("*").split("±")[0]) for line in lines] == pytest.approx(means, abs=0.051)
        assert [line[column].startswith("**") for line in lines] == [value == max(means) for value in means]


def test_neighbours_in_ausuc_are_tested_and_the_note_says_how_they_differ(rows: list[Row], store: Store) -> None:
    table = paper_table(replace(TABLE, metrics=("h", "ausuc")), [rows], store)
    [note] = [note for note in table.notes if "AUSUC, best first" in note]
    comparison = compare(rows, store, metrics()["ausuc"])
    assert comparison is not None
    first, second, third = comparison.letters
    for better, worse in ((first, second), (second, third)):
        [pair] = [p for p in comparison.differences if (p.better, p.worse) == (better, worse)]
        titles = {row.label: naming(TABLE, rows)(row) for row in rows}
        sign = ">" if pair.corrected < 0.05 else "~"
        assert f"{titles[better]} {sign} {titles[worse]} ({100 * pair.difference:.1f}, p " in note


def test_errors_of_reconstruction_are_tested_on_unseen_images_and_less_is_better(
    rows: list[Row], store: Store, monkeypatch: pytest.MonkeyPatch, edited: Edit
) -> None:
    kept = store.arrays
    own = {record.id: i for i, row in enumerate(rows) for record in row.records}

    def arrays(record: RunRecord) -> dict[str, NDArray[Any]]:
        found = kept(record)
        noise = np.random.default_rng(0).random(len(found["y"]))  # the same images are hard for all
        errors = np.where(found["seen"], 9.0, noise + 0.1 * own[record.id])
        return found | {"reconstruction/mse": errors, "reconstruction/perceptual": errors}

    monkeypatch.setattr(store, "arrays", arrays)
    measured = [edited(row, metrics={"mse_unseen": 0.5 + 0.1 * i}) for i, row in enumerate(rows)]
    comparison = compare(measured, store, metrics()["mse_unseen"])
    assert comparison is not None
    assert list(comparison.letters) == [row.label for row in rows]
    assert [pair.difference for pair in comparison.differences] == pytest.approx([0.1, 0.2, 0.1])
    assert all(pair.corrected < 1e-6 for pair in comparison.differences)


def test_data_sets_stand_side_by_side_each_with_its_features(rows: list[Row], store: Store) -> None:
    others = [on_data(row, "My_Birds", "lite0") for row in rows]
    table = paper_table(TABLE, [rows, others], store, "table-1")
    head, *lines = cells(as_markdown([table]))
    assert head[2:] == [f"{d}: {m}" for d in ("digits (pixels)", "My_Birds (lite0)") for m in ("U->U", "H")]
    assert all(line[2:4] == line[4:6] for line in lines)
    tex = as_latex([table])
    assert r"\multicolumn{2}{c}{digits (pixels)} & \multicolumn{2}{c}{My\_Birds (lite0)} \\" in tex
    assert r"\cmidrule(lr){3-4}\cmidrule(lr){5-6}" in tex
    assert tex.count("{") == tex.count("}") and "->" not in tex
    body = tex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert [line.count("&") for line in body] == [5, 5, 5]


def test_published_numbers_stand_below_the_rows_that_the_paper_has(rows: list[Row], store: Store) -> None:
    label = "devise:epochs=1"
    exhibit = replace(TABLE, names={label: "SP-AEN (Cls. only)"})
    table = paper_table(exhibit, [[on_data(row, "SUN") for row in rows], rows], store)
    _, *lines = cells(as_markdown([table]))
    assert [line[0] for line in lines] == [
        "ESZSL",
        "· paper, on ResNet-101",
        "SAE",
        "· paper, on ResNet-101",
        "SP-AEN (Cls. only)",
        "· paper, on ResNet-101",
    ]
    assert [line[2:] for line in lines[1::2]] == [
        ["54.5", "15.8", "", ""],  # Table 1 of the paper; nothing is printed for digits
        ["40.3", "11.8", "", ""],
        ["56.8", "21.6", "", ""],  # Table 2
    ]
    assert r"\quad paper, on ResNet-101 &  & 54.5 & 15.8 &  &  \\" in as_latex([table])


@pytest.mark.parametrize(
    "change",
    [
        {"features": "bow512"},
        {"features": "images"},
        {"title": "MINE"},
        {"added": {"lr": "1"}, "given": {"lr": "1", "epochs": "1"}},  # the command gave what the paper's row has not
        {"label": "devise:epochs=2", "given": {"epochs": "2"}},  # the paper has no such row
    ],
    ids=lambda change: "=".join(map(str, next(iter(change.items())))),
)
def test_no_published_number_stands_below_what_is_not_as_published(rows: list[Row], change: dict[str, Any]) -> None:
    exhibit = replace(TABLE, names={"devise:epochs=1": "SP-AEN (Cls. only)"})
    assert published_of(on_data(rows[2], "SUN"), exhibit.names, exhibit.source) is not None
    assert published_of(on_data(rows[2], **{"title": "SUN", **change}), exhibit.names, exhibit.source) is None


def test_published_errors_of_reconstruction_stand_below_those_measured_on_images(rows: list[Row]) -> None:
    exhibit = replace(TABLE, names={"eszsl": "DirectMap"})
    on_images = published_of(on_data(rows[0], "CUB", "images"), exhibit.names, exhibit.source)
    assert on_images is not None
    assert on_images.values == {"mse_unseen": 0.069}  # Table 3
    other = replace(on_data(rows[0], "CUB", "images"), title="Mine (images)", published_as="DirectMap")
    assert published_of(other, TABLE.names, TABLE.source) == published_of(other) == on_images
    assert published_of(on_data(rows[0], "CUB"), exhibit.names, exhibit.source) is None


def test_a_row_is_called_as_in_the_paper_with_what_the_command_added(rows: list[Row]) -> None:
    name = naming(replace(TABLE, names={"devise:epochs=1": "one epoch"}), rows)
    assert [name(row) for row in rows] == ["ESZSL", "SAE", "one epoch"]
    assert name(adding(rows[2], "small", lr="1")) == "one epoch @small lr=1"


def test_what_the_command_added_to_all_rows_is_said_once(rows: list[Row], store: Store) -> None:
    alike = [adding(row, "small", lr="1") for row in rows]
    name = naming(TABLE, alike)
    assert [name(row) for row in alike] == ["ESZSL", "SAE", "DeViSE epochs=1"]
    assert "All rows: @small lr=1." in paper_table(TABLE, [alike], store).notes
    other = [*alike[:2], adding(rows[2], "small", lr="2")]
    assert [naming(TABLE, other)(row) for row in other] == ["ESZSL lr=1", "SAE lr=1", "DeViSE lr=2 epochs=1"]


def test_a_metric_that_nobody_measures_is_named(rows: list[Row], store: Store) -> None:
    with pytest.raises(DataError, match="no evaluator measures 'acc_u'; did you mean 'acc_uu'"):
        paper_table(replace(TABLE, metrics=("acc_u",)), [rows], store)


def made(exhibit: Exhibit, rows: list[Row], store: Store, folder: Path) -> list[Path]:
    return make("figure-7", exhibit, rows, store, list, folder).files


CURVES = Exhibit("Curves.", "curves", ("eszsl", "sae"))


def test_curves_are_as_wide_as_a_column_or_with_several_data_sets_as_a_page(
    rows: list[Row], store: Store, tmp_path: Path
) -> None:
    for group, width in ((rows, COLUMN), ([*rows, *(on_data(row, "SUN") for row in rows)], PAGE)):
        png, pdf = made(CURVES, group, store, tmp_path)
        assert (png.name, pdf.name) == ("figure-7.png", "figure-7.pdf")
        with Image.open(png) as image:
            assert image.width == round(width * DPI)
        assert pdf.read_bytes().startswith(b"%PDF")
    assert sorted(tmp_path.iterdir()) == [pdf, png]  # no part of a file is left


def test_rows_without_results_make_no_figure_and_say_why(rows: list[Row], store: Store, tmp_path: Path) -> None:
    absent = [replace(row, records=[]) for row in rows]
    with pytest.raises(DataError, match="none of its runs is stored"):
        made(CURVES, absent, store, tmp_path)
    refused = [replace(row, refusal="it needs attributes") for row in absent]
    with pytest.raises(DataError, match="it needs attributes"):
        made(CURVES, refused, store, tmp_path)


SIDE = 8


def shade(image: int, by: int = 0) -> NDArray[np.uint8]:
    """An image whose colour tells which it is, and who made it."""
    return np.full((3, SIDE, SIDE), [[[image % 251]], [[by]], [[7]]], dtype=np.uint8)


@pytest.fixture
def imagined(rows: list[Row], tmp_path: Path) -> tuple[list[Row], Store]:
    """The rows as if each had reconstructed a few test images, the second at twice the size and in another order."""
    store, random = Store(tmp_path / "imagined"), np.random.default_rng(0)
    return [_imagined(row, k, store, random) for k, row in enumerate(rows)], store


def _imagined(row: Row, k: int, store: Store, random: np.random.Generator) -> Row:
    record = row.records[0]
    y = np.repeat(np.arange(10), 6)
    images = 100 + np.arange(len(y))
    decisions = {
        name: np.zeros(len(y), dtype=kind)
        for names, kind in (
            ("best_seen best_unseen", np.float64),
            ("ties_seen ties_unseen choice_seen choice_unseen", np.int64),
            ("hit_seen hit_unseen", np.bool_),
        )
        for name in names.split()
    }
    kept = images[(y % 5 == 0) | (y > 6)] if k != 1 else random.permutation(images)
    pictures = np.stack([shade(image) for image in kept])
    work = np.stack([shade(image, k + 1) for image in kept])
    if k == 1:
        pictures, work = (np.kron(p, np.ones((1, 1, 2, 2), dtype=np.uint8)) for p in (pictures, work))
    arrays = {
        **decisions,
        "images": images,
        "y": y,
        "seen": y < 6,
        "reconstruction/rows": kept,
        "reconstruction/unseen": y[kept - 100] >= 6,
        "reconstruction/originals": pictures,
        "reconstruction/made": work.transpose(0, 1, 3, 2),
    }
    return replace(row, records=[store.save(record, arrays)])


def test_a_grid_shows_the_same_images_of_all_unseen_classes_in_each_column(imagined: tuple[list[Row], Store]) -> None:
    columns, names = columns_of(*imagined)
    assert [column.shape for column in columns] == [(ROWS, 2 * SIDE, 2 * SIDE, 3)] * 4
    images = columns[0][:, 0, 0, 0].tolist()
    assert [(image - 100) // 6 for image in images] == [7, 7, 8, 8, 9, 9]  # class 6 was not kept by every run
    class_names = imagined[0][0].records[0].class_names
    assert names == [class_names[(image - 100) // 6] for image in images]
    for k, column in enumerate(columns):
        assert (column == np.array([[[[image, k, 7]]] for image in images])).all()


def test_a_mosaic_has_a_column_for_each_and_white_between() -> None:
    columns = [np.stack([shade(i, k).transpose(1, 2, 0) for i in range(2)]) for k in range(3)]
    picture = mosaic(columns)
    assert picture.shape == (2 * SIDE + 1, 3 * (SIDE + 1), 3)
    for k in range(3):
        left = k * (SIDE + 1)
        assert (picture[:SIDE, left : left + SIDE] == columns[k][0]).all()
        assert (picture[SIDE + 1 :, left : left + SIDE] == columns[k][1]).all()
        assert (picture[:, left + SIDE] == 255).all()
    assert (picture[SIDE] == 255).all()


@pytest.mark.parametrize("sets", [1, 2])
def test_names_of_classes_lie_inside_the_figure_however_long_they_are(
    imagined: tuple[list[Row], Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sets: int
) -> None:
    own, kept = imagined
    long = "a_large_striped_red_circle_at_the_top_of_a_picture_on_white"
    monkeypatch.setattr(grids, "columns_of", lambda *given: (columns_of(*given)[0], [long] * ROWS))
    outside: list[str] = []

    def look(figure: Any, stem: Path) -> list[Path]:
        figure.canvas.draw()
        drawn = [text for text in figure.findobj(Text) if "striped" in text.get_text()]
        assert len(drawn) == ROWS * sets
        boxes = [(text.get_text(), text.get_window_extent()) for text in drawn]
        outside.extend(name for name, box in boxes if box.x0 < 0 or box.x1 > figure.bbox.x1)
        return []

    monkeypatch.setattr(grids, "save", look)
    grids.write_grids(tmp_path / "grids", [own] * sets, kept, lambda row: row.label)
    assert outside == []


def test_grids_are_written_and_runs_without_reconstructions_are_named(
    imagined: tuple[list[Row], Store], rows: list[Row], store: Store, tmp_path: Path
) -> None:
    exhibit = Exhibit("Birds.", "reconstructions", tuple(row.label for row in rows))
    own, kept = imagined
    with Image.open(made(exhibit, own, kept, tmp_path)[0]) as image:
        assert image.width == round(COLUMN * DPI)
    two = [*own, *(replace(row, source="b", dataset_title="B") for row in own)]
    with Image.open(made(exhibit, two, kept, tmp_path)[0]) as image:
        assert image.width == round(PAGE * DPI)
    with pytest.raises(DataError, match="eszsl on digits kept no reconstructions"):
        made(exhibit, rows, store, tmp_path)
