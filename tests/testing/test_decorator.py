"""`parametrize_with_checks` in a plugin's own test suite, run by pytest as its author would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from testing.sound import Linear, Right, Separable

from zslbench.errors import UsageError
from zslbench.testing import CHECKS, name_of, parametrize_with_checks, subjects


def run_pytest(folder: Path, source: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_mine.py").write_text(dedent(source))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *options, "test_mine.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_check_is_a_case_with_a_readable_name_a_reason_for_skips_and_one_for_failures(plugin: Path) -> None:
    ran = run_pytest(
        plugin,
        """
        from zslbench.testing import parametrize_with_checks

        @parametrize_with_checks("backwards")
        def test_conformance(check):
            check()
        """,
    )
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    cases = [line.split() for line in lines if line.startswith("test_mine.py::test_conformance[") and " " in line]
    assert [case[0] for case in cases] == [
        f"test_mine.py::test_conformance[method-backwards-{name_of(check)}]" for check in CHECKS["method"]
    ]
    outcome = {case[0].partition("[method-backwards-")[2].rstrip("]"): case[1] for case in cases}
    assert outcome["registration_is_light"] == outcome["same_seed_same_scores"] == "PASSED"
    assert outcome["presets"] == outcome["assembled_equals_solved"] == "SKIPPED"
    assert [name for name, result in outcome.items() if result == "FAILED"] == ["beats_chance"]
    assert outcome["signed_embeddings"] == "SKIPPED"  # its cause is said already
    assert any("CheckFailed: of the images of unseen classes 0% are right among these 10" in line for line in lines)


def test_a_method_may_be_given_as_a_class_before_it_is_registered(plugin: Path) -> None:
    ran = run_pytest(
        plugin,
        """
        from mine_method import Mine
        from zslbench.testing import parametrize_with_checks

        class Unregistered(Mine):
            pass

        @parametrize_with_checks(Unregistered, "mine")
        def test_conformance(check):
            check()
        """,
        "-k",
        "citation or registration or class_order",
    )
    found = {line.split()[0].partition("[")[2]: line.split()[1] for line in ran.stdout.splitlines() if "::" in line}
    assert found["method-Unregistered-citation]"] == found["method-Unregistered-registration_is_light]"] == "SKIPPED"
    assert found["method-Unregistered-class_order]"] == found["method-mine-class_order]"] == "PASSED"
    assert found["method-mine-citation]"] == found["method-mine-registration_is_light]"] == "PASSED"


def test_classes_and_instances_mean_the_same_and_a_registered_class_is_known_by_its_name() -> None:
    separable = Separable()
    assert [subject.given for subject in subjects([Linear, separable, Right, Right()])] == [
        Linear,
        separable,
        Right,
        Right,
    ]
    assert isinstance(subjects([Separable])[0].given, Separable)
    from zslbench_methods.eszsl import ESZSL

    [subject] = subjects([ESZSL])
    assert (subject.name, subject.card.title, subject.entry.plugin) == ("eszsl", "ESZSL", "zslbench:methods")


@pytest.mark.parametrize(
    ("thing", "problem"),
    [
        ("spean", "unknown method, data set or evaluator 'spean'; did you mean 'spaen'"),
        ("inline", "no checks for engine 'inline'; there are some for methods"),
        (3, "3 is no name, and no method, data set or evaluator"),
        (int, "<class 'int'> is no name"),
    ],
)
def test_what_cannot_be_checked_is_refused_when_tests_are_collected(thing: object, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parametrize_with_checks(thing)
