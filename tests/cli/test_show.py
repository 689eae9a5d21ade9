"""`show` and `doctor`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from outside import CHEAP, Inside

from zslbench_methods.eszsl import ESZSL


@pytest.fixture
def run(inside: Inside) -> dict[str, Any]:
    """A stored run of ESZSL on digits."""
    [record] = json.loads(inside("run", "eszsl", *CHEAP, "--json").out)["runs"]
    return dict(record)


def test_show_finds_a_run_by_the_first_characters_of_its_id(inside: Inside, run: dict[str, Any]) -> None:
    assert json.loads(inside("show", run["id"][:5], "--json").out) == run
    assert json.loads(inside("show", run["id"], "--json").out) == run


def test_show_prints_metrics_settings_and_where_the_numbers_are_from(inside: Inside, run: dict[str, Any]) -> None:
    lines = inside("show", run["id"], "--plain").out.splitlines()
    assert f"id: {run['id']}" in lines
    assert f"method: eszsl (version {ESZSL.version})" in lines
    assert "seed: 0" in lines
    [shown] = [line.split() for line in lines if line.startswith("U->U  ")]
    assert float(shown[1]) == pytest.approx(100 * run["metrics"]["acc_uu"], abs=0.051)
    assert any(line.startswith("packages: torch=") for line in lines)
    assert "method_plugin: zslbench 0.1.0" in lines


def test_the_curve_falls_from_all_seen_to_all_unseen_and_has_the_area_of_the_record(
    inside: Inside, run: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "curve.csv"
    assert inside("show", run["id"], "--curve", path).status == 0
    with path.open() as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert (rows[0]["gamma_from"], rows[-1]["gamma_to"]) == (-np.inf, np.inf)
    assert (rows[0]["acc_ut"], rows[-1]["acc_st"]) == (0, 0)
    assert rows[-1]["acc_ut"] == pytest.approx(run["metrics"]["acc_uu"])  # only unseen classes are left to choose
    ut, st = np.array([row["acc_ut"] for row in rows]), np.array([row["acc_st"] for row in rows])
    assert np.diff(ut) @ (st[1:] + st[:-1]) / 2 == pytest.approx(run["metrics"]["ausuc"])
    [at_zero] = [row for row in rows if row["gamma_from"] < 0 <= row["gamma_to"]]
    assert at_zero["acc_ut"] == pytest.approx(run["metrics"]["acc_ut"])
    assert at_zero["acc_st"] == pytest.approx(run["metrics"]["acc_st"])


@pytest.mark.parametrize("unknown", ["nosuch", ""])
def test_a_run_that_is_not_there_or_not_the_only_one_is_one_line(
    inside: Inside, run: dict[str, Any], unknown: str
) -> None:
    inside("run", "sae", *CHEAP)
    answer = inside("show", unknown)
    assert answer.status == 2
    assert (run["id"] if unknown == "" else "`zslbench runs` lists them") in answer.error()


def test_a_curve_that_cannot_be_written_is_one_line(inside: Inside, run: dict[str, Any], tmp_path: Path) -> None:
    answer = inside("show", run["id"], "--curve", tmp_path / "no-folder" / "curve.csv")
    assert answer.status == 2
    assert answer.error().startswith(f"--curve {tmp_path}/no-folder/curve.csv: there is no folder ")
    (tmp_path / "taken").mkdir()
    taken = inside("show", run["id"], "--curve", tmp_path / "taken")
    assert taken.status == 2 and "taken: cannot be written (Is a directory)" in taken.error()


def test_decisions_that_were_changed_are_not_shown(inside: Inside, run: dict[str, Any], store: Path) -> None:
    path = store / "runs" / run["id"] / run["arrays"]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    answer = inside("show", run["id"])
    assert answer.status == 1
    assert "does not match its name" in answer.error()
    assert "--existing rerun" in answer.error()


def test_a_damaged_record_leaves_the_others_in_the_list(inside: Inside, run: dict[str, Any], store: Path) -> None:
    inside("run", "sae", *CHEAP)
    (store / "runs" / run["id"] / "record.json").write_text("{")
    answer = inside("runs", "--json")
    assert answer.status == 0
    assert [listed["method"] for listed in json.loads(answer.out)] == ["sae"]
    assert "damaged record" in answer.err


def test_doctor_finds_a_sound_installation(inside: Inside, run: dict[str, Any], store: Path) -> None:
    answer = inside("doctor")
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert all(line.startswith(("ok   ", "info ")) for line in lines)
    assert any(line.startswith("ok   torch and torchvision: ") for line in lines)
    assert any(line.startswith(f"ok   store: {store}: 1 runs") for line in lines)


def test_doctor_names_what_is_wrong_and_gives_status_1(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    answer = inside("doctor", "--store", tmp_path / "a-file")
    assert answer.status == 1
    [failed] = [line for line in answer.out.splitlines() if line.startswith("FAIL ")]
    assert "cannot be written" in failed
