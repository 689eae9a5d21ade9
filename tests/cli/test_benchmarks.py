"""Which data sets a command takes, and when published numbers stand beside measured ones."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import pytest
from outside import Inside
from synthetic import make_xlsa17

import zslbench_methods

SHAPE = {"seen": 8, "unseen": 3}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The folder of `--data-root`, made known by ZSLBENCH_DATA."""
    return tmp_path / "data"


def published(method: str, dataset: str) -> dict[str, str]:
    """Returns the first source's numbers as printed, read without the code under test."""
    with files(zslbench_methods).joinpath("published.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if (r["method"], r["dataset"], r["split"]) == (method, dataset, "PS")]
    return {row["metric"]: row["value"] for row in rows if row["source"] == rows[0]["source"]}


def test_without_data_set_every_benchmark_present_is_used(inside: Inside, data: Path) -> None:
    for name in ("SUN", "APY", "MINE"):
        make_xlsa17(data, name, **SHAPE)
    answer = inside("run", "eszsl", "--plain")
    assert answer.status == 0
    assert f"data sets present in {data}: sun, apy" in answer.err.splitlines()
    headings = [line.partition(":")[0] for line in answer.out.splitlines() if "per-class top-1" in line]
    assert headings == ["SUN", "aPY"]


def test_a_benchmark_without_the_features_asked_for_does_not_count_as_present(inside: Inside, data: Path) -> None:
    make_xlsa17(data, "SUN", features="bow512", **SHAPE)
    answer = inside("run", "eszsl", "--plain")
    assert answer.out.startswith("digits: ")


def test_published_numbers_and_the_difference_stand_below_runs_on_the_published_features(
    inside: Inside, data: Path
) -> None:
    make_xlsa17(data, "SUN", features="res101", **SHAPE)
    answer = inside("compare", "devise", "-d", "sun", "--seeds", "1", "--plain")
    _, columns, _, measured, printed, difference, *_ = answer.out.splitlines()
    at = columns.index("U->U")
    expected = float(published("DeViSE", "SUN")["U->U"])
    assert "published on ResNet-101, " in printed and "difference from ResNet-101 " in difference
    assert float(printed[at:].split()[0]) == expected
    assert float(difference[at:].split()[0]) == pytest.approx(float(measured[at:].split()[0]) - expected, abs=0.11)


@pytest.mark.parametrize(
    "changed", [["devise:epochs=1"], ["devise", "-p", "epochs=1"], ["devise", "--on", "validation"]]
)
def test_no_published_number_stands_beside_an_ablation_or_validation(
    changed: list[str], inside: Inside, data: Path
) -> None:
    make_xlsa17(data, "SUN", features="res101", **SHAPE)
    answer = inside("compare", *changed, "-d", "sun", "--seeds", "1", "--plain")
    assert "DeViSE" in answer.out
    assert "published" not in answer.out


def test_no_published_number_stands_beside_other_features(inside: Inside, data: Path) -> None:
    make_xlsa17(data, "SUN", features="bow512", **SHAPE)
    answer = inside("compare", "devise:epochs=1", "-d", "sun", "--features", "bow512", "--seeds", "1", "--plain")
    assert answer.status == 0
    assert "DeViSE" in answer.out
    assert "published" not in answer.out


def test_a_folder_given_by_its_path_runs_under_its_own_name(inside: Inside, tmp_path: Path) -> None:
    folder = make_xlsa17(tmp_path / "elsewhere", "MINE", features="lite0", **SHAPE)
    answer = inside("run", "eszsl", "-d", folder, "--features", "lite0", "--plain")
    assert answer.status == 0
    assert answer.out.startswith("MINE: inductive, lite0, ")
