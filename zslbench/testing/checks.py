"""All checks by kind of subject, in the order of tables, and functions that run them."""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import Any

from zslbench.testing import datasets, evaluators, learning, methods, presets, reconstruction, registration
from zslbench.testing.subjects import Subject, subjects
from zslbench.testing.verdicts import Check, CheckFailed, Verdict, judge, name_of


def _checks(*modules: ModuleType) -> tuple[Check, ...]:
    """Returns the functions `check_...` that modules define, in the order of their definition."""
    return tuple(
        check
        for module in (registration, *modules)
        for name, check in vars(module).items()
        if name.startswith("check_") and check.__module__ == module.__name__
    )


CHECKS = {
    "method": _checks(methods, presets, reconstruction, learning),
    "dataset": _checks(datasets),
    "evaluator": _checks(evaluators),
}


def verdicts(subject: Subject[Any]) -> list[Verdict]:
    """Runs all checks of a subject."""
    return [judge(check, subject) for check in CHECKS[subject.kind]]


def parametrize_with_checks(*things: Any) -> Any:
    """Decorates a test function of one argument, `check`, so that it runs once for each check of each thing.

        @parametrize_with_checks("my-method")
        def test_conformance(check):
            check()

    Args:
        things: names as registered, or classes or instances of `Embedder`, `Dataset` or `Evaluator`.

    Raises:
        UsageError: there is no such name (near misses are suggested), or something else was given.
        PluginError: the name belongs to a plugin that does not work.
    """
    import pytest

    cases = [(check, subject) for subject in subjects(things) for check in CHECKS[subject.kind]]
    names = [f"{subject.kind}-{subject.name}-{name_of(check)}" for check, subject in cases]
    return pytest.mark.parametrize("check", [partial(_make, *case) for case in cases], ids=names)


def _make(check: Check, subject: Subject[Any]) -> None:
    """Runs a check within a test; if the check is skipped, so is the test.

    Raises:
        CheckFailed: the promise is broken, or the check raised another error, which is then the cause.
    """
    import pytest

    verdict = judge(check, subject)
    if verdict.verdict == "skipped":
        pytest.skip(verdict.reason)
    if verdict.verdict == "failed":
        raise CheckFailed(verdict.reason) from verdict.error
