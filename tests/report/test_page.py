"""The page of results: its files, its figures and the numbers on it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean
from urllib.parse import unquote

import numpy as np
import pytest
from numpy.typing import NDArray

from zslbench.records.search import Search, SearchTrial
from zslbench.records.store import Store
from zslbench.report.builders import field_tables
from zslbench.report.curves import write_curves
from zslbench.report.figures import COLOURS
from zslbench.report.page import write_page
from zslbench.report.render import FORMATS
from zslbench.runs.row import Row

SVG = "{http://www.w3.org/2000/svg}"
Edit = Callable[..., Row]


class Picture:
    """A figure as a browser reads it."""

    def __init__(self, path: Path) -> None:
        self.root = ElementTree.parse(path).getroot()

    @property
    def width(self) -> float:
        """In points, 72 an inch."""
        return float(self.root.attrib["width"].removesuffix("pt"))

    @property
    def texts(self) -> list[str]:
        return [element.text or "" for element in self.root.iter(f"{SVG}text")]

    @property
    def curves(self) -> list[tuple[str, NDArray[np.float64]]]:
        """Colour and points of each bold line of many points, y upwards: the first seed of a row."""
        return self._lines(faint=False)

    @property
    def others(self) -> list[tuple[str, NDArray[np.float64]]]:
        """The same of faint lines: the other seeds."""
        return self._lines(faint=True)

    def _lines(self, *, faint: bool) -> list[tuple[str, NDArray[np.float64]]]:
        found = []
        for path in self.root.iter(f"{SVG}path"):
            points = re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.get("d", ""))
            colour = re.search(r"stroke: (#\w+)", path.get("style", ""))
            style = path.get("style", "")
            if len(points) > 20 and colour and "fill: none" in style and ("opacity" in style) == faint:
                found.append((colour[1].upper(), np.array(points, dtype=float) * (1, -1)))
        return found

    @property
    def marks(self) -> NDArray[np.float64]:
        """Where markers are, ticks among them, y upwards; `(n, 2)`."""
        uses = [use for use in self.root.iter(f"{SVG}use") if "x" in use.attrib]
        return np.array([(float(use.attrib["x"]), -float(use.attrib["y"])) for use in uses])


def area(points: NDArray[np.float64]) -> float:
    x, y = (points - [points[0, 0], points[-1, 1]]).T  # from U->T = 0 and S->T = 0
    return float(np.diff(x) @ (y[1:] + y[:-1]) / 2)


def grids(page: str) -> list[list[list[str]]]:
    """Returns the cells of each Markdown table of a page, without heading and rule."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", page + "\n", re.MULTILINE)
    return [[[cell.strip() for cell in line.split("|")[1:-1]] for line in b.splitlines()[2:]] for b in blocks]


def test_the_page_and_a_figure_for_each_data_set_are_written(rows: list[Row], store: Store, tmp_path: Path) -> None:
    others = [replace(row, source="folder/My Birds", dataset_title="My Birds") for row in rows]
    page = tmp_path / "my results.md"
    written = write_page(page, "zslbench table gbu", [*rows, *others], store)
    assert written == [page, tmp_path / "my results-digits.svg", tmp_path / "my results-my-birds.svg"]
    assert sorted(tmp_path.iterdir()) == sorted(written)
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"!\[.*?\]\(([^() ]+)\)", text)
    assert [tmp_path / unquote(link) for link in links] == written[1:]
    assert text.startswith("# Results\n\nWritten from run records by\n\n    zslbench table gbu\n\n## digits: ")


