"""`parametrize_with_checks`: the checks as test cases of a plugin's own pytest suite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zslbench.testing.checks import CHECKS
from zslbench.testing.subjects import Subject, subjects
from zslbench.testing.verdicts import Check, CheckFailed, judge, name_of


@dataclass(frozen=True)
class Case:
    """One check of one subject, to be called by a test."""

    subject: Subject
    check: Check

    def __call__(self) -> None:
        """Makes the check; a skipped one skips the test.

        Raises:
            CheckFailed: the promise is broken, or the check raised something else, which is then the cause.
        """
        import pytest

        verdict = judge(self.check, self.subject)
        if verdict.verdict == "skipped":
            pytest.skip(verdict.reason)
        if verdict.verdict == "failed":
            raise CheckFailed(verdict.reason) from verdict.error

    @property
    def id(self) -> str:
        """The name of the test case."""
        return f"{self.subject.kind}-{self.subject.name}-{name_of(self.check)}"


def parametrize_with_checks(*things: Any) -> Any:
    """Decorates a test function of one argument, `check`, so that it runs once for each check of each thing.

        @parametrize_with_checks("my-method")
        def test_conformance(check):
            check()

    Args:
        things: names as registered, or classes or instances of `Embedder`, `Dataset` or `Evaluator`.

    Raises:
        UsageError: no such name, near misses are suggested; or something else was given.
        PluginError: the name is that of a plugin that does not work.
    """
    import pytest

    cases = [Case(subject, check) for subject in subjects(things) for check in CHECKS[subject.kind]]
    return pytest.mark.parametrize("check", cases, ids=[case.id for case in cases])
