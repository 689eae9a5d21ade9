"""Conformance checks: whether a method, a data set or an evaluator keeps its promises.

One decorator adds them all to a plugin's own tests:

    from zslbench.testing import parametrize_with_checks

    @parametrize_with_checks("my-method")
    def test_conformance(check):
        check()
"""

from zslbench.testing.checks import CHECKS, parametrize_with_checks, verdicts
from zslbench.testing.subjects import registered, subjects
from zslbench.testing.verdicts import CheckFailed, Skip, Verdict, judge, name_of, promise_of

__all__ = [
    "CHECKS",
    "CheckFailed",
    "Skip",
    "Verdict",
    "judge",
    "name_of",
    "parametrize_with_checks",
    "promise_of",
    "registered",
    "subjects",
    "verdicts",
]