@pytest.mark.parametrize("sources", [("sun", "sun@bow512"), ("here/CUB50", "there/CUB50"), ("a", "A", "b/a")])
def test_no_figure_is_written_over_another(
    rows: list[Row], store: Store, tmp_path: Path, sources: tuple[str, ...]
) -> None:
    """The same data set with other features has the same title."""
    different = [replace(row, source=source) for source, row in zip(sources, rows, strict=False)]
    _, *figures = write_page(tmp_path / "page.md", "", different, store)
    assert len({figure.name.lower() for figure in figures}) == len(sources)
    for figure, row in zip(figures, different, strict=True):
        assert any(row.title in text for text in Picture(figure).texts)
    links = re.findall(r"!\[.*?\]\((.+?)\)", (tmp_path / "page.md").read_text(encoding="utf-8"))
    assert links == [figure.name for figure in figures]


def test_the_figure_holds_the_curve_of_every_row(rows: list[Row], store: Store, tmp_path: Path) -> None:
    """A curve reaches from S->S at the left to U->U at the bottom, and has the area of the record below it."""
    write_curves(tmp_path / "curves.svg", rows, store)
    picture = Picture(tmp_path / "curves.svg")
    ranked = sorted(rows, key=lambda row: -mean(record.metrics["ausuc"] for record in row.records))
    by_colour = dict(picture.curves)
    assert len(picture.curves) == len(by_colour) == len(rows)
    curves = [by_colour[colour] for colour in COLOURS[: len(rows)]]
    origins = np.array([[points[0, 0], points[-1, 1]] for points in curves])
    assert np.ptp(origins, axis=0) == pytest.approx([0, 0], abs=1e-3)
    firsts = [row.records[0].metrics for row in ranked]
    unit = area(curves[0]) / firsts[0]["ausuc"]
    across = np.ptp(curves[0][:, 0]) / firsts[0]["acc_uu"]
    for metrics, points in zip(firsts, curves, strict=True):
        assert area(points) / unit == pytest.approx(metrics["ausuc"], rel=0.01)
        assert np.ptp(points[:, 0]) / across == pytest.approx(metrics["acc_uu"], rel=0.01)
        assert (np.diff(points[:, 0]) >= 0).all() and (np.diff(points[:, 1]) <= 0).all()
    assert len(picture.others) == sum(len(row.records) - 1 for row in rows)
    means = {colour: [area(points)] for colour, points in picture.curves}
    for colour, points in picture.others:
        means[colour].append(area(points))
    for row, colour in zip(ranked, COLOURS, strict=False):  # the legend has the mean of what is drawn
        drawn = mean(means[colour]) / unit
        assert drawn == pytest.approx(mean(record.metrics["ausuc"] for record in row.records), rel=0.01)
    for row in rows:
        figure = mean(100 * record.metrics["ausuc"] for record in row.records)
        assert f"{figure:.1f}  {row.title} {row.settings}".strip() in picture.texts
    for text in ("AUSUC", "gamma = 0", "gamma chosen on validation classes"):
        assert text in picture.texts


def test_a_cross_and_a_dot_are_where_the_record_says(rows: list[Row], store: Store, tmp_path: Path) -> None:
    row = rows[0]
    write_curves(tmp_path / "curves.svg", [row], store)
    picture = Picture(tmp_path / "curves.svg")
    [(_, points)] = picture.curves
    metrics = row.records[0].metrics
    across = np.ptp(points[:, 0]) / metrics["acc_uu"]
    up = area(points) / metrics["ausuc"] / across
    for suffix in ("", "_cal"):
        place = np.array([across * metrics[f"acc_ut{suffix}"], up * metrics[f"acc_st{suffix}"]])
        nearest = np.hypot(*(picture.marks - place - (points[0, 0], points[-1, 1])).T).min()
        assert nearest < 1.0, "points, of 72 an inch"


