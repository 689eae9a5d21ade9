"""`zslbench check`."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest
from outside import Inside, command, distribution
from testing.conftest import METHOD

from zslbench.testing import CHECKS, name_of


def test_a_built_in_passes_and_skipped_checks_say_why(inside: Inside) -> None:
    answer = inside("check", "eszsl", "--plain")
    assert answer.status == 0
    first, *lines = answer.out.splitlines()
    assert first.startswith("method eszsl: ") and "failed" not in first
    promises = [line for line in lines if line.startswith("ok ")]
    assert len(promises) >= 25
    assert "  The score of a class does not depend on the order of the classes." in "".join(promises)
    assert "skipped losses_are_pure, loss_falls: it is a closed form, without a loss" in lines


def test_several_kinds_at_once_as_json(inside: Inside) -> None:
    answer = inside("check", "sae", "digits", "ausuc", "--json")
    assert answer.status == 0
    report = json.loads(answer.out)
    assert [(subject["kind"], subject["name"]) for subject in report] == [
        ("method", "sae"),
        ("dataset", "digits"),
        ("evaluator", "ausuc"),
    ]
    for subject in report:
        assert [check["check"] for check in subject["checks"]] == [name_of(c) for c in CHECKS[subject["kind"]]]
        assert {check["verdict"] for check in subject["checks"]} <= {"ok", "skipped"}
        assert all(bool(check["reason"]) == (check["verdict"] == "skipped") for check in subject["checks"])


def test_a_data_set_without_files_is_skipped_with_what_to_do(inside: Inside) -> None:
    answer = inside("check", "awa2", "--plain")
    assert answer.status == 0
    [line] = [line for line in answer.out.splitlines() if line.startswith("skipped ")]
    assert line.startswith("skipped loads, unknown_names, features, class_names")
    assert "att_splits.mat is missing; get it with `zslbench data get awa2`" in line


def test_a_name_of_two_kinds_is_checked_as_both_and_a_broken_promise_is_status_1(plugin: Path) -> None:
    answer = command("check", "mine", "backwards", "--json", path=plugin)
    assert answer.status == 1
    method, evaluator, backwards = json.loads(answer.out)
    assert {check["verdict"] for check in method["checks"]} == {"ok", "skipped"}
    failed = {check["check"]: check["reason"] for check in evaluator["checks"] if check["verdict"] == "failed"}
    assert list(failed) == ["importable"]
    assert "cannot be loaded from mine_method:Evaluator (AttributeError" in failed["importable"]
    failed = {check["check"]: check["reason"] for check in backwards["checks"] if check["verdict"] == "failed"}
    assert list(failed) == ["beats_chance"]
    assert "is the sign of the scores right" in failed["beats_chance"]


def test_a_method_that_is_a_single_file_is_checked_where_it_lies(inside: Inside, tmp_path: Path) -> None:
    path = tmp_path / "mine_alone.py"
    path.write_text(dedent(METHOD).partition("class Backwards")[0])
    answer = inside("check", path, "--plain")
    assert answer.status == 0
    assert answer.out.startswith("method mine-alone: ")
    assert "skipped registration_is_light: it is not registered by an entry point" in answer.out


def test_the_name_of_a_broken_plugin_explains_why_nothing_is_registered(tmp_path: Path) -> None:
    distribution(tmp_path, "hurt", "raise RuntimeError('no licence')")
    for name in ("hurt", "hurt:plugin"):
        answer = command("check", name, path=tmp_path)
        assert answer.status == 1
        assert answer.error() == (
            "plugin hurt:plugin registers nothing, because it does not work: RuntimeError: no licence"
        )
    answer = command("check", "mine", path=tmp_path)
    assert answer.status == 2
    assert answer.error().endswith("; plugin hurt:plugin does not work (RuntimeError: no licence)")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["spean"], "unknown method, data set or evaluator 'spean'; did you mean 'spaen'"),
        (["inline"], "no checks for engine 'inline'"),
        ([], "name the methods, data sets or evaluators to check, or give --all"),
        (["sae", "--all"], "name the methods, data sets or evaluators to check, or give --all"),
    ],
)
def test_a_wrong_command_is_one_line(inside: Inside, arguments: list[str], problem: str) -> None:
    answer = inside("check", *arguments)
    assert answer.status == 2
    assert problem in answer.error()