def test_the_figure_does_not_change_from_one_writing_to_the_next(rows: list[Row], store: Store, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_page(tmp_path / name / "page.md", "zslbench table gbu", rows, store)
    for name in ("page.md", "page-digits.svg"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_many_rows_with_long_and_strange_names_stay_apart_and_inside_the_page(
    rows: list[Row], store: Store, tmp_path: Path
) -> None:
    given = {"learning_rate": "0.0003", "$another_one$": "relu", "margin": "0.1 & <b>", "hidden": "4096"}
    many = [replace(rows[i % 3], label=str(i), title=f"Method {i}", given=given) for i in range(14)]
    write_curves(tmp_path / "curves.svg", many, store)
    picture = Picture(tmp_path / "curves.svg")
    assert picture.width == pytest.approx(16 / 2.54 * 72, rel=0.01)
    looks = [
        (re.search(r"stroke: (#\w+)", style)[1], "dasharray" in style)  # type: ignore[index]
        for path in picture.root.iter(f"{SVG}path")
        if "fill: none" in (style := path.get("style", ""))
        and "opacity" not in style
        and len(path.get("d", "").split()) > 60
    ]
    assert len(looks) == len(set(looks)) == 14
    legend = " ".join(picture.texts)
    for i in range(14):
        assert f"Method {i} " in legend
    assert legend.count("hidden=4096") == 14 and legend.count("$another_one$=relu") == 14


def test_rows_without_area_or_records_are_left_out_of_the_figure(
    rows: list[Row], store: Store, tmp_path: Path, edited: Edit
) -> None:
    eszsl, sae, devise = rows
    no_area = edited(sae, without=("ausuc", "acc_ut", "acc_st"))
    [_, figure] = write_page(tmp_path / "page.md", "", [eszsl, no_area, replace(devise, records=[])], store)
    assert len(Picture(figure).curves) == 1
    uncalibrated = edited(eszsl, without=("acc_ut_cal", "acc_st_cal", "h_cal", "gamma"))
    [_, figure] = write_page(tmp_path / "page.md", "", [uncalibrated], store)
    assert len(Picture(figure).curves) == 1
    figure.unlink()
    assert write_page(tmp_path / "page.md", "", [replace(devise, records=[])], store) == [tmp_path / "page.md"]
    assert "![" not in (tmp_path / "page.md").read_text(encoding="utf-8")
    assert not figure.exists()


def test_the_numbers_on_the_page_are_those_of_the_table(rows: list[Row], store: Store, tmp_path: Path) -> None:
    write_page(tmp_path / "page.md", "", rows, store)
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert FORMATS["markdown"](field_tables(rows, store)).replace("###", "##").strip() in text
    [[_, *lines]] = grids(text)
    for row, cells in zip(rows, lines, strict=True):
        values = [100 * mean(record.metrics[name] for record in row.records) for name in ("acc_uu", "acc_ut")]
        assert [float(cell.strip("*").split("±")[0]) for cell in cells[1:3]] == pytest.approx(values, abs=0.051)


def test_the_page_tells_what_was_chosen_and_what_it_gave(rows: list[Row], store: Store, tmp_path: Path) -> None:
    spec = rows[2].runs[0].spec
    trials = [
        SearchTrial(params={"margin": 0.12345, "epochs": 7}, state="complete", values=[0.4, 0.5]),
        SearchTrial(params={"margin": 0.2, "epochs": 2}, state="complete", values=[0.1, 0.2]),
        SearchTrial(params={"margin": 0.3, "epochs": 2}, state="pruned", values=[0.1]),
    ]
    copied = spec.model_dump(include={"method", "method_version", "dataset", "fingerprint", "features", "scale"})
    search = Search(
        **copied, base={"hidden": 3}, setting="inductive", precision="32", metric="ausuc", folds=2, strategy="tpe",
        space={}, wanted=3, trials=trials,
    )  # fmt: skip
    write_page(tmp_path / "page.md", "", [*rows[:2], replace(rows[2], search=search)], store)
    [_, [line]] = grids((tmp_path / "page.md").read_text(encoding="utf-8"))
    on_test = mean(100 * record.metrics["ausuc"] for record in rows[2].records)
    assert line == ["DeViSE epochs=1", "hidden=3 margin=0.123 epochs=7", "3, 1 pruned", "45.0", f"{on_test:.1f}"]
